"""Jobs for processes of their own: some end, some take their process with them."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import SimpleITK as sitk

from context_propagation.training.job_process import say_done


def stay(folder, name, seconds):
    """Leave a file named after this process at the start, and one named after the job at the end."""
    (Path(folder) / f"process-{os.getpid()}").touch()
    time.sleep(seconds)
    (Path(folder) / f"done-{name}").touch()
    return name


def wait_halfway(seconds):
    """Say that half is done, and stay there."""
    say_done(0.5)
    time.sleep(seconds)


def die_at_first(folder, times):
    """Killed, as a system without memory does it, so many times; then the number of starts.

    Not at once, so that quick jobs beside it have ended.
    """
    starts = len(list(Path(folder).glob("start-*"))) + 1
    (Path(folder) / f"start-{starts}").touch()
    if starts <= times:
        time.sleep(1)
        _end_as_if_killed()
    return starts


def told_threads():
    """What a library that is imported now goes by, and ITK's threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return [*(os.environ.get(name) for name in names), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()]


def torch_s_threads():
    import torch

    return torch.get_num_threads()


def torch_s_threads_after(folder, deaths):
    """In the process that is started in place of those that died."""
    return die_at_first(folder, deaths), torch_s_threads()


def refuse(error):
    """An error of the job's own."""
    raise error


def _end_as_if_killed():
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)


def map_in_a_process_of_its_own(values):
    """As nnU-Net does for fingerprints and preprocessing."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(abs, values)


def write_on(folder, number):
    """Write ten times a second, for a minute."""
    for _ in range(600):
        with open(Path(folder) / f"job-{number}", "a") as file:
            file.write("x")
        time.sleep(0.1)
