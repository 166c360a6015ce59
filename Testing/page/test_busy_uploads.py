"""Files on their way take no more memory than images may have, and say how large they are."""

import http.client
from contextlib import contextmanager
from threading import Event

import pytest

pytest.importorskip("fastapi")

from context_propagation.page import api
from context_propagation.page.api import add_page
from context_propagation.page.upload import read_upload
from context_propagation.server.limits import Limits
from oblique_files import write_ball
from page_browser import zipped
from served import served


@pytest.fixture(scope="module")
def small(offered):
    with served(offered, add_page, limits=Limits(image_bytes=100_000)) as found:
        yield found


def beginning(server, length):
    """A request whose body is still to come."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("POST", "/api/page/files?bundle=network")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    connection.send(b"P")
    return connection


@pytest.fixture
def came_in(monkeypatch):
    """Set once an upload is under way."""
    of, entered = api._Coming.of, Event()

    @contextmanager
    def told(coming, request):
        with of(coming, request):
            entered.set()
            yield

    monkeypatch.setattr(api._Coming, "of", told)
    return entered


def test_a_second_upload_waits_for_its_turn_where_both_would_take_too_much(small, came_in):
    first = beginning(small, 90_000)
    assert came_in.wait(10)
    status, answer = small.asked("POST", "/api/page/files?bundle=network", bytes(20_000))
    assert (status, answer["message"]) == (503, "Others are sending large images; try again in a minute")
    first.send(bytes(89_999))
    assert first.getresponse().status == 400  # no archive; and its room is free again
    status, answer = small.asked("POST", "/api/page/files?bundle=network", bytes(20_000))
    assert (status, answer["message"]) == (400, "The files did not arrive as they were sent; choose them again")


def test_an_upload_of_unknown_or_of_too_great_length_is_refused(small):
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=20)
    connection.request("POST", "/api/page/files?bundle=network", iter([b"x"]), encode_chunked=True)
    assert connection.getresponse().status == 411
    status, answer = small.asked("POST", "/api/page/files?bundle=network", bytes(100_001))
    assert (status, answer["message"]) == (413, "The message is larger than the 0 MiB that are taken at most")


def test_an_image_that_nobody_waits_for_any_more_begins_no_session(offered, tmp_path, monkeypatch):
    with served(offered, add_page) as server:
        reading, gone = Event(), Event()

        def read(*arguments):
            reading.set()
            gone.wait(10)
            return read_upload(*arguments)

        monkeypatch.setattr(api, "read_upload", read)
        data = zipped([write_ball(tmp_path / "ball.nii.gz", "straight")])
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", "/api/page/files?bundle=network", data)
        assert reading.wait(10)
        connection.close()
        server.asked("GET", "/api/server")  # by now the server has seen that the other one left
        gone.set()
        assert " 499 " in server.line_of("/api/page/files")
        assert len(server.store) == 0
