"""Runs of one user of the shared worker: what comes next, what stopped them, and what they raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.gui.work.messages import show_error
from context_propagation.gui.work.runner import Runner
from context_propagation.mrml.session.operation import Operation


class GuardedRun:
    """Starts operations one after the other; errors are told to the user, also those of what comes next.

    Args:
        runner: The worker, which others use as well.
        on_end: Called after each operation and what came next, with why it was stopped or an empty text.

    Attributes:
        going: Whether an operation of ours runs.
    """

    def __init__(self, runner: Runner, on_end: Callable[[str], None]) -> None:
        self._runner, self._on_end = runner, on_end
        self._why_stopped = ""
        self.going = False

    def start(self, operation: Operation[Any], then: Callable[[Any], None]) -> None:
        """Run an operation.

        Args:
            operation: What to do.
            then: Called with its result.

        Raises:
            UserInputError: Another one runs.
        """

        def finished(result: Any) -> None:
            self.going = False
            try:
                then(result)
            except Exception as error:  # whatever it is, the user must see it
                show_error(error)
            self._on_end("")

        self._runner.start(operation, finished, self._cancelled, self._failed)
        self._why_stopped, self.going = "", True

    def require_idle(self) -> None:
        """Raises:
        UserInputError: An operation runs, of whomever.
        """
        self._runner.require_idle()

    def stop(self, why: str) -> None:
        """Cancel it if it runs."""
        if self.going:
            self._why_stopped = why
            self._runner.cancel()

    def _cancelled(self) -> None:
        self.going = False
        self._on_end(self._why_stopped)

    def _failed(self, error: BaseException) -> None:
        self.going = False
        if isinstance(error, ModuleNotFoundError):
            missing = f"The Python package '{error.name}' is missing; open the module Context Propagation to install it"
            error = UserInputError(missing)
        show_error(error)
        self._on_end("")
