"""One thing at a time: what computes on the device waits for its turn, tells how far it is, and can be cancelled."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from context_propagation.core.errors import Cancelled

logger = logging.getLogger(__name__)


@dataclass
class Job:
    """One computation.

    Attributes:
        compute: What is computed; given the job, for its progress and its flags.
        changed: Called, from any thread, whenever there is something new to tell.
        stage: Where it is.
        fraction: Of the stage.
        result: What came out, once it is done.
        error: What it raised.
    """

    compute: Callable[[Job], Any]
    changed: Callable[[], None] = lambda: None
    stage: str = "wait"
    fraction: float = 0.0
    result: Any = None
    error: BaseException | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _enough: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)

    def progress(self, stage: str, fraction: float) -> None:
        """As the engine's callbacks."""
        self.stage, self.fraction = stage, fraction
        self.changed()

    def cancel(self) -> None:
        """Stop before the next evaluation, or never begin."""
        self._cancelled.set()

    def settle(self) -> None:
        """Go on with the best so far."""
        self._enough.set()

    @property
    def cancelled(self) -> Callable[[], bool]:
        return self._cancelled.is_set

    @property
    def enough(self) -> Callable[[], bool]:
        return self._enough.is_set

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def run(self) -> None:
        """On the worker's thread."""
        try:
            if self._cancelled.is_set():
                raise Cancelled
            self.result = self.compute(self)
        except BaseException as error:
            self.error = error
        finally:
            self._done.set()
            self.changed()


class Worker:
    """A thread that does one job after the other, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    def begin(self, job: Job) -> Job:
        """Put it behind those that wait."""
        self._waiting.put(job)
        return job

    def end(self) -> None:
        """Do what waits, then nothing more."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            job.run()
            del job  # and with it what it holds of a session
