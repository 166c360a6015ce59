"""Where a session is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from context_propagation.remote.connection import Connection
from context_propagation.remote.consent import Consents


@dataclass(frozen=True)
class Place:
    """A model on a server, and what may be sent there.

    Attributes:
        connection: To the server.
        consents: Which images may go there.
        wanted: The model, as the server's interface names it.
    """

    connection: Connection
    consents: Consents
    wanted: Mapping[str, Any]
