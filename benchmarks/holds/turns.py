"""Qt's loop turned by hand, with the time that each turn holds the main thread."""

from __future__ import annotations

import ctypes
import faulthandler
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from PySide6 import QtCore, QtWidgets

from stand_in_slots import raise_failures

PAUSE_SECONDS = 0.002
"""Between two turns, in which other threads run, as they do while Qt waits for events."""
LIMIT_MS = 100
ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40  # PySide6 gives back a reference to None with each turn


@dataclass
class Step:
    """What one action of the user led to, until nothing happened any more.

    Attributes:
        name: The action.
        holds_ms: How long the action itself, and each turn of Qt's loop afterwards, held the main thread.
        own_ms: The processor time of the main thread in each: less where it waited, for Python's lock or a processor.
        alone_ms: How long each would have held it at most with no other program at work: no longer than all threads of
            this process worked meanwhile.
        seconds: From the action to the end.
    """

    name: str
    holds_ms: list[float] = field(default_factory=list)
    own_ms: list[float] = field(default_factory=list)
    alone_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def longest_ms(self) -> float:
        """The longest that the main thread was held at once."""
        return max(self.holds_ms)

    @property
    def longest_own_ms(self) -> float:
        """The longest that it worked at once."""
        return max(self.own_ms)

    @property
    def longest_alone_ms(self) -> float:
        """The longest that it would have been held at most, with no other program at work."""
        return max(self.alone_ms)

    @property
    def too_long(self) -> int:
        """How often it was held for longer than `LIMIT_MS`."""
        return sum(ms > LIMIT_MS for ms in self.holds_ms)


class Turns:
    """Carries out steps, and lets Qt work after each.

    Args:
        stacks_ms: Print what every thread does whenever the main one is held for longer; None prints nothing.
    """

    def __init__(self, stacks_ms: float | None = None) -> None:
        self._stacks_ms = stacks_ms
        self.steps: list[Step] = []

    def step(
        self, name: str, act: Callable[[], object], until: Callable[[], bool], settle_seconds: float = 0.1
    ) -> None:
        """Time an action, and each turn of Qt's loop until it is over.

        Args:
            name: What the action is.
            act: Does it.
            until: Whether it is over.
            settle_seconds: How long Qt works on after that.
        """
        step = Step(name)
        begun = time.perf_counter()
        self._hold(step, act)
        while not until():
            self._turn(step)
        end = time.perf_counter() + settle_seconds
        while time.perf_counter() < end:
            self._turn(step)
        step.seconds = time.perf_counter() - begun - settle_seconds
        self.steps.append(step)
        longest = f"{step.longest_ms:.0f} ms at most, {step.longest_alone_ms:.0f} alone, {step.longest_own_ms:.0f} work"
        print(f"{name}: {longest}; {step.seconds:.1f} s", file=sys.stderr, flush=True)

    def _turn(self, step: Step) -> None:
        time.sleep(PAUSE_SECONDS)
        self._hold(step, _process_events)

    def _hold(self, step: Step, act: Callable[[], object]) -> None:
        if self._stacks_ms is not None:
            faulthandler.dump_traceback_later(self._stacks_ms / 1000)
        before = _clocks()
        act()
        held, own, together = (now - then for now, then in zip(_clocks(), before, strict=True))
        step.holds_ms.append(held)
        step.own_ms.append(own)
        step.alone_ms.append(min(held, together))
        faulthandler.cancel_dump_traceback_later()
        raise_failures()


def median_steps(runs: list[list[Step]]) -> list[dict[str, object]]:
    """A row for each step: the medians of some runs."""
    rows = []
    for steps in zip(*runs, strict=True):
        rows.append(
            {
                "step": steps[0].name,
                "longest hold, ms": round(statistics.median(step.longest_ms for step in steps)),
                "alone, ms": round(statistics.median(step.longest_alone_ms for step in steps)),
                "longest work, ms": round(statistics.median(step.longest_own_ms for step in steps)),
                f"holds over {LIMIT_MS} ms": round(statistics.median(step.too_long for step in steps)),
                "all, s": round(statistics.median(step.seconds for step in steps), 2),
            }
        )
    return rows


def _clocks() -> tuple[float, float, float]:
    """Milliseconds: of the day, of the main thread's work, and of all threads' work."""
    return 1e3 * time.perf_counter(), 1e3 * time.thread_time(), 1e3 * time.process_time()


def _process_events() -> None:
    QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    QtWidgets.QApplication.processEvents()
