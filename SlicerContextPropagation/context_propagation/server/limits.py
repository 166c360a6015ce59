"""How much a server takes on."""

from __future__ import annotations

from dataclasses import dataclass


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
