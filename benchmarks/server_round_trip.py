"""What a server in between costs: an edit over loopback against the same edit in this process, bit for bit equal.

Run `python benchmarks/server_round_trip.py`: the shipped bundle, a phantom's largest slice redrawn on a CT of
512 x 512 x 160 voxels. The server is a process of its own; only one of both computes at a time, with as many threads.
`--people N` also lets N clients edit at once, each on an image of their own, and compares every result.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "SlicerContextPropagation"
sys.path[:0] = [str(SHIPPED)]

SIZE_IJK = (512, 512, 160)
GOAL = 1.15


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=SIZE_IJK, metavar="N", help="voxels along i, j, k")
    parser.add_argument("--repeats", type=int, default=5, help="edits of each; medians are printed")
    parser.add_argument("--people", type=int, default=0, metavar="N", help="so many clients edit at once as well")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    from context_propagation.benchmark.ct_case import write_ct
    from context_propagation.core.bundle.bundle import load_model
    from context_propagation.core.bundle.shipped_bundle import shipped_bundle
    from context_propagation.core.image.slices import SliceEdit
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.remote.remote_server import RemoteServer
    from provenance import provenance

    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder) / "case.npz", tuple(arguments.size))
        case = np.load(Path(folder) / "case.npz")
        volume = SourceVolume(case["image"][None], case["to_lps"])
        edit = SliceEdit(0, int(case["index"]), case["drawn"])
    bundle = shipped_bundle()
    here = load_model(bundle, device=arguments.device).session()
    with _serving(bundle.parent, arguments.device, arguments.people + 1) as url:
        loaded = RemoteServer(url, lambda upload: True).load(bundle.name)
        there = loaded.session()
        image = {name: _seconds(lambda s=s: s.set_image(volume)) for name, s in (("here", here), ("server", there))}
        edits: dict[str, list[float]] = {"here": [], "server": []}
        for _ in range(arguments.repeats):
            for name, session in (("here", here), ("server", there)):
                edits[name].append(_seconds(lambda session=session: session.propagate([edit])))
            if not np.array_equal(here.segmentation, there.segmentation):
                print("NOT EQUAL: the server's result is another one")
            wanted = here.segmentation
            here.undo()
            there.undo()
        sessions = [loaded.session() for _ in range(arguments.people)]
        for session in sessions:
            session.set_image(volume)
        crowd = Crowd(sessions, edit, wanted, arguments.repeats)
        together_s = _seconds(crowd.edit) if arguments.people else 0.0

    print(provenance(0, arguments.repeats))
    print(f"load average: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    print(f"{' x '.join(map(str, arguments.size))} voxels, medians of {arguments.repeats}\n")
    print("|  | here, s | over loopback, s | times |\n|---|---|---|---|")
    medians = {name: statistics.median(times) for name, times in edits.items()}
    for what, times in (("image: sent, predicted, cached", image), ("edit", medians)):
        print(f"| {what} | {times['here']:.2f} | {times['server']:.2f} | {times['server'] / times['here']:.3f} |")
    print(f"\nGoal for an edit: at most {GOAL} times")
    if crowd.waits:
        print(f"{arguments.people} people at once, {arguments.repeats} edits each: {len(crowd.waits)} done")
        print(f"{len(crowd.waits) / together_s:.2f} edits a second; one person alone {1 / medians['server']:.2f}")
        print(f"wait for an edit: median {statistics.median(crowd.waits):.2f} s, longest {max(crowd.waits):.2f} s")
        print(f"results that are not the local one: {crowd.others}; errors: {crowd.errors or 'none'}")


def _seconds(do: Callable[[], Any]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


@dataclass
class Crowd:
    """People who edit at once, again and again.

    Attributes:
        sessions: Theirs.
        made: The edit that each makes.
        wanted: bool `[K, J, I]`, what it gives.
        repeats: Edits of each.
        waits: Seconds that each edit took.
        others: Results that are not what is wanted.
        errors: What was raised.
    """

    sessions: list[Any]
    made: Any
    wanted: np.ndarray
    repeats: int
    waits: list[float] = field(default_factory=list)
    others: int = 0
    errors: list[str] = field(default_factory=list)

    def edit(self) -> None:
        """All of them, until the last one is done."""
        threads = [threading.Thread(target=self._work, args=(session,)) for session in self.sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, session: Any) -> None:
        try:
            for _ in range(self.repeats):
                self.waits.append(_seconds(lambda: session.propagate([self.made])))
                self.others += not np.array_equal(session.segmentation, self.wanted)
                session.undo()
        except Exception as error:
            self.errors.append(str(error))


@contextmanager
def _serving(bundles: Path, device: str, sessions: int) -> Iterator[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "context_propagation.cli.main", "serve", "--bundles", str(bundles)]
    environment = {**os.environ, "PYTHONPATH": str(SHIPPED)}
    server = subprocess.Popen(
        [*command, "--port", str(port), "--device", device, "--sessions", str(sessions)], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
