"""Files on their way take no more memory than images may have, and say how large they are."""

import http.client

import pytest

pytest.importorskip("fastapi")

from context_propagation.page.api import add_page
from context_propagation.server.limits import Limits
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


def test_a_second_upload_waits_for_its_turn_where_both_would_take_too_much(small):
    first = beginning(small, 90_000)
    status, answer = 0, {}
    for _ in range(100):  # until the first one's request is under way
        status, answer = small.asked("POST", "/api/page/files?bundle=network", bytes(20_000))
        if status == 503:
            break
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
