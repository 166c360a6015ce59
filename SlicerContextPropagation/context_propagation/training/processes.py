"""Jobs in processes of their own, one thread each."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context, parent_process
from typing import Any

import SimpleITK as sitk
import torch

from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require


def run_in_parallel(jobs: Iterable[Callable[[], Any]], description: str, workers: int | None = None) -> list[Any]:
    """Run jobs in processes of their own, with a progress bar; results in the order of the jobs.

    Each process has one thread: on a CPU that is faster than fewer processes with more. The processes are started anew,
    so a script calls this under `if __name__ == "__main__"`; they are kept for the next call.
    """
    tqdm = require("tqdm", extra="cli").tqdm
    jobs = list(jobs)
    workers = workers or available_cores()
    if workers == 1:
        return [job() for job in tqdm(jobs, desc=description, disable=None)]
    futures = [_processes(workers).submit(job) for job in jobs]
    try:
        for future in tqdm(as_completed(futures), total=len(jobs), desc=description, disable=None):
            future.result()
    except BaseException as error:
        _stop_processes(workers)
        if isinstance(error, BrokenProcessPool):
            raise UserInputError("A worker process died, likely for lack of memory; give a smaller --jobs") from error
        raise
    return [future.result() for future in futures]


def processes_for(device: str, wanted: int | None) -> int | None:
    """How many processes: what the user wants, else one on a GPU; None for one per CPU core."""
    return 1 if wanted is None and select_device(device).type == "cuda" else wanted


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stop_processes(workers: int) -> None:
    """At once: what they have not finished is lost, and files appear complete or not at all."""
    pool = _processes(workers)
    running = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in running:
        process.terminate()
    _processes.cache_clear()


@lru_cache(maxsize=1)
def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), _start_process)


def _start_process() -> None:
    """One thread; Ctrl-C is the parent's business; ITK's warnings are raised as errors where they matter.

    A parent that is killed takes its processes with it, else they would work on for minutes, unseen.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
