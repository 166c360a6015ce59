"""Jobs in processes of their own, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import SimpleITK as sitk

from context_propagation.core.callbacks import Progress, no_progress
from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

EXTRA = "cli"


ATTEMPTS = 3
"""How often a job is started before it is given up: it, or one beside it, took a process down each time."""


SECONDS_BETWEEN_LOOKS = 0.2
"""At the parent: so long may a process outlive it. And at how much of the running jobs is done."""


_hearers: list[Callable[[float], None]] = []
"""Of this process: who is told how much of its job is done."""


def say_done(fraction: float) -> None:
    """Say how much of the running job is done, 0 to 1; `run_in_parallel` passes it on, whichever process runs it."""
    for hear in _hearers:
        hear(fraction)


def run_in_parallel(
    jobs: Iterable[Callable[[], Any]],
    description: str,
    workers: int | None = None,
    names: Sequence[str] = (),
    leaves: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> list[Any]:
    """Run jobs in processes of their own, with a progress bar; results in the order of the jobs.

    Each process has one thread: on a CPU that is faster than fewer processes with more. The processes are kept for the
    next call. A job that was running when a process died is started again, so it must not mind what an earlier start
    left: jobs leave whole files, and go on from them.

    Args:
        jobs: Functions that can be pickled.
        description: Of the progress bar.
        workers: Processes at a time; None for one per CPU core. A single one is this process.
        names: Of the jobs, for errors; their numbers by default.
        leaves: The file that each job leaves last. A job whose file is there has only to read it, and does so in this
            process: to start another, and what it must import, takes longer.
        progress: Called with the description and the fraction of all jobs that is done: first with what was done
            before; from another thread while jobs run.

    Raises:
        UserInputError: Jobs did not end in any of their attempts, because a process died.
    """
    tqdm = require("tqdm", EXTRA).tqdm
    jobs = list(jobs)
    workers = workers or available_cores()
    done = [number for number, path in enumerate(leaves) if path.is_file()]
    results: dict[int, Any] = {number: jobs[number]() for number in done}
    deaths: Counter[int] = Counter()

    def tell(shares: float = 0.0) -> None:
        progress(description, min(1.0, (len(results) + shares) / max(1, len(jobs))))

    tell()
    with tqdm(total=len(jobs), initial=len(done), desc=description, disable=None) as bar:
        if workers == 1:
            _run_here(jobs, results, bar, tell)
        while len(results) < len(jobs):
            left = {number: job for number, job in enumerate(jobs) if number not in results}
            with TemporaryDirectory(ignore_cleanup_errors=True) as started:
                try:
                    with _told(Path(started), results, tell):
                        for number, result in _finished(left, workers, Path(started)):
                            results[number] = result
                            bar.update()
                except BrokenProcessPool as error:
                    deaths.update(_running(left, results, Path(started)))
                    _give_up_where_it_is_no_use(deaths, names, error)
    tell()
    return [results[number] for number in range(len(jobs))]


def processes_for(device: str, wanted: int | None) -> int | None:
    """How many processes: what the user wants, else one on a GPU; None for one per CPU core."""
    return 1 if wanted is None and select_device(device).type == "cuda" else wanted


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_here(
    jobs: Sequence[Callable[[], Any]], results: dict[int, Any], bar: Any, tell: Callable[[float], None]
) -> None:
    """One after the other, in this process."""
    _hearers.append(tell)
    try:
        for number, job in enumerate(jobs):
            if number not in results:
                results[number] = job()
                bar.update()
                tell(0.0)
    finally:
        _hearers.remove(tell)


@contextmanager
def _told(started: Path, results: Mapping[int, Any], tell: Callable[[float], None]) -> Iterator[None]:
    """While jobs run in other processes, look at how much of each is done; `tell` is called by one thread at a time."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            running = [path for path in started.iterdir() if int(path.name) not in results]
            tell(sum(map(_share, running)))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()


def _share(file: Path) -> float:
    """How much of a job is done; nothing where it says so just now, or has not yet."""
    with suppress(OSError, ValueError):
        return float(file.read_text())
    return 0.0


def _finished(jobs: Mapping[int, Callable[[], Any]], workers: int, started: Path) -> Iterator[tuple[int, Any]]:
    """Number and result of each job as soon as it is done. Left early, all processes end at once."""
    joblib, _ = require("joblib", EXTRA), require("psutil", EXTRA)
    parallel = joblib.Parallel(
        workers,
        batch_size=1,
        max_nbytes=None,
        return_as="generator_unordered",
        initializer=_start_process,
        initargs=(os.getpid(),),
    )
    run = joblib.delayed(_run)
    with warnings.catch_warnings():
        # A process is replaced when its memory has grown, and ended early where it must: both are as they should be
        warnings.simplefilter("ignore", UserWarning)
        with closing(parallel(run(number, job, started) for number, job in jobs.items())) as finished:
            yield from finished


def _running(jobs: Iterable[int], results: Mapping[int, Any], started: Path) -> list[int]:
    """The jobs that had been started and were not done; all that are left where no process got as far as a job."""
    left = [number for number in jobs if number not in results]
    return [number for number in left if (started / str(number)).exists()] or left


def _give_up_where_it_is_no_use(deaths: Counter[int], names: Sequence[str], error: BrokenProcessPool) -> None:
    hopeless = sorted(number for number, count in deaths.items() if count >= ATTEMPTS)
    if hopeless:
        named = ", ".join(f"'{names[number]}'" if names else f"number {number + 1}" for number in hopeless)
        raise UserInputError(
            f"A worker process died, {ATTEMPTS} times, while it ran {named}; likely for lack of memory; "
            "give a smaller --jobs"
        ) from error


# ---- in a process


def _start_process(parent: int) -> None:
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


def _run(number: int, job: Callable[[], Any], started: Path) -> tuple[int, Any]:
    """A job, on one thread whatever another one left; a job that needs no torch does not wait for its import."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    own = started / str(number)
    own.touch()
    _hearers[:] = [lambda fraction: _write(own, fraction)]
    return number, job()


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
