"""One persistent thread for torch; results are handed over on the thread that owns the scene."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.session.operation import Operation

IDLE_WAIT_SECONDS = 0.01


@dataclass
class Job:
    """An operation on its way. All of it but `cancel` and `stage` belongs to the thread that submitted it.

    Attributes:
        operation: What is done.
        on_finished: Called with the operation's result.
        on_failed: Called with the exception; `Cancelled` where the user cancelled.
        stage: The stage's name and the fraction of it that is done.
        finished: Whether one of the callbacks was called.
        settled: Whether it was asked to go on with the best that it has.
        outcome: What the computation gave, and what it raised; there until it is handed over.
        parts: What is left to read, or to write; None while it is computed.
        computed: Whether the computation has ended.
    """

    operation: Operation[Any]
    on_finished: Callable[[Any], None]
    on_failed: Callable[[BaseException], None]
    stage: tuple[str, float] = ("", 0.0)
    finished: bool = False
    settled: bool = False
    outcome: tuple[Any, BaseException | None] = (None, None)
    parts: Iterator[None] | None = None
    computed: bool = False
    _cancel: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask it to stop; it does before its next evaluation, and its result is not used even if it came to one."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    @property
    def settles(self) -> bool:
        """Whether it can be asked to go on with the best that it has."""
        return self.stage[0] in self.operation.settles_in and not self.settled and not self.cancelled

    def settle(self) -> None:
        """Ask for that."""
        if self.settles:
            self.operation.settle()
            self.settled = True

    def show(self, stage: str, fraction: float) -> None:
        """The progress callback of the computation."""
        self.stage = (stage, fraction)

    def compute(self) -> None:
        """The long part, on the worker's thread."""
        try:
            self.outcome = self.operation.compute(self.show, self._cancel.is_set), None
        except BaseException as raised:  # nothing may end the thread
            self.outcome = None, raised
        self.computed = True

    def do_part(self) -> bool:
        """Read or write the next part of it; False where none is left, or it is not to go on."""
        if self.cancelled or self.outcome[1] is not None:
            return False
        try:
            if self.parts is None:
                self.parts = self.operation.write(self.outcome[0]) if self.computed else self.operation.read()
            return next(self.parts, self) is not self
        except BaseException as raised:
            self.outcome = None, raised
            return False


class Worker:
    """Runs one operation at a time on a thread of its own, which starts with the first.

    A fresh thread costs over a second where torch uses CUDA: so one is kept. It is a daemon: it never keeps the
    application open. No callback is called but by `drain`, on the thread that calls it.
    """

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.job: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether an operation was submitted and its callback not called yet."""
        return self.job is not None

    @property
    def has_computed(self) -> bool:
        """Whether `drain` would hand over a result, or an error, or do a part of what comes before."""
        return self._done.is_set()

    def await_computed(self, seconds: float) -> None:
        """Let other threads work until there is something to hand over, at most so long."""
        self._done.wait(seconds)

    def submit(
        self,
        operation: Operation[Any],
        on_finished: Callable[[Any], None] = lambda result: None,
        on_failed: Callable[[BaseException], None] = lambda error: None,
    ) -> Job:
        """Start an operation.

        Raises:
            UserInputError: Another one runs, or what it is about is not as it was when it was made.
        """
        if self.job is not None:
            raise UserInputError(f"'{self.job.operation.title}' is running; wait for it or cancel it")
        operation.begin()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="context-propagation", daemon=True)
            self._thread.start()
        self.job = Job(operation, on_finished, on_failed)
        self._done.set()
        self.do_part()
        return self.job

    def do_part(self) -> bool:
        """Do a short part of what is to be read or written; False where `drain` has no more of these to do first."""
        job = self.job
        if job is None or not self._done.is_set():
            return False
        if job.do_part():
            return True
        if job.computed or job.cancelled or job.outcome[1] is not None:
            return False
        job.parts = None
        self._done.clear()
        self._todo.put(job)
        return True

    def drain(self) -> bool:
        """Finish the operation that has nothing else left, and call its callback; True where there was one."""
        if self.do_part() or not self._done.is_set():
            return False
        self._done.clear()
        job, self.job = self.job, None
        assert job is not None  # one was done
        (computed, error), job.outcome, job.finished = job.outcome, (None, None), True
        if error is None and job.cancelled:
            error = Cancelled()
        try:
            if error is not None:
                job.operation.abandon()
                raise error
            result = job.operation.finish(computed)
        except BaseException as raised:  # whatever it is, the caller shows it
            job.on_failed(raised)
            raised.__traceback__ = None  # its frames hold what was computed with
        else:
            job.on_finished(result)
        return True

    def wait(self, seconds: float = float("inf")) -> bool:
        """Drain until nothing runs, at most so long; True where nothing runs any more."""
        end = time.monotonic() + seconds
        while self.busy and time.monotonic() < end:
            if not self.drain():
                self.await_computed(IDLE_WAIT_SECONDS)
        return not self.busy

    def close(self, seconds: float = 10.0) -> None:
        """Cancel what runs, let it end, and end the thread; the callbacks are called as for any cancelled operation."""
        if self.job is not None:
            self.job.cancel()
        try:
            self.wait(seconds)
        finally:
            if self._thread is not None:
                self._todo.put(None)
                self._thread = None

    def _work(self) -> None:
        todo, done = self._todo, self._done
        while (job := todo.get()) is not None:
            job.compute()
            del job  # the other thread holds the last reference: what it leads to is not freed on this one
            done.set()
