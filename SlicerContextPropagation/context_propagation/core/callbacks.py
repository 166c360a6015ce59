"""How long work reports where it is, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with the stage's name and the fraction done, 0 to 1."""


CancelCheck = Callable[[], bool]
"""Returns True once the user has cancelled."""


def no_progress(stage: str, fraction: float) -> None:
    """The progress callback of callers that show none."""


def never_cancelled() -> bool:
    """The cancel check of callers that cannot cancel."""
    return False
