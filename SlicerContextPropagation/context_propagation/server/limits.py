"""How much a server takes on."""

from __future__ import annotations

from dataclasses import dataclass

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.session_settings import SessionSettings

MOST_JOBS = 8
"""Of one session, computed or waiting."""


MOST_ITERATIONS, MOST_PATIENCE, MOST_NEIGHBOURS, MOST_BORDER = 300, 300, 50, 128
"""Of a session's settings: what one person asks for holds up all others."""


@dataclass(frozen=True)
class Limits:
    """What is refused, with a sentence, beyond it.

    Attributes:
        sessions: Open at a time.
        image_bytes: Of all images together, in main memory.
        lease_s: A session of which nothing was heard for so long is closed, with its image.
        requests_per_s: Of one person, or of one address where there are no tokens; five times as many at once.
    """

    sessions: int = 8
    image_bytes: int = 16 * 2**30
    lease_s: float = 600.0
    requests_per_s: float = 40.0


def check_settings(settings: SessionSettings) -> None:
    """Refuse settings with which one edit would take the device for hours, or its memory.

    Raises:
        UserInputError: One is beyond what the server does.
    """
    bounds = [
        ("iterations", settings.update.iteration_limit, MOST_ITERATIONS),
        ("evaluations without a better one", settings.update.patience, MOST_PATIENCE),
        ("neighbouring slices", settings.neighbours, MOST_NEIGHBOURS),
        ("voxels around the target", settings.window_border, MOST_BORDER),
    ]
    for what, asked, most in bounds:
        if asked > most:
            raise UserInputError(f"The settings ask for {asked} {what}, and this server takes {most} at most; lower it")
