"""Jobs on a Dask cluster, done again where a worker died."""

from __future__ import annotations

import os
import pickle
import re
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.training.cluster_worker import Terms, do_job, jobs_that_run
from context_propagation.training.places import Finished, Hear, Job, Stage
from context_propagation.training.processes import ATTEMPTS, give_up_where_it_is_no_use

EXTRA = "cluster"


SECONDS_FOR_A_WORKER = 60.0
"""So long a cluster may be without workers at the start, and where a stage must know what they have."""


SECONDS_TO_END = 30.0
"""So long it is waited for jobs that nobody wants any more."""


SUGGESTIONS = {"GPU": 'start some with --resources "GPU=1", or give --device cpu'}


def call_for_a_worker(client: Any, address: str) -> None:
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
            call_for_a_worker(self._client, self._address)
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
