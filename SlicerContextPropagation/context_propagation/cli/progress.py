"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from context_propagation.core.callbacks import Progress
from context_propagation.core.optional_dependency import require

STEPS = 1000


Bars = Callable[[], AbstractContextManager[Progress]]
"""Makes what shows progress, and is gone when its block is left."""


class ProgressBars:
    """One bar at a time: a call with a new stage finishes the bar of the stage before."""

    def __init__(self) -> None:
        self._tqdm = require("tqdm", extra="cli").tqdm
        self._bar = None
        self._stage = ""

    def __call__(self, stage: str, fraction: float) -> None:
        """Show that `fraction` (0 to 1) of a stage is done."""
        if stage != self._stage or self._bar is None:
            self.close()
            # disable=None: no bar where stderr is a file or a pipe
            self._bar = self._tqdm(total=STEPS, desc=stage, disable=None, leave=False, bar_format="{l_bar}{bar}")
            self._stage = stage
        self._bar.update(round(min(max(fraction, 0.0), 1.0) * STEPS) - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def progress_bars() -> Iterator[ProgressBars]:
    """Progress bars that are gone when the block is left."""
    bars = ProgressBars()
    try:
        yield bars
    finally:
        bars.close()
