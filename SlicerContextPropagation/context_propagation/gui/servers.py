"""The servers that the user may compute on: those that they added, kept in the settings, and the one that is chosen.

None is asked for anything before it is chosen. Which one is chosen is not kept: Slicer begins with this computer.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import qt

from context_propagation.core.model.model_listing import ModelDescription
from context_propagation.remote.connection import Connection

if TYPE_CHECKING:
    from context_propagation.remote.remote_server import RemoteServer

KEY = "ContextPropagation/Servers"


@dataclass(frozen=True)
class KnownServer:
    """A server that the user added.

    Attributes:
        url: Its address.
        token: The user's; empty where it wants none. It lies in the settings as it is.
        certificate: PEM file of whoever signed its certificate; empty where the computer knows them.
    """

    url: str
    token: str = ""
    certificate: str = ""

    def check(self) -> None:
        """Look at it without asking it for anything.

        Raises:
            UserInputError: The address or the token is none.
        """
        Connection(self.url, self.token or None)

    def connected(self) -> RemoteServer:
        """The server; it is not asked for anything yet, and images are sent only where the user was asked beforehand.

        What is imported for it takes longer than the main thread may be held.

        Raises:
            UserInputError: The address or the token is none.
        """
        from context_propagation.remote.remote_server import RemoteServer

        return RemoteServer(self.url, lambda upload: False, self.token or None, self.certificate or None)


@dataclass(frozen=True)
class ChosenServer:
    """The server that is computed on.

    Attributes:
        server: Where to load models; None where it cannot be used.
        models: Those that it has.
        trouble: Why it cannot be used, or empty.
    """

    server: RemoteServer | None = None
    models: tuple[ModelDescription, ...] = ()
    trouble: str = ""


def known_servers() -> list[KnownServer]:
    """Those that the user added, in their order."""
    stored = qt.QSettings().value(KEY) or []
    return [KnownServer(**json.loads(one)) for one in ([stored] if isinstance(stored, str) else stored)]


def add_server(server: KnownServer) -> None:
    """Keep a server; one with the same address is replaced.

    Raises:
        UserInputError: The address or the token is none.
    """
    server.check()
    _store([*(one for one in known_servers() if one.url != server.url), server])


def remove_server(url: str) -> None:
    """Forget a server, and the token with it."""
    _store([one for one in known_servers() if one.url != url])


def _store(servers: list[KnownServer]) -> None:
    qt.QSettings().setValue(KEY, [json.dumps(asdict(one)) for one in servers])


_chosen: list[ChosenServer] = []


def chosen_server() -> ChosenServer | None:
    """The one that module and effect compute on; None for this computer."""
    return _chosen[0] if _chosen else None


def choose_server(server: ChosenServer | None) -> None:
    """Compute there from now on; None: on this computer."""
    _chosen[:] = [] if server is None else [server]
