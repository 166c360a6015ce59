"""What goes on in a worker of a Dask cluster: a job in a process of its own, ended once nobody wants it.

Jobs and results are pickled, as all of Dask's messages are: who reaches the scheduler can run code here anyway. They
are unpickled by the job's process and by the client, so that a worker itself imports no torch.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import uuid
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.provenance import installed_versions
from context_propagation.core.storage.counted_files import counted_files
from context_propagation.training.job_process import (
    EXTRA,
    SECONDS_BETWEEN_LOOKS,
    run_job,
    share_done,
    start_process,
)

OURS = "slicer-context-propagation"


NOT_COMPARED = ("slicer-core",)
"""Decides no figure, and has wheels for one Python alone."""


IDLE_SECONDS = 60.0
"""So long a process is kept for the next job."""


DAEMON = "DASK_DISTRIBUTED__WORKER__DAEMON=False"


@dataclass(frozen=True)
class Token:
    """A file that shows a folder to be shared.

    Attributes:
        file: Written by the client.
        text: What is in it.
    """

    file: Path
    text: str


@dataclass(frozen=True)
class Terms:
    """What must hold on a worker before it does a job.

    Attributes:
        versions: By package, of the client.
        folder: The client's current one; relative paths begin there.
        tokens: In the folders that jobs write to.
        reads: Files and folders that jobs read.
    """

    versions: tuple[tuple[str, str], ...]
    folder: Path
    tokens: tuple[Token, ...]
    reads: tuple[Path, ...]


@dataclass(frozen=True)
class Outcome:
    """Of a job.

    Attributes:
        result: Pickled; None where there is none.
        error: Pickled: what the job raised.
        died: Whether its process died.
    """

    result: bytes | None = None
    error: bytes | None = None
    died: bool = False


@cache
def compared_versions() -> tuple[tuple[str, str], ...]:
    """Of Python and of the packages that decide results, and a digest of this package's code.

    Builds of one version, such as torch's for a CPU and a GPU, count as equal.
    """
    package = Path(__file__).parents[1]
    digest = sha256()
    for file in counted_files(package, "*.py"):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    found = {name: version.partition("+")[0] for name, version in installed_versions().items()}
    found[OURS] = f"{found.get(OURS, 'not installed')} (code {digest.hexdigest()[:8]})"
    return tuple(sorted((name, version) for name, version in found.items() if name not in NOT_COMPARED))


@cache
def what_is_wrong(terms: Terms) -> str | None:
    """Why this worker cannot do the client's jobs, with the remedy; None where it can. Asked once per process."""
    if multiprocessing.current_process().daemon:
        return f"may start no processes, and jobs need some; start workers with {DAEMON} in their environment"
    here, there = dict(compared_versions()), dict(terms.versions)
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            return (
                f"has {name} {here.get(name, 'not')}, and this command runs with {there.get(name, 'none')}; start "
                "workers in the same environment"
            )
    for token in terms.tokens:
        if not _holds(token):
            return f"does not see '{token.file.parent}' of this computer; give an --output that all workers share"
    for path in (terms.folder, *terms.reads):
        if not path.exists():
            return f"does not see '{path}' of this computer; put it where all workers see it"
    return None


def _holds(token: Token) -> bool:
    with suppress(OSError):
        return token.file.read_text(encoding="utf-8") == token.text
    return False


@dataclass(frozen=True)
class Answer:
    """Of a worker, before any work.

    Attributes:
        wrong: See `what_is_wrong`.
        files: That it wrote beside the tokens, for the client to find.
    """

    wrong: str | None
    files: tuple[Path, ...] = ()


def answer(terms: Terms) -> Answer:
    """Whether this worker can do the client's jobs; writes a file into each folder that jobs write to."""
    if wrong := what_is_wrong(terms):
        return Answer(wrong)
    files = []
    for token in terms.tokens:
        file = token.file.with_name(f"{token.file.name}-{uuid.uuid4().hex}")
        try:
            file.write_text(token.text, encoding="utf-8")
        except OSError as error:
            return Answer(
                f"cannot write to '{file.parent}' ({error.strerror}); give an --output that all workers share"
            )
        files.append(file)
    return Answer(None, tuple(files))


# ---- jobs

_lock = threading.Lock()
_idle: list[Any] = []
"""Executors of one process each."""
_busy: Counter[str] = Counter()
"""How many jobs run, by their topic."""


def jobs_that_run(topic: str) -> int:
    """How many of a client's jobs run on this worker."""
    return _busy[topic]


def end_idle_processes() -> None:
    """Give back what processes keep that wait for a next job."""
    with _lock:
        idle = list(_idle)
        _idle.clear()
    for executor in idle:
        executor.shutdown(kill_workers=True)


def do_job(terms: Terms, job: bytes, number: int, topic: str) -> Outcome:
    """Run a job in a process of its own, and end that once Dask has no more use for the job.

    Args:
        terms: What must hold first.
        job: A pickled function.
        number: Of the job.
        topic: Where the client hears how much of it is done.
    """
    if wrong := what_is_wrong(terms):
        return Outcome(error=pickle.dumps(UserInputError(f"Worker '{_worker().name}' {wrong}")))
    with _lock:
        _busy[topic] += 1
    try:
        with TemporaryDirectory(ignore_cleanup_errors=True) as started:
            return _in_a_process(terms, job, number, topic, Path(started))
    finally:
        with _lock:
            _busy[topic] -= 1


def _in_a_process(terms: Terms, job: bytes, number: int, topic: str, started: Path) -> Outcome:
    worker = _worker()
    key = worker.get_current_task()
    executor = _executor()
    running = executor.submit(_run, job, number, started, terms.folder)
    told = 0.0
    while not wait([running], SECONDS_BETWEEN_LOOKS).done:
        if not _is_wanted(worker, key):
            executor.shutdown(kill_workers=True)
            return Outcome()
        if (share := share_done(started / str(number))) != told:
            told = share
            worker.log_event(topic, {"number": number, "share": share})
    try:
        outcome: Outcome = running.result()
    except BrokenProcessPool:
        executor.shutdown(kill_workers=True)
        return Outcome(died=True)
    with _lock:
        _idle.append(executor)
    return outcome


def _is_wanted(worker: Any, key: Any) -> bool:
    """Whether Dask still waits for a job: it does not once the client cancelled it, ended, or the worker ends."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state == "executing" and worker.status.name in ("running", "paused")


def _executor() -> Any:
    with _lock:
        if _idle:
            return _idle.pop()
    warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)  # it is as it should be
    loky = require("joblib.externals.loky", EXTRA)
    return loky.ProcessPoolExecutor(1, timeout=IDLE_SECONDS, initializer=start_process, initargs=(os.getpid(),))


def _worker() -> Any:
    return require("distributed", "cluster").get_worker()


def _run(job: bytes, number: int, started: Path, folder: Path) -> Outcome:
    """In the process: what the job raises is its outcome, so that Dask logs nothing of it."""
    try:
        os.chdir(folder)
        call: Callable[[], Any] = pickle.loads(job)
        return Outcome(pickle.dumps(run_job(number, call, started)[1]))
    except Exception as error:
        return Outcome(error=_pickled(error))


def _pickled(error: Exception) -> bytes:
    try:
        pickle.loads(pickled := pickle.dumps(error))
    except Exception:  # whatever an error of others holds
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return pickled
