"""Work in parts: a long one for any thread, and short ones for the thread that owns the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress

Result = TypeVar("Result")


Parts = Iterator[None]
"""Work on the thread that owns the scene that stops after each short part, so that the application goes on between."""


def _nothing() -> None:
    pass


def _no_reading() -> Parts:
    yield from ()


def _no_writing(computed: Any) -> Parts:
    yield from ()


@dataclass(frozen=True)
class Operation(Generic[Result]):
    """Something long that the user asked for; its inputs were read from the scene when it was made, or are by `read`.

    Making it holds nothing up: one that is never begun may be dropped.

    Attributes:
        title: What it is, for people: "Propagate".
        compute: The long part; knows no MRML, VTK or Qt, so that it may run on any thread.
        finish: Takes what `compute` gave and makes the result, on the thread that owns the scene.
        abandon: Called on that thread in place of `finish` where a part before that failed or was cancelled.
        begin: Called on that thread before `compute`; from then to `finish` or `abandon` nothing else is done with what
            the operation is about. Raises UserInputError where something else is, or was since this was made.
        settle: Asks `compute`, from any thread, to go on with the best that it has.
        settles_in: The stages of `compute`'s progress in which it can be asked; "" before the first one.
        read: After `begin`, reads from the scene what takes long to read at once.
        write: Before `finish`, writes of what `compute` gave what takes long to write at once; `abandon` takes it back.
    """

    title: str
    compute: Callable[[Progress, CancelCheck], Any]
    finish: Callable[[Any], Result]
    abandon: Callable[[], None] = _nothing
    begin: Callable[[], None] = _nothing
    settle: Callable[[], None] = _nothing
    settles_in: tuple[str, ...] = ()
    read: Callable[[], Parts] = _no_reading
    write: Callable[[Any], Parts] = _no_writing

    def run(self, progress: Progress = no_progress, cancelled: CancelCheck = never_cancelled) -> Result:
        """Run all parts here: for scripts and the console.

        Raises:
            Cancelled: `cancelled` returned true; nothing was changed.
            Exception: What a part raises.
        """
        self.begin()
        try:
            for _ in self.read():
                pass
            computed = self.compute(progress, cancelled)
            for _ in self.write(computed):
                pass
        except BaseException:
            self.abandon()
            raise
        return self.finish(computed)
