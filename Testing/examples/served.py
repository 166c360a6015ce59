"""Servers on loopback: the real uvicorn, on a thread of this process or in a process that can be killed."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ball_images import SHAPE_KJI, ball_mask, edited_mask
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.remote.remote_server import RemoteServer
from context_propagation.server.audit import AUDIT
from context_propagation.server.limits import Limits
from context_propagation.server.serving import ServeRequest, server_of


def an_image(seed: int = 0) -> SourceVolume:
    """Noise and a ball, on a grid that is flipped and of three spacings."""
    noise = np.random.default_rng(seed).normal(size=SHAPE_KJI)
    matrix = np.array([[1.0, 0, 0, 10], [0, -1.25, 0, -20], [0, 0, 1.5, 30], [0, 0, 0, 1]])
    return SourceVolume((noise + 2 * ball_mask()).astype(np.float32)[None], matrix)


EDITED = edited_mask()


@dataclass
class Lines(logging.Handler):
    """The audit's lines."""

    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def __hash__(self) -> int:
        return id(self)


@dataclass
class Served:
    """A server that runs.

    Attributes:
        port: On loopback.
        store: Its sessions.
        lines: What its audit wrote.
    """

    port: int
    store: Any
    lines: list[str]

    def line_of(self, word: str) -> str:
        """The audit's first line with a word."""
        return self.lines_of(word, 1)[0]

    def lines_of(self, word: str, count: int) -> list[str]:
        """The audit's lines with a word, once there are so many: a line is written when the answer has gone."""
        until = time.monotonic() + 5
        while len(found := [line for line in self.lines if word in line]) < count and time.monotonic() < until:
            time.sleep(0.01)
        return found

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, token: str = "", **changes: Any) -> RemoteServer:
        """Somebody who agrees to everything."""
        return RemoteServer(**{"url": self.url, "consent": lambda upload: True, "token": token, **changes})

    def asked(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and answer of one request; a body that is no bytes goes as JSON."""
        return asked(self.port, method, path, body, **headers)


def asked(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {"Content-Type": "application/json", **names})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text.splitlines()[-1]) if text.strip() else None
    finally:
        connection.close()


@contextmanager
def served(bundles: Path, *more: Any, **changes: Any) -> Iterator[Served]:
    """A server on a thread; tests ask it faster than people would."""
    usual = {"port": 0, "device": "cpu", "limits": Limits(requests_per_s=1000)}
    server = server_of(ServeRequest(bundles, **{**usual, **changes}), *more)
    handler, level = Lines(), AUDIT.level
    AUDIT.addHandler(handler)
    AUDIT.setLevel(logging.INFO)
    AUDIT.propagate = False  # of the commands of this process, these are no messages
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(port, server.config.app.inner.state.store, handler.texts)
    finally:
        server.should_exit = True
        thread.join(20)
        AUDIT.removeHandler(handler)
        AUDIT.setLevel(level)
        AUDIT.propagate = True


def announced(**changes: Any) -> dict[str, Any]:
    """A session to begin, of the image of `an_image`."""
    usual = {
        "model": {"bundle": "network"},
        "settings": asdict(SessionSettings()),
        "shape_kji": list(SHAPE_KJI),
        "kinds": ["float32"],
        "ijk_to_lps": np.eye(4).tolist(),
    }
    return {**usual, **changes}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class ServerProcess:
    """A server that can be killed, and started again on the same port."""

    def __init__(self, bundles: Path) -> None:
        self._bundles, self.port = bundles, free_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "context_propagation.cli.main", "serve", "--device", "cpu"]
        self.process = subprocess.Popen(
            [*command, "--bundles", str(self._bundles), "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "SlicerContextPropagation")},
        )

    def wait(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class CutLine:
    """A line to a server that can be cut, and that can die: then nothing comes through, and nobody is told.

    Attributes:
        dead: Whether it did.
    """

    def __init__(self, port: int) -> None:
        self._to, self._open, self.dead = port, set(), False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """All connections that there are, at once."""
        for one in list(self._open):
            with suppress(OSError):  # its other end went just now
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # the server has ended
                here.close()
                continue
            self._open |= {here, there}
            for pair in ((here, there), (there, here)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while self.dead:
                    time.sleep(0.01)
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            self._open.discard(one)
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
