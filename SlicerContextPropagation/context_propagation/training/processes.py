"""Jobs beside one another, wherever they run: results, a progress bar, and the processes of this computer."""

from __future__ import annotations

import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from context_propagation.core.callbacks import Progress, no_progress
from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.training.job_process import (
    EXTRA,
    SECONDS_BETWEEN_LOOKS,
    heard_by,
    run_job,
    share_done,
    start_process,
)
from context_propagation.training.places import Finished, Hear, Job, Leaves, Stage, are_there, current_place

ATTEMPTS = 3
"""How often a job is started before it is given up: it, or one beside it, took a process down each time."""


BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total_fmt} [{elapsed}<{remaining}]"


def run_in_parallel(
    jobs: Iterable[Job],
    description: str,
    workers: int | None = None,
    names: Sequence[str] = (),
    leaves: Sequence[Leaves] = (),
    progress: Progress = no_progress,
    device: str = "cpu",
    memory_bytes: Callable[[], int] | None = None,
) -> list[Any]:
    """Run jobs where `places` says, with a progress bar; results in the order of the jobs.

    By default they run in processes of their own on this computer. Each process has one thread: on a CPU that is faster
    than fewer processes with more. The processes are kept for the next call. A job that was running when a process died
    is started again, so it must not mind what an earlier start left: jobs leave whole files, and go on from them.

    Args:
        jobs: Functions that can be pickled.
        description: Of the progress bar.
        workers: Processes at a time on this computer; None for one per CPU core, or one where jobs compute on a GPU. A
            single one is this process.
        names: Of the jobs, for errors; their numbers by default.
        leaves: The file that each job leaves last, or all its files. A job whose files are there has only to read them,
            and does so in this process: to start another, and what it must import, takes longer.
        progress: Called with the description and the fraction of all jobs that is done: first with what was done
            before; by other threads, one at a time, while jobs run.
        device: What the jobs compute on: "auto", "cpu", "cuda" or "mps".
        memory_bytes: What one of them needs at most, where jobs run on a cluster.

    Raises:
        UserInputError: Jobs did not end in any of their attempts, because a process died.
        PartEnds: This is one of several parts, and files of others are lacking.
    """
    tqdm = require("tqdm", EXTRA).tqdm
    jobs = list(jobs)
    stage = Stage(description, workers, names, leaves, device, memory_bytes)
    done = [number for number, path in enumerate(leaves) if are_there(path)]
    results: dict[int, Any] = {number: jobs[number]() for number in done}
    left = {number: job for number, job in enumerate(jobs) if number not in results}
    with tqdm(total=len(jobs), initial=len(done), desc=description, disable=None, bar_format=BAR) as bar:
        standing = _Standing(description, len(jobs), results, bar, progress)
        standing.tell()
        with closing((current_place() or Here()).finished(left, stage, standing.hear)) as finished:
            for number, result in finished:
                standing.take(number, result)
    standing.tell()
    return [results[number] for number in range(len(jobs))]


class _Standing:
    """Results, what is done of the jobs that run, and who hears of it."""

    def __init__(self, description: str, jobs: int, results: dict[int, Any], bar: Any, progress: Progress) -> None:
        self._description, self._jobs, self._results = description, jobs, results
        self._bar, self._progress = bar, progress
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()

    def hear(self, number: int, share: float) -> None:
        """A job that runs is so far; it may say so after its end."""
        with self._lock:
            if number not in self._results and self._shares.get(number) != share:
                self._shares[number] = share
                self._tell()

    def take(self, number: int, result: Any) -> None:
        """A job is done."""
        with self._lock:
            self._results[number] = result
            self._shares.pop(number, None)
            self._tell()

    def tell(self) -> None:
        """Say where it stands."""
        with self._lock:
            self._tell()

    def _tell(self) -> None:
        done = min(len(self._results) + sum(self._shares.values()), self._jobs)
        self._bar.n = done
        self._bar.refresh()
        self._progress(self._description, done / max(1, self._jobs))


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_at_a_time(workers: int | None, device: str) -> int:
    """How many run at a time; `workers` and `device` as for `run_in_parallel`."""
    place = current_place()
    elsewhere = None if place is None else place.jobs_at_a_time()
    return elsewhere or _processes_for(device, workers) or available_cores()


def _processes_for(device: str, wanted: int | None) -> int | None:
    """How many processes: what the user wants, else one on a GPU; None for one per CPU core."""
    return 1 if wanted is None and device != "cpu" and select_device(device).type == "cuda" else wanted


class Here:
    """This computer: processes of their own, or this one. See `Place`."""

    def finished(self, jobs: Mapping[int, Job], stage: Stage, hear: Hear) -> Finished:
        """Number and result of each job as soon as it is done; a job whose process died is started again."""
        workers = _processes_for(stage.device, stage.workers) or available_cores()
        if workers == 1:
            yield from _one_after_the_other(jobs, hear)
            return
        left, deaths = dict(jobs), Counter[int]()
        while left:
            with TemporaryDirectory(ignore_cleanup_errors=True) as started:
                try:
                    with _looked_at(Path(started), hear):
                        for number, result in _in_processes(left, workers, Path(started)):
                            del left[number]
                            yield number, result
                except BrokenProcessPool as error:
                    deaths.update(_running(left, Path(started)))
                    give_up_where_it_is_no_use(deaths, stage, "give a smaller --jobs", error)

    def device(self, asked_for: str) -> str:
        """What the user asked for."""
        return asked_for

    def jobs_at_a_time(self) -> int | None:
        """The stage decides."""
        return None


def _one_after_the_other(jobs: Mapping[int, Job], hear: Hear) -> Finished:
    """In this process."""
    for number, job in jobs.items():
        with heard_by(partial(hear, number)):
            result = job()
        yield number, result


@contextmanager
def _looked_at(started: Path, hear: Hear) -> Iterator[None]:
    """While jobs run in other processes, look at how much of each is done."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            for path in started.iterdir():
                hear(int(path.name), share_done(path))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()


def _in_processes(jobs: Mapping[int, Job], workers: int, started: Path) -> Finished:
    """Number and result of each job as soon as it is done. Left early, all processes end at once."""
    joblib, _ = require("joblib", EXTRA), require("psutil", EXTRA)
    parallel = joblib.Parallel(
        workers,
        batch_size=1,
        max_nbytes=None,
        return_as="generator_unordered",
        initializer=start_process,
        initargs=(os.getpid(),),
    )
    run = joblib.delayed(run_job)
    with warnings.catch_warnings():
        # A process is replaced when its memory has grown, and ended early where it must: both are as they should be
        warnings.simplefilter("ignore", UserWarning)
        with closing(parallel([run(number, job, started) for number, job in jobs.items()])) as finished:
            yield from finished


def _running(left: Mapping[int, Job], started: Path) -> list[int]:
    """The jobs that had been started and were not done; all that are left where no process got as far as a job."""
    return [number for number in left if (started / str(number)).exists()] or list(left)


def give_up_where_it_is_no_use(
    deaths: Counter[int], stage: Stage, remedy: str, error: BaseException | None = None
) -> None:
    """Raise where a job took a process down at every attempt.

    Raises:
        UserInputError: Naming the jobs.
    """
    hopeless = sorted(number for number, count in deaths.items() if count >= ATTEMPTS)
    if hopeless:
        raise UserInputError(
            f"A worker process died, {ATTEMPTS} times, while it ran {stage.named(hopeless)}; likely for lack of "
            f"memory; {remedy}"
        ) from error
