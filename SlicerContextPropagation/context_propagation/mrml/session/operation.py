"""Work in two parts: a long one for any thread, and a short one for the thread that owns the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress

Result = TypeVar("Result")


@dataclass(frozen=True)
class Operation(Generic[Result]):
    """Something long that the user asked for; its inputs were read from the scene when it was made.

    Attributes:
        title: What it is, for people: "Propagate".
        compute: The long part; knows no MRML, VTK or Qt, so that it may run on any thread.
        finish: Takes what `compute` gave and makes the result, on the thread that owns the scene.
        abandon: Called on that thread in place of `finish` where `compute` failed or was cancelled.
    """

    title: str
    compute: Callable[[Progress, CancelCheck], Any]
    finish: Callable[[Any], Result]
    abandon: Callable[[], None] = lambda: None

    def run(self, progress: Progress = no_progress, cancelled: CancelCheck = never_cancelled) -> Result:
        """Run both parts here: for scripts and the console.

        Raises:
            Cancelled: `cancelled` returned true; nothing was changed.
            Exception: What either part raises.
        """
        try:
            computed = self.compute(progress, cancelled)
        except BaseException:
            self.abandon()
            raise
        return self.finish(computed)
