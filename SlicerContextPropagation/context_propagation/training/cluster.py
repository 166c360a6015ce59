"""Jobs on a Dask cluster that somebody else started: checked before any work, done again where a worker died."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.training.cluster_worker import (
    Answer,
    Terms,
    Token,
    answer,
    compared_versions,
    do_job,
    end_idle_processes,
    jobs_that_run,
)
from context_propagation.training.places import Finished, Hear, Job, Stage
from context_propagation.training.processes import ATTEMPTS, give_up_where_it_is_no_use

EXTRA = "cluster"


TOKEN = ".context-propagation-shared-"


SECONDS_TO_CONNECT = 20.0


SECONDS_FOR_A_WORKER = 60.0
"""So long a cluster may be without workers at the start, and where a stage must know what they have."""


SECONDS_TO_SEE_A_FILE = 20.0
"""So long a network file system may take to show what a worker wrote."""


SECONDS_TO_END = 30.0
"""So long it is waited for jobs that nobody wants any more."""


SUGGESTIONS = {"GPU": 'start some with --resources "GPU=1", or give --device cpu'}


@dataclass(frozen=True)
class ClusterRequest:
    """Which cluster, and what its workers must see.

    Attributes:
        scheduler: Address, `tcp://host:port` or `tls://host:port`; None where a file says it.
        scheduler_file: Written by `dask scheduler --scheduler-file`; None where the address is given.
        writes: Folders that jobs write to; one that is not there yet lies in a shared one.
        reads: What jobs read.
    """

    scheduler: str | None = None
    scheduler_file: Path | None = None
    writes: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.scheduler_file is not None:
            raise UserInputError("--scheduler and --scheduler-file both name a cluster; give one of them")
        if self.scheduler is not None and not re.fullmatch(r"(tcp|tls)://\S+", self.scheduler):
            raise UserInputError(
                f"--scheduler '{self.scheduler}' is no address; give one such as tcp://host:8786, or tls://host:8786"
            )

    @property
    def address(self) -> str:
        """The scheduler's; a scheduler that was just started is given a while to write its file.

        Raises:
            UserInputError: The file does not say it.
        """
        if self.scheduler_file is None:
            return self.scheduler or ""
        end = time.monotonic() + SECONDS_TO_CONNECT
        while True:
            try:
                return str(json.loads(self.scheduler_file.read_text(encoding="utf-8"))["address"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                if time.monotonic() > end:
                    raise UserInputError(
                        f"--scheduler-file '{self.scheduler_file}' cannot be read ({error!r:.80}); start the scheduler "
                        "with dask scheduler --scheduler-file first"
                    ) from error
            time.sleep(0.1)


@contextmanager
def opened_cluster(request: ClusterRequest) -> Iterator[Cluster]:
    """A cluster whose workers were checked; nothing of ours runs on it when the block is left.

    Raises:
        UserInputError: There is no such cluster, or its workers cannot do these jobs.
        MissingDependencyError: Dask is not installed.
    """
    with ExitStack() as stack:
        stack.enter_context(_silent())  # what matters is said in our words
        address = request.address
        client = stack.enter_context(_client(address))
        folders = sorted({_existing(folder) for folder in request.writes})
        tokens = tuple(stack.enter_context(_token(folder)) for folder in folders)
        reads = tuple(sorted({path.absolute() for path in request.reads}))
        terms = Terms(compared_versions(), Path.cwd(), tokens, reads)
        _check_workers(client, address, terms)
        cluster = Cluster(client, address, terms)
        client.subscribe_topic(cluster.topic, cluster.hear)
        try:
            yield cluster
        finally:
            with suppress(Exception):  # a cluster that is gone
                client.run(end_idle_processes, on_error="ignore")


@contextmanager
def _silent() -> Iterator[None]:
    """What Dask would log in this process; each of its loggers has a level of its own."""
    require("distributed", EXTRA)
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    distributed = require("distributed", EXTRA)
    try:
        client = distributed.Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError: TLS without certificates
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserInputError(f"No Dask scheduler answers at '{address}' ({reason:.200}); start it first") from error
    with client:
        yield client


def _existing(folder: Path) -> Path:
    """The folder itself, or the one that it will be made in."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())


@contextmanager
def _token(folder: Path) -> Iterator[Token]:
    token = Token(folder / f"{TOKEN}{uuid.uuid4().hex}", uuid.uuid4().hex)
    try:
        token.file.write_text(token.text, encoding="utf-8")
        yield token
    finally:
        for file in folder.glob(f"{token.file.name}*"):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _check_workers(client: Any, address: str, terms: Terms) -> None:
    """Ask each worker; those that come later are asked with their first job.

    Raises:
        UserInputError: There is none, or one of them cannot do these jobs.
    """
    _call_for_a_worker(client, address)
    for worker, said in client.run(answer, terms, on_error="return").items():
        if isinstance(said, BaseException):
            reason = " ".join(str(said).split())
            raise UserInputError(
                f"Worker '{worker}' cannot run this program ({reason:.200}); start workers in the same environment"
            )
        if said.wrong is not None:
            raise UserInputError(f"Worker '{worker}' {said.wrong}")
        _find(worker, said, terms)


def _call_for_a_worker(client: Any, address: str) -> None:
    """Wait until there is one, with a small task: some clusters start workers only where there is work for them.

    Raises:
        UserInputError: None came.
    """
    task = client.submit(os.getpid, pure=False)
    try:
        task.result(timeout=SECONDS_FOR_A_WORKER)
    except (TimeoutError, require("distributed", EXTRA).TimeoutError) as error:
        raise UserInputError(
            f"The Dask scheduler at '{address}' has no worker; start some with dask worker, then run this again"
        ) from error
    finally:
        task.cancel()


def _find(worker: str, said: Answer, terms: Terms) -> None:
    for token, file in zip(terms.tokens, said.files, strict=True):
        end = time.monotonic() + SECONDS_TO_SEE_A_FILE
        while not _reads_as(file, token.text):
            if time.monotonic() > end:
                raise UserInputError(
                    f"What worker '{worker}' wrote to '{file.parent}' is not seen here; give an --output that all "
                    "workers share with this computer"
                )
            time.sleep(0.1)


def _reads_as(file: Path, text: str) -> bool:
    with suppress(OSError):
        return file.read_text(encoding="utf-8") == text
    return False


class Cluster:
    """A Dask cluster. See `Place`.

    Jobs go by distributed's own client, not by joblib's Dask backend: that backend neither ends what runs nor forgets
    what waits when its caller leaves, and has no way to hear how much of a job is done.

    Attributes:
        topic: Under which jobs say how much of them is done.
    """

    def __init__(self, client: Any, address: str, terms: Terms) -> None:
        self._client, self._address, self._terms = client, address, terms
        self._hear: Hear | None = None
        self.topic = f"context-propagation-{uuid.uuid4().hex}"

    def hear(self, event: tuple[float, Any]) -> None:
        """A worker says how much of a job is done."""
        _, said = event
        if self._hear is not None:
            self._hear(said["number"], said["share"])

    def device(self, asked_for: str) -> str:
        """A GPU where workers offer the resource, unless the user asked for another device."""
        if asked_for != "auto":
            return asked_for
        return "cuda" if any(self._offered("GPU")) else "cpu"

    def jobs_at_a_time(self) -> int:
        """Threads of all workers."""
        return max(1, sum(int(worker["nthreads"]) for worker in self._workers()))

    def finished(self, jobs: Mapping[int, Job], stage: Stage, hear: Hear) -> Finished:
        """Number and result of each job as soon as it is done.

        Raises:
            UserInputError: No worker has what a job needs, or the scheduler is gone.
        """
        if not jobs:
            return
        self._hear = hear
        run = _Run(self, stage, jobs, self._resources(stage))
        try:
            yield from run.finished()
        finally:
            self._hear = None
            self._end(run.waiting)

    def submit(self, job: Job, number: int, key: str, resources: Mapping[str, float]) -> Any:
        """Send a job."""
        return self._client.submit(
            do_job, self._terms, pickle.dumps(job), number, self.topic, key=key, resources=resources, pure=False
        )

    def _end(self, futures: Sequence[Any]) -> None:
        """Take back what is not done, and wait until none of it runs."""
        if not futures:
            return
        with suppress(Exception):  # a scheduler that is gone ends all jobs of this client by itself
            self._client.cancel(futures, force=True)
            end = time.monotonic() + SECONDS_TO_END
            while time.monotonic() < end:
                if not any(self._client.run(jobs_that_run, self.topic, on_error="ignore").values()):
                    return
                time.sleep(0.1)

    # ---- what workers have

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    def _offered(self, resource: str) -> list[float]:
        return [worker["resources"][resource] for worker in self._workers() if resource in worker["resources"]]

    def _resources(self, stage: Stage) -> dict[str, float]:
        """What each job of a stage needs, of what workers offer.

        Raises:
            UserInputError: No worker has it; such a job would wait for ever.
        """
        needed: dict[str, float] = {"GPU": 1.0} if stage.device == "cuda" else {}
        if needed and not self._workers():
            _call_for_a_worker(self._client, self._address)
        if stage.memory_bytes is not None:
            memory = float(stage.memory_bytes())
            self._check_memory(stage, memory)
            if self._offered("MEMORY"):
                needed["MEMORY"] = memory
        for name, amount in needed.items():
            if max(self._offered(name), default=0) < amount:
                raise UserInputError(
                    f"No worker at '{self._address}' offers {name}={amount:.0f}, which '{stage.description}' needs; "
                    + SUGGESTIONS[name]
                )
        return needed

    def _check_memory(self, stage: Stage, needed: float) -> None:
        of_each_job = [worker["memory_limit"] / worker["nthreads"] or needed for worker in self._workers()]
        most = max(self._offered("MEMORY") or of_each_job, default=needed)  # where all have just gone, others come
        if most < needed:
            raise UserInputError(
                f"A job of '{stage.description}' may need {needed / 2**30:.1f} GiB, and no worker at "
                f"'{self._address}' has more than {most / 2**30:.1f} for it; start workers with more memory"
            )


class _Run:
    """The jobs of one stage."""

    def __init__(self, cluster: Cluster, stage: Stage, jobs: Mapping[int, Job], resources: Mapping[str, float]) -> None:
        self._cluster, self._stage, self._jobs, self._resources = cluster, stage, jobs, resources
        self._numbers: dict[Any, int] = {}
        self._deaths: Counter[int] = Counter()
        self._remedy = "give a job more memory, or workers fewer threads"

    @property
    def waiting(self) -> list[Any]:
        """The futures of jobs that are not done."""
        return list(self._numbers)

    def finished(self) -> Finished:
        """See `Cluster.finished`."""
        distributed = require("distributed", EXTRA)
        futures = [self._submitted(number) for number in self._jobs]
        done = distributed.as_completed(futures, loop=futures[0].client.loop)
        for future in done:
            outcome = self._outcome(future)
            number = self._numbers.pop(future)
            future.release()
            if outcome.died:
                self._deaths[number] += 1
                give_up_where_it_is_no_use(self._deaths, self._stage, self._remedy)
                done.add(self._submitted(number))
            elif outcome.error is not None:
                raise pickle.loads(outcome.error)
            elif outcome.result is None:  # its worker was closed
                done.add(self._submitted(number))
            else:
                yield number, pickle.loads(outcome.result)

    def _submitted(self, number: int) -> Any:
        """The key, which Dask's dashboard and logs show, names the stage and no case."""
        words = re.sub(r"\W+", "-", self._stage.description.lower()).strip("-")
        key = f"{words}-{number}-{uuid.uuid4().hex}"
        future = self._cluster.submit(self._jobs[number], number, key, self._resources)
        self._numbers[future] = number
        return future

    def _outcome(self, future: Any) -> Any:
        scheduler = require("distributed.scheduler", EXTRA)
        try:
            return future.result()
        except scheduler.KilledWorker as error:  # by the scheduler's own count
            number = self._numbers[future]
            give_up_where_it_is_no_use(Counter({number: ATTEMPTS}), self._stage, self._remedy, error)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UserInputError(
                f"The Dask cluster lost a job of '{self._stage.description}' ({reason:.200}); what is finished is "
                "kept; see to the cluster, then run the same command again"
            ) from error
