"""How long work reports where it is, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, float], None]
"""Called with the stage's name and the fraction done, 0 to 1."""


CancelCheck = Callable[[], bool]
"""Returns True once the user has cancelled."""


@dataclass(frozen=True)
class Standing:
    """Where work of several stages stands.

    Attributes:
        stage: What it does.
        fraction: Of all of it that is done, 0 to 1.
        seconds_left: An estimate; None as long as nothing was done that tells.
    """

    stage: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None


def no_progress(stage: str, fraction: float) -> None:
    """The progress callback of callers that show none."""


def never_cancelled() -> bool:
    """The cancel check of callers that cannot cancel."""
    return False
