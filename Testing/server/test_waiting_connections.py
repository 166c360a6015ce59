"""Connections that send nothing, or half a request, are closed, and nobody waits for them."""

import contextlib
import socket
import time

import pytest

pytest.importorskip("uvicorn")

from fastapi import Response

from context_propagation.server import waiting_connections
from served import served

HALF = b"GET /api/server HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


LARGE = bytes(20_000_000)


def add_answers(app, desk):
    @app.get("/api/large")
    async def large() -> Response:
        return Response(LARGE)

    @app.get("/api/held")
    async def held() -> None:
        time.sleep(0.3)  # on the loop: nothing else is answered


@pytest.fixture(scope="module")
def patience(bundles):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting_connections, "REQUEST_S", 1.0)
        with served(bundles, add_answers) as server:
            yield server


@contextlib.contextmanager
def lines(server, count, sent=b""):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(count)]
        for line in found:
            with contextlib.suppress(OSError):  # closed already
                line.sendall(sent)
        yield found


def is_closed(line):
    line.settimeout(0.01)
    try:
        return line.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.quick(sent=HALF)
@pytest.mark.parametrize("sent", [b"", HALF], ids=["nothing", "half a head"])
def test_two_hundred_connections_without_a_request_are_closed_and_another_is_answered_meanwhile(patience, sent):
    with lines(patience, 200, sent) as silent:
        assert patience.asked("GET", "/api/server")[0] == 200
        open_ones = [line for line in silent if not is_closed(line)]
        assert len(open_ones) <= 32
        time.sleep(1.2)
        assert all(is_closed(line) for line in open_ones)


def test_all_who_ask_at_once_through_one_address_are_answered(patience):
    """As behind a proxy, after a moment in which the server was busy."""
    with lines(patience, 1, b"GET /api/held HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
        time.sleep(0.1)
        with lines(patience, 60, HALF + b"no\r\n\r\n") as asking:
            for line in asking:
                line.settimeout(10)
                assert line.recv(65536).startswith(b"HTTP/1.1 200")


def test_one_that_sends_a_letter_now_and_then_gets_no_more_time(patience):
    with lines(patience, 1, HALF) as (line,):
        began = time.monotonic()
        while not is_closed(line) and time.monotonic() - began < 5:
            with contextlib.suppress(OSError):
                line.sendall(b"x")
            time.sleep(0.1)
        assert time.monotonic() - began < 2


def test_one_that_is_kept_open_may_ask_again_and_is_closed_after_a_while(patience):
    with lines(patience, 1) as (line,):
        for _ in range(2):
            line.sendall(HALF + b"no\r\n\r\n")
            time.sleep(0.6)  # less than it may wait, both times together more
            assert line.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(1)
        assert is_closed(line)


@pytest.mark.long
def test_an_answer_that_takes_longer_than_a_request_may_comes_whole(patience):
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)  # as a slow line: little is on its way
        line.connect(("127.0.0.1", patience.port))
        line.sendall(b"GET /api/large HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n")
        began, received = time.monotonic(), 0
        while received < len(LARGE) and (piece := line.recv(2**16)):
            received += len(piece)
            time.sleep(0.008)

    assert received >= len(LARGE)
    assert time.monotonic() - began > 1.5
