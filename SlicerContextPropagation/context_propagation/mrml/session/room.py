"""Memory for one more lesion: beside all others, or with the least recently used of them closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.live_session import LiveSession

if TYPE_CHECKING:
    from context_propagation.core.session.forecast import MemoryForecast


@dataclass(frozen=True)
class Room:
    """What is free for a new cache where some sessions are closed.

    Attributes:
        closes: The segments whose sessions are closed, beside the one that begins anew.
        freed_bytes: What all that is closed gives back.
        held: Network boxes that those which stay hold, so that they are not encoded again.
    """

    closes: tuple[Selection, ...] = ()
    freed_bytes: int = 0
    held: frozenset[Box] = frozenset()


def rooms_beside(replaced: LiveSession | None, others: Sequence[LiveSession]) -> list[Room]:
    """With all others kept, then with one more closed each time, at last with all of them.

    Args:
        replaced: The session that begins anew, and is closed in any case.
        others: The sessions of other segments, the least recently used first.
    """
    rooms = []
    for count in range(len(others) + 1):
        held = frozenset(box for live in others[count:] for box in live.session.window_boxes)
        closed = [*others[:count], *([replaced] if replaced else [])]
        rooms.append(Room(tuple(live.selection for live in others[:count]), _freed_bytes(closed, held), held))
    return rooms


def first_that_fits(rooms: Sequence[Room], forecast: Callable[[Room], MemoryForecast]) -> tuple[Room, MemoryForecast]:
    """As few sessions closed as possible, so that as much is cached as with all of them closed.

    Args:
        rooms: See `rooms_beside`.
        forecast: What is cached in one of them.

    Raises:
        UserInputError: It does not fit in any.
    """
    alone = forecast(rooms[-1])
    for room in rooms[:-1]:
        with suppress(UserInputError):
            beside = forecast(room)
            if beside.messages == alone.messages:
                return room, beside
    return rooms[-1], alone


def _freed_bytes(closed: Iterable[LiveSession], held: frozenset[Box]) -> int:
    """What sessions give back; windows that several hold count once, those that others hold not at all."""
    counted, freed = set(held), 0
    for session in (live.session for live in closed):
        freed += session.cached_bytes(counted)
        counted.update(session.window_boxes)
    return freed
