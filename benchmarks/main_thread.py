"""How long our work holds Slicer's main thread at once, on a CT of 512 x 512 x 160 voxels.

Run `python benchmarks/main_thread.py`. Effect and panel are used as a user does, from each click until nothing happens
any more, over the tests' stand-ins for Slicer's GUI: real MRML, real Qt, and the long parts on their own thread. The
shipped bundle; a phantom in a field of view of that size. Each part of each run is a fresh process; the first click
comes once the imports after start-up are done.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "SlicerContextPropagation"
sys.path[:0] = [str(SHIPPED), str(ROOT / "Testing" / "gui" / "stand_in"), str(ROOT / "Testing" / "examples")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

PARTS = {"editing": "Editing", "lesions": "Lesions", "export": "Export", "distances": "Distances"}
"""Modules of `holds`, and the user in each."""
CALLS = "calls"
RUNS = 3
SHAPE = "160,512,512"


@dataclass(frozen=True)
class Settings:
    """Of one process.

    Attributes:
        part: One of `PARTS`, or `CALLS`.
        shape_kji: Of the CT.
        stacks_ms: Print all stacks where a hold lasts longer; None prints nothing.
    """

    part: str
    shape_kji: tuple[int, int, int]
    stacks_ms: float | None


def main() -> None:
    """Print a table for each part."""
    arguments = _parser().parse_args()
    shape = tuple(int(n) for n in arguments.shape.split(","))
    parts = arguments.parts.split(",")
    jobs = [Settings(part, shape, arguments.stacks) for part in parts for _ in range(arguments.runs)]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = pool.map(_run, jobs, chunksize=1)

    from holds.large_case import SEED
    from provenance import provenance

    print(provenance(SEED, arguments.runs))
    print(f"load average: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    print(f"{' x '.join(map(str, shape[::-1]))} voxels; medians of {arguments.runs} processes")
    for number, part in enumerate(parts):
        print(f"\n{_told(part, results[number * arguments.runs : (number + 1) * arguments.runs])}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="the medians of so many processes are printed")
    parser.add_argument("--stacks", type=float, metavar="MS", help="print all stacks where a hold lasts longer")
    parser.add_argument("--parts", default=",".join((*PARTS, CALLS)), help="separated by commas")
    parser.add_argument("--shape", default=SHAPE, help="of the CT: slices, rows, columns")
    return parser


def _told(part: str, results: list[Any]) -> str:
    import pandas as pd

    from holds.turns import median_steps

    if part == CALLS:
        calls = pd.DataFrame(results).median().round(1).rename("ms").to_string()
        return f"Single calls into Slicer, which cannot be split\n\n{calls}"
    return str(pd.DataFrame(median_steps(results)).to_string(index=False))


def _run(settings: Settings) -> Any:
    """The steps of one process, or the milliseconds of single calls."""
    if settings.part == CALLS:
        from holds.single_calls import single_calls

        return single_calls(settings.shape_kji)

    from holds.turns import Turns
    from stand_in_slicer import Application

    turns = Turns(settings.stacks_ms)
    with tempfile.TemporaryDirectory() as folder:
        application = Application(Path(folder))
        application.start()
        try:
            application.load_module(SHIPPED / "ContextPropagation.py")
            application.finish_startup()
            _look_around()  # before the next line, which imports the package too
            user_of_part = getattr(import_module(f"holds.{settings.part}"), PARTS[settings.part])
            user = user_of_part(application, turns, Path(folder), settings.shape_kji)
            try:
                user.work()
            finally:
                user.leave()
        finally:
            application.stop()
    return turns.steps


def _look_around() -> None:
    """A person needs longer than the imports after start-up."""
    import slicer.util

    from as_a_user import process_events
    from context_propagation.gui.work.busy_cursor import busy_cursor
    from context_propagation.gui.work.warm_up import STEPS

    process_events(until=lambda: STEPS[-1] in sys.modules, at_most=30)
    with busy_cursor():  # the stand-ins make Qt's names when they are first used, which takes longer than our work
        slicer.util.loadUI(str(SHIPPED / "Resources" / "UI" / "ContextPropagation.ui"))


if __name__ == "__main__":
    main()
