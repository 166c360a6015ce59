"""A package index on this computer that answers slowly, and a Slicer that installs from it with the real pip."""

import contextlib
import http.server
import os
import stat
import sys
import threading
import time
from pathlib import Path

import pip

PIP_RUNNER = Path(pip.__file__).parent / "__pip-runner__.py"
"""What `pip --python` starts in the other Python: started there at once, as each start costs half a second."""
PIECE_BYTES = 100_000


class SlowIndex(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; wheels in pieces, with a pause before each."""

    pause_seconds = 0.0

    def copyfile(self, source, outputfile):
        while piece := source.read(PIECE_BYTES):
            if self.path.endswith(".whl"):
                time.sleep(self.pause_seconds)
            outputfile.write(piece)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder, pause_seconds=0.0):
    """Serve a folder on the loopback address; gives the address of its `simple`."""
    kind = type("Index", (SlowIndex,), {"pause_seconds": pause_seconds})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: kind(*a, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()


def write_index(folder):
    """Pages for the wheels of a folder, with addresses that a server resolves."""
    for wheel in sorted(folder.glob("*.whl")):
        page = folder / "simple" / wheel.name.split("-")[0].replace("_", "-") / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a", encoding="utf-8") as file:
            file.write(f'<a href="/{wheel.name}">{wheel.name}</a>\n')


def write_python_slicer(folder, python, index):
    """The program that Slicer runs pip with: here it hands pip's arguments on for another Python."""
    folder.mkdir()
    program = folder / "PythonSlicer"
    other = os.environ.get("CONTEXT_PROPAGATION_TEST_PIP")  # a wheel of another pip, to try one by hand
    start = f'"{sys.executable}" "{other}/pip" --python "{python}"' if other else f'"{python}" "{PIP_RUNNER}"'
    lines = ["#!/bin/sh", f"export PIP_INDEX_URL={index} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONFIG_FILE={os.devnull}"]
    lines += ["export PIP_CACHE_DIR=" + str(folder / "cache"), "shift 2", f'exec {start} "$@"']
    program.write_text("\n".join(lines) + "\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Path(program)
