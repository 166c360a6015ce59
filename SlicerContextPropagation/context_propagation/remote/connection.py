"""Messages to a server and back: HTTP of Python's own library, so that Slicer needs no package for it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.parse
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from context_propagation.core.errors import UserInputError, reason
from context_propagation.remote.away import Away, Waiting

SILENCE_S = 30.0
"""A server that says nothing for so long is lost: while it computes it says something four times a second."""


class ServerLost(Exception):
    """The server does not answer, or went silent."""


class AskedTooOften(ServerLost):
    """It answers again in a second."""


class SessionGone(Exception):
    """The server does not have the session any more."""


class RecordsGone(Exception):
    """The server does not have what it computed of earlier edits any more."""


@dataclass(frozen=True)
class Connection:
    """How to reach a server.

    Attributes:
        url: https://name:port; http:// only for this computer.
        token: Of the one who asks; None where the server wants none.
        certificate: PEM file of whoever signed the server's certificate, where the computer does not know them.
        silence_s: After so long without a word it is lost.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    certificate: str | None = None
    silence_s: float = SILENCE_S

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise UserInputError(f"'{self.url}' is not encrypted, and images would be readable on their way; use https")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise UserInputError("The token has letters that no token has; copy it again")

    def ask(self, method: str, path: str, message: Any = None, waiting: Waiting | None = None) -> Any:
        """Send a message and wait for the answer.

        Args:
            method: Of HTTP.
            path: The address on the server.
            message: What is sent, as plain JSON.
            waiting: See `Waiting`; without it, this waits for the network itself, for `silence_s` at most.

        Raises:
            UserInputError: It was refused; the sentence is the server's.
            SessionGone, ServerLost: There is no session, or no server.
        """
        line, body = self._open(), _plain(message)

        def texts() -> Iterator[bytes]:
            with self._answer(line, method, path, body) as answer:
                yield answer.read()

        (text,) = texts() if waiting is None else Away(lambda _: texts(), lambda: _shut(line)).given(waiting)
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise UserInputError(f"'{self.url}' is another kind of server; correct the address") from error

    def upload(self, path: str, pieces: Iterable[bytes], waiting: Waiting) -> None:
        """Send what is large, piece by piece; the pieces are made on the caller's thread. Errors as `ask`."""
        line = self._open()

        def sent(away: Away) -> Iterator[None]:
            with self._answer(line, "PUT", path, away.taken(), "application/octet-stream") as answer:
                answer.read()
            yield from ()

        away = Away(sent, lambda: _shut(line))
        away.hand(pieces, waiting)
        deque(away.given(waiting), maxlen=0)

    def lines(self, path: str, message: Any, waiting: Waiting) -> Generator[dict[str, Any], None, None]:
        """Send a message, and give what the server says meanwhile, line by line; errors as `ask`."""
        line, body = self._open(), _plain(message)

        def said() -> Iterator[dict[str, Any]]:
            with self._answer(line, "POST", path, body) as answer:
                while text := answer.readline():
                    if not text.endswith(b"\n"):
                        raise ServerLost("its answer ends in the middle")
                    yield json.loads(text)

        return Away(lambda _: said(), lambda: _shut(line)).given(waiting)

    @contextmanager
    def _answer(
        self,
        line: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None,
        kind: str = "application/json",
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with _lost():
                with suppress(BrokenPipeError, ConnectionResetError):  # it may have said why it does not want all of it
                    line.request(method, _split(self.url).path.rstrip("/") + path, body, headers)
                answer = line.getresponse()
                if answer.status >= 300:  # also one that sends on to another address: a token goes to none but this
                    _refused(answer)
                yield answer
        finally:
            line.close()

    def _open(self) -> http.client.HTTPConnection:
        parts = _split(self.url)
        if parts.scheme == "http":
            return http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=self.silence_s)
        try:
            context = ssl.create_default_context(cafile=self.certificate)
        except (OSError, ssl.SSLError) as error:
            raise UserInputError(f"The certificate '{self.certificate}' cannot be used ({reason(error)})") from error
        return http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=self.silence_s, context=context)


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise UserInputError(f"'{url:.200}' is no address of a server; give one like https://gpu.example.org:8765")
    return parts


def _plain(message: Any) -> bytes | None:
    return None if message is None else json.dumps(message).encode()


def _shut(line: http.client.HTTPConnection) -> None:
    """Let another thread that waits for the network go on, with an error; the server sees that nobody waits."""
    sock = line.sock  # the other thread may set it to None at any time
    if sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not TLS's own, which is not for two threads


@contextmanager
def _lost() -> Iterator[None]:
    """What the network's errors come to."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        remedy = "give the certificate of whoever signed it, or ask who runs the server"
        raise UserInputError(f"The server's certificate is not trusted ({error.verify_message}); {remedy}") from error
    except OSError as error:
        raise ServerLost(reason(error)) from error
    except (http.client.HTTPException, json.JSONDecodeError) as error:
        raise ServerLost("its answer is damaged or ends in the middle") from error


def _refused(answer: http.client.HTTPResponse) -> None:
    """Raise what an answer says."""
    try:
        message = str(json.loads(answer.read(10_000))["message"])
    except (KeyError, TypeError, ValueError):
        message = f"The server answered {answer.status} {answer.reason}"
    if answer.getheader("Retry-After"):
        raise AskedTooOften(message)
    if answer.status in (502, 504):  # of a proxy
        raise ServerLost(message)
    if answer.status == 404 and "session" in message:
        raise SessionGone(message)
    raise UserInputError(message)
