"""Runs operations on the worker's thread, and hands their results over on Qt's, by a timer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.gui.work.busy_cursor import busy_cursor
from context_propagation.gui.work.messages import show_error
from context_propagation.gui.work.timer import Timer
from context_propagation.gui.work.worker import Job, Worker
from context_propagation.mrml.session.operation import Operation

logger = logging.getLogger(__name__)


TICK_MS = 5


SHARE_SECONDS = 0.02
"""Slicer's event loop holds Python's lock while it waits: other threads compute only while Python runs on the main one.
So each tick waits in Python, which lets go of the lock; far below what anyone notices."""


TELL_SECONDS = 0.2
"""Between two looks at the progress: Slicer's window is painted anew after each, which takes longer than a tick."""


def _always() -> bool:
    return True


class Runner:
    """One operation at a time; panel and effect share it.

    Attributes:
        listeners: Called with the job that runs, or None, whenever that or its progress changes.
    """

    def __init__(self) -> None:
        self._worker = Worker()
        self._timer = Timer(TICK_MS, self._tick)
        self.listeners: list[Callable[[Job | None], None]] = []
        self._still_there: Callable[[], bool] = _always
        self._told = 0.0

    @property
    def busy(self) -> bool:
        """Whether an operation runs."""
        return self._worker.busy

    def start(
        self,
        operation: Operation[Any],
        on_finished: Callable[[Any], None] = lambda result: None,
        on_cancelled: Callable[[], None] = lambda: None,
        on_failed: Callable[[BaseException], None] = show_error,
        still_there: Callable[[], bool] = _always,
    ) -> None:
        """Start an operation; the callbacks come on this thread, after the call has returned.

        Args:
            operation: What to do.
            on_finished: Called with its result.
            on_cancelled: Called where the user cancelled.
            on_failed: Called with what it raised; by default the user is told.
            still_there: Whether what it is about is still in the scene; it is cancelled where that is not so.

        Raises:
            UserInputError: Another one runs.
        """

        def failed(error: BaseException) -> None:
            if isinstance(error, Cancelled):
                on_cancelled()
            else:
                on_failed(error)

        def finish(computed: Any) -> Any:
            with busy_cursor():
                return operation.finish(computed)

        self._worker.submit(replace(operation, finish=finish), on_finished, failed)
        self._still_there = still_there
        self._timer.start()
        self.tell()

    def cancel(self) -> None:
        """Ask what runs to stop; it does within one evaluation of the network."""
        if self._worker.job is not None:
            self._worker.job.cancel()
            self.tell()

    def settle(self) -> None:
        """Ask what runs to go on with the best that it has, where it can."""
        if self._worker.job is not None:
            self._worker.job.settle()
            self.tell()

    def close(self) -> None:
        """Cancel what runs, wait for it, and end the thread."""
        self._timer.close()
        self.listeners.clear()
        self._worker.close()

    def require_idle(self) -> None:
        """Raises:
        UserInputError: An operation runs.
        """
        if self.busy:
            raise UserInputError("Something is running; wait for it or cancel it")

    def _tick(self) -> None:
        if self._worker.job is not None and not self._still_there():
            self._worker.job.cancel()
        if self._worker.do_part():
            return
        if self._worker.has_computed:
            self.tell()  # before, as listeners may cancel it too
            self._hand_over()
        elif time.monotonic() - self._told > TELL_SECONDS:
            self.tell()
        else:
            self._worker.await_computed(SHARE_SECONDS)

    def _hand_over(self) -> None:
        try:
            self._worker.drain()
        except Exception as error:  # a callback's own mistake must not stop the timer
            show_error(error)
        if not self._worker.busy:
            self._timer.stop()
        self.tell()

    def tell(self) -> None:
        """Call the listeners: something changed that all panels show."""
        self._told = time.monotonic()
        for listener in list(self.listeners):
            try:
                listener(self._worker.job)
            except Exception:  # of a panel that is half gone: it must not stop the others, nor the worker
                logger.exception("A listener failed")
