"""How often somebody may ask."""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_KNOWN = 10_000


class Rates:
    """A bucket for each name: it holds so many requests, and fills up again with time.

    Args:
        per_s: Requests that come back each second.
        at_once: Requests that a full bucket holds.
        clock: Seconds that go on.
    """

    def __init__(self, per_s: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._at_once, self._clock = per_s, at_once, clock
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, name: str) -> bool:
        """Whether there is one left; it is taken."""
        left = self._now(name)
        if left < 1:
            return False
        self._left[name] = left - 1, self._clock()
        if len(self._left) > MOST_KNOWN:
            self._left = {known: one for known, one in self._left.items() if self._now(known) < self._at_once}
        return True

    def _now(self, name: str) -> float:
        left, at = self._left.get(name, (self._at_once, self._clock()))
        return min(self._at_once, left + self._per_s * (self._clock() - at))
