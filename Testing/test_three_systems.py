"""What ships runs on Windows and macOS too: nothing of one system alone outside the places that are guarded for it."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from syntax_trees import nodes, parsed

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "SlicerContextPropagation"
FILES = sorted(PACKAGE.rglob("*.py"))

OF_ONE_SYSTEM = re.compile(
    r"os\.(fork|forkpty|killpg|setsid|setpgid|getpgid|getppid|getuid|geteuid|getloadavg|sched_\w+|nice|mkfifo|RTLD_\w+)"
    r"|signal\.(SIG(?!INT\b|TERM\b|_IGN\b|_DFL\b)\w+|alarm|setitimer|pthread_\w+)"
    r"|(resource|fcntl|pwd|grp|termios|pty|tty|winreg|msvcrt|posix)(\.\w+)?"
)
"""Names that exist, or do what they say, on one kind of system."""
GUARDED = {
    ("core/long_imports.py", "os.RTLD_NOW"): "Linux alone: `sys.platform` is asked first",
    ("core/long_imports.py", "text"): "Linux alone: `sys.platform` is asked first",
    ("core/provenance.py", "text"): "where the file is missing, the processor is asked for otherwise",
    ("core/triton_guard.py", "text"): "Linux alone: `sys.platform` is asked first",
    **{
        ("core/session/journal_folder.py", name): "each on its own system: `sys.platform` is asked first"
        for name in (
            *("fcntl", "fcntl.flock", "fcntl.LOCK_EX", "fcntl.LOCK_NB"),
            *("msvcrt", "msvcrt.locking", "msvcrt.LK_NBLCK"),
        )
    },
    ("mrml/fusion_training.py", "os.start_new_session"): "Windows takes it, and ignores it",
    ("page/memory_folder.py", "text"): "where the folder is missing, that is said: such a server is for Linux",
    ("training/processes.py", "os.sched_getaffinity"): "asked for with `hasattr`; else the number of processors",
}
"""File and name, or "text" for a path in a string, and why it may stand there."""
LONGEST_PATH = 200
"""Windows takes 260 characters, and a user's folder comes before."""


def names_of_one_system(source: str) -> set[str]:
    tree, found = parsed(source), set()
    for node in nodes(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.keyword) and node.arg in ("preexec_fn", "start_new_session", "close_fds"):
            found.add(f"os.{node.arg}")
    return {
        name for name in found if OF_ONE_SYSTEM.fullmatch(name) or name in ("os.preexec_fn", "os.start_new_session")
    }


def has_path_of_one_system(source: str) -> bool:
    texts = (n.value for n in nodes(parsed(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return any(re.match(r"/(proc|dev|sys|etc|tmp|usr)/|[A-Z]:\\", text) or text == "fork" for text in texts) or bool(
        re.search(r"\"[\w/*]+\.so\"", source)
    )


def test_a_file_uses_nothing_of_one_system_outside_guarded_places():
    found = set()
    for file in FILES:
        source = file.read_text("utf-8")
        name = file.relative_to(PACKAGE).as_posix().removeprefix("context_propagation/")
        found |= {(name, one) for one in names_of_one_system(source)}
        if has_path_of_one_system(source):
            found.add((name, "text"))

    assert found - set(GUARDED) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.fork()",
        "import fcntl",
        "from resource import getrlimit",
        "import signal\nsignal.signal(signal.SIGHUP, print)",
        "subprocess.Popen([], preexec_fn=print)",
    ],
)
def test_a_name_of_one_system_is_seen(source):
    assert names_of_one_system(source)


def test_what_all_systems_have_is_allowed():
    assert not names_of_one_system(
        "import os, signal\nos.replace('a', 'b')\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
    )
    assert has_path_of_one_system("open('/proc/self/maps')")
    assert has_path_of_one_system("multiprocessing.get_context('fork')")
    assert not has_path_of_one_system("'a/b.nii.gz'")


def test_every_guarded_place_is_still_needed():
    for name, what in GUARDED:
        source = (PACKAGE / "context_propagation" / name).read_text("utf-8")
        assert has_path_of_one_system(source) if what == "text" else what in names_of_one_system(source)


def test_no_path_is_too_long_and_none_differs_from_another_by_case_alone():
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no checkout")
    paths = listed.splitlines()

    assert [path for path in paths if len(path) > LONGEST_PATH] == []
    assert len({path.lower() for path in paths}) == len(paths)
    assert [path for path in paths if re.search(r'[<>:"|?*\\]|[ .]$', path)] == []


def test_files_are_put_in_their_places_in_two_files_alone_which_close_them_first():
    """Windows replaces no open file. One writes one file or folder whole, the other several files together."""
    moved = re.compile(r"\bos\.(replace|rename)\(|shutil\.move\(")
    found = {
        f.relative_to(PACKAGE / "context_propagation").as_posix() for f in FILES if moved.search(f.read_text("utf-8"))
    }

    assert found == {"core/storage/whole_file.py", "cli/output_files.py"}
