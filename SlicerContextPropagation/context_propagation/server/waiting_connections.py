"""Connections that send no request are closed, so that they take nobody's place."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 10.0
"""So long a connection may be without the whole head of a request: at first, and again after each answer."""


MOST_WAITING = 32
"""Connections of one address without a request; the oldest is closed for a further one."""


class WaitingProtocol(H11Protocol):
    """uvicorn's own, which waits for ever for a request that does not come, or comes by half."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()
        self.loop.call_soon(self.loop.call_soon, self._make_room)  # a request that is here already is read first

    def _make_room(self) -> None:
        waiting = [one for one in self._others() if one._timer is not None and one._address == self._address]
        if len(waiting) > MOST_WAITING:
            min(waiting, key=WaitingProtocol._ends_at)._end()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Begin to wait, or stop: more bytes of a head that is not complete give no more time."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(REQUEST_S, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _end(self) -> None:
        self._stop()
        self.transport.abort()

    def _others(self) -> list[WaitingProtocol]:
        return [one for one in self.connections if isinstance(one, WaitingProtocol)]

    def _ends_at(self) -> float:
        return 0.0 if self._timer is None else self._timer.when()

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""
