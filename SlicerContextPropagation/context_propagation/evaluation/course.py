"""Where a run of several stages stands, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from context_propagation.core.callbacks import Progress, Standing

Told = Callable[[Standing], None]
"""Called whenever it stands elsewhere."""


LEAST_SHARE = 0.01
"""Of all the work, done by this run, before the time left is estimated."""


def tell_no_one(standing: Standing) -> None:
    """Of callers that show no progress."""


class Course:
    """Stages one after the other, each with its share of the work.

    The time left is what the rest takes at the pace of this run: what an earlier run left done counts as done, not as
    work of this one.

    Args:
        work: Of each stage, in any unit, all in the same.
        told: Hears of it.
        now: The clock, in seconds.
    """

    def __init__(self, work: Sequence[float], told: Told, now: Callable[[], float] = time.monotonic) -> None:
        total = sum(work)
        self._shares = [one / total for one in work]
        self._told, self._now, self._begun = told, now, now()
        self._stage = -1
        self._found_done = self._most = 0.0

    def stage(self) -> Progress:
        """Begin the next one; its progress, whose first call says what was done before."""
        self._stage += 1
        before, share = sum(self._shares[: self._stage]), self._shares[self._stage]
        first = True

        def progress(stage: str, fraction: float) -> None:
            nonlocal first
            if first:
                self._found_done += fraction * share
                first = False
            self._most = max(self._most, min(1.0, before + fraction * share))
            self._told(Standing(stage, self._most, self._seconds_left()))

        return progress

    def _seconds_left(self) -> float | None:
        worked = self._most - self._found_done
        return None if worked < LEAST_SHARE else (self._now() - self._begun) * (1 - self._most) / worked
