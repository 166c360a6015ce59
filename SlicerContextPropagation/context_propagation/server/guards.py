"""What stands before the application: who asks, how often, how much is sent; and a line in the log for each request."""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

from context_propagation.core.wire.addresses import MOST_MESSAGE_BYTES
from context_propagation.server.access import Access
from context_propagation.server.audit import AUDIT
from context_propagation.server.limits import Limits
from context_propagation.server.rates import Rates
from context_propagation.server.refusals import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SILENCE_S = 60.0
"""A request that sends nothing for so long, though there is more to come, is given up."""


PIECE_BYTES = 2**16
"""Of an answer, handed over at a time."""


WRONG_PER_S, WRONG_AT_ONCE = 0.2, 10
"""Requests without a right token, of one address; whoever has a right one never waits for them."""


CHANNEL = re.compile(r"/api/sessions/[^/]+/channels/[0-9]+|/api/page/files")
PAGE = re.compile(r"/|/page/[^/]+|/favicon.ico")
SESSION = re.compile(r"(?<=/api/sessions/)[^/]+")


class Guard:
    """An ASGI application before another one.

    Args:
        inner: The other one.
        access: Who may ask.
        limits: How often, and how much.
    """

    def __init__(self, inner: Application, access: Access, limits: Limits) -> None:
        self.inner, self._access, self._limits = inner, access, limits
        self._rates = Rates(limits.requests_per_s, 5 * limits.requests_per_s)
        self._wrong = Rates(WRONG_PER_S, WRONG_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, passage = time.monotonic(), _Passage(receive, send)
        scope["owner"] = ""
        try:
            self._admit(scope, passage)
            await self.inner(scope, passage.receive, passage.send)
        except Refusal as refusal:
            passage.refused = refusal
        except ClientDisconnect:
            pass  # nobody waits for an answer
        except Exception as error:  # its message might hold what is the patient's
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            AUDIT.error("%s in an answer:\n%s", type(error).__name__, where)
        finally:
            await passage.refuse()
            _log(scope, passage, time.monotonic() - began)

    def _admit(self, scope: Scope, passage: _Passage) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        address = (scope.get("client") or ("unknown", 0))[0]
        try:
            if scope["method"] == "GET" and PAGE.fullmatch(scope["path"]):
                self._access.check_place(headers)  # what asks for the token
            else:
                scope["owner"] = self._access.owner(headers)
        except Refusal as refusal:
            if self._wrong.allows(address):
                raise
            raise Refusal(429, "Too many requests without a right token; wait a minute") from refusal
        if not self._rates.allows(scope["owner"] or address):
            raise Refusal(429, "Too many requests at a time; wait a second", soon=True)
        if headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "Send messages as they are; masks and voxels in them are compressed already")
        passage.most = self._limits.image_bytes if CHANNEL.fullmatch(scope["path"]) else MOST_MESSAGE_BYTES
        if int(headers.get("content-length") or 0) > passage.most:
            raise passage.too_much()


class _Passage:
    """One request on its way in, and the answer on its way out.

    Attributes:
        most: Bytes that may come.
        received: Bytes that came.
        status: That was answered; 499 where nobody waited for an answer.
        refused: Why, where it was while the message came in; whatever the application answers then is not sent.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.most, self.received, self.status, self._complete = 0, 0, 499, False
        self.refused: Refusal | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        if self._complete:  # from now on it waits for the client to leave
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), SILENCE_S)
        except asyncio.TimeoutError:
            self.refused = Refusal(408, "Nothing came for a minute, though there was more to come; send it again")
            return {"type": "http.disconnect"}
        self.received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self.received > self.most:
            self.refused = self.too_much()
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self.refused is not None:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        for piece in _pieces(message):
            await self._send(piece)

    def too_much(self) -> Refusal:
        return Refusal(413, f"The message is larger than the {self.most / 2**20:.0f} MiB that are taken at most")

    async def refuse(self) -> None:
        """Say why, where an answer has not begun."""
        refusal = self.refused
        if refusal is None or self.status != 499:
            return
        self.status, body = refusal.status, json.dumps({"message": refusal.message}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"connection", b"close")]  # what is still to come is not read
        headers += [(b"retry-after", b"1")] if refusal.soon else []
        headers += [(b"www-authenticate", b"Bearer")] if refusal.status == 401 else []
        await self._send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _pieces(message: MutableMapping[str, Any]) -> Iterator[MutableMapping[str, Any]]:
    """A long body piece by piece, as the line takes it: an answer counts as sent once its end is handed over."""
    body = message.get("body", b"")
    if len(body) <= PIECE_BYTES:
        yield message
        return
    for start in range(0, len(body), PIECE_BYTES):
        end = start + PIECE_BYTES
        more = end < len(body) or message.get("more_body", False)
        yield {**message, "body": body[start:end], "more_body": more}


def _log(scope: Scope, passage: _Passage, seconds: float) -> None:
    """Who asked what, when, with what outcome: no image, no drawing, nothing of the patient; of a session's name, which
    opens it, the first letters.
    """
    path = SESSION.sub(lambda found: found.group()[:6], scope["path"])
    shown = path.encode("unicode_escape").decode("ascii")[:100]
    address = (scope.get("client") or ("unknown", 0))[0]
    AUDIT.info(
        "%s %s %s %s %d %d bytes %.3f s",
        address, scope["owner"] or "-", scope["method"], shown, passage.status, passage.received, seconds,
    )  # fmt: skip
