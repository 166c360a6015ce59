"""What goes on in a process that runs jobs: one thread, an end with its parent, a word on how much is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from context_propagation.core.optional_dependency import require

EXTRA = "cli"


SECONDS_BETWEEN_LOOKS = 0.2
"""At the parent: so long may a process outlive it. And at how much of the running jobs is done."""


_hearers: list[Callable[[float], None]] = []
"""Of this process: who is told how much of its job is done."""


def say_done(fraction: float) -> None:
    """Say how much of the running job is done, 0 to 1; who started it hears of it, whichever process runs it."""
    for hear in _hearers:
        hear(fraction)


@contextmanager
def heard_by(hear: Callable[[float], None]) -> Iterator[None]:
    """While jobs run in this very process, `hear` is told how much of each is done."""
    _hearers.append(hear)
    try:
        yield
    finally:
        _hearers.remove(hear)


def start_process(parent: int) -> None:
    """Ctrl-C is the parent's business; ITK has one thread, and its warnings are raised as errors where they matter.

    A parent that is killed takes its processes with it, else they would work on for minutes, unseen. nnU-Net starts
    processes of its own; they would be told to start as loky's do, a way that Python knows in loky's processes alone.
    Torch that a job imports later has the one thread of the environment.
    """
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    multiprocessing.set_start_method("spawn", force=True)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def run_job(number: int, job: Callable[[], Any], started: Path) -> tuple[int, Any]:
    """A job, on one thread whatever another one left; a job that needs no torch does not wait for its import.

    Args:
        number: Names the file in `started` that appears when it starts, and says how much is done.
        job: The job.
        started: A folder of who looks.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    own = started / str(number)
    own.touch()
    _hearers[:] = [lambda fraction: _write(own, fraction)]
    return number, job()


def share_done(file: Path) -> float:
    """How much of a job is done, by the file that it writes; nothing where it says so just now, or has not yet."""
    with suppress(OSError, ValueError):
        return float(file.read_text())
    return 0.0


def _write(file: Path, fraction: float) -> None:
    with suppress(OSError):  # progress is worth no job
        file.write_text(f"{fraction:.4f}")


def _end_with(parent: int) -> None:
    """End this process and those that it started once the parent is gone: dead, also where nobody has asked how."""
    psutil = require("psutil", EXTRA)
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(parent)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            child.kill()
    os._exit(1)
