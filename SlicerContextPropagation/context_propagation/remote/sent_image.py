"""An image on its way to a server: announced, then channel by channel, compressed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.wire.addresses import SESSIONS
from context_propagation.core.wire.channel import kind_of, packed
from context_propagation.remote.answers import leaving
from context_propagation.remote.connection import Connection
from context_propagation.remote.lease import Lease


def send_image(
    connection: Connection,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    image: SourceVolume,
    progress: Progress,
    cancelled: CancelCheck,
) -> Lease:
    """Begin a session on a server, and send its image.

    Args:
        connection: To the server.
        model: Which model; see `messages.WantedModel`.
        settings: Of the session, as plain JSON.
        image: Voxels and where they lie; nothing else is sent.
        progress: Called with stage and fraction.
        cancelled: Asked before each piece, and ten times a second while the network takes none.

    Raises:
        UserInputError: The server is full, or refuses.
        Cancelled: The server forgets what was sent.
    """
    kinds = [kind_of(channel) for channel in image.channels]
    announced = {
        "model": dict(model),
        "settings": dict(settings),
        "shape_kji": list(image.shape_kji),
        "kinds": kinds,
        "ijk_to_lps": image.ijk_to_lps.tolist(),
    }
    begun = connection.ask("POST", SESSIONS, announced, leaving(cancelled))
    lease = Lease(connection, str(begun["session"]), float(begun["lease_s"]))
    try:
        for number, (channel, kind) in enumerate(zip(image.channels, kinds, strict=True)):
            parts = number / len(kinds), (number + 1) / len(kinds)
            pieces = _told(packed(channel, kind), parts, channel.nbytes, progress, cancelled)
            connection.upload(f"{lease.address}/channels/{number}", pieces, leaving(cancelled))
    except BaseException:
        lease.end()
        raise
    return lease


def _told(
    pieces: Iterator[bytes], parts: tuple[float, float], size: int, progress: Progress, cancelled: CancelCheck
) -> Iterator[bytes]:
    """The pieces; how many there will be is not known, but not more than uncompressed."""
    sent = 0
    for piece in pieces:
        if cancelled():
            raise Cancelled
        progress("send the image", parts[0] + (parts[1] - parts[0]) * min(1.0, sent / size))
        yield piece
        sent += len(piece)
