"""A session on a server stays open as long as it is heard of: a thread says so, and says goodbye at the end."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from contextlib import suppress

from context_propagation.core.errors import UserInputError
from context_propagation.core.wire import addresses
from context_propagation.remote.connection import AskedTooOften, Connection, ServerLost, SessionGone

GOODBYES_S = (0.0, 0.5, 1.0, 2.0)
"""Pauses before each try: a server that is asked too often just now takes the next one."""


_all: weakref.WeakSet[Lease] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Say goodbye before the process ends; a server that does not answer is not waited for."""
    leases, until = list(_all), time.monotonic() + 3.0
    for lease in leases:
        lease.end()
    for lease in leases:
        lease.wait(max(0.0, until - time.monotonic()))


class Lease:
    """A session that was begun on a server.

    Args:
        connection: To the server.
        name: The session's.
        lease_s: It is closed where nothing is heard for so long.

    Attributes:
        address: Of the session.
    """

    def __init__(self, connection: Connection, name: str, lease_s: float) -> None:
        self.address = addresses.session(name)
        self._connection, self._beat_s = connection, max(0.1, lease_s / 4)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        _all.add(self)

    def end(self) -> None:
        """Close it, without waiting for that."""
        self._over.set()

    def wait(self, seconds: float) -> None:
        """For the end of what `end` began."""
        self._thread.join(seconds)

    def _keep(self) -> None:
        while not self._over.wait(self._beat_s):
            with suppress(SessionGone, ServerLost, UserInputError):  # whoever computes next finds out
                self._connection.ask("POST", f"{self.address}/alive")
        for pause in GOODBYES_S:
            time.sleep(pause)
            with suppress(AskedTooOften):
                return self._goodbye()

    def _goodbye(self) -> None:
        try:
            self._connection.ask("DELETE", self.address)
        except AskedTooOften:
            raise
        except (SessionGone, ServerLost, UserInputError):
            pass  # it is gone already, or nobody is there to be told
