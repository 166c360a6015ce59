"""What is too large, too much, of another form or of somebody else is refused in one sentence; the server goes on."""

import base64
import socket
import time
import zlib
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("starlette")

from ball_images import SHAPE_KJI, ball_mask
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.server import guards
from context_propagation.server.limits import Limits
from context_propagation.server.worker import Job
from served import an_image, announced, asked, served

VOXELS = int(np.prod(SHAPE_KJI))
RAW = np.zeros(VOXELS, "<f4").tobytes()
MASK = BoxedMask.of(ball_mask()).plain()
EMPTY = BoxedMask.of(np.zeros(SHAPE_KJI, bool)).plain()
EDIT = {"axis": 0, "index": 12, "mask": BoxedMask.of(ball_mask()[12][None]).plain()}
PREVIEW = {"name": "0" * 32, "edits": [EDIT], "records": [], "segmentation": MASK, "protected": EMPTY}


@contextmanager
def a_session(server):
    status, answer = server.asked("POST", "/api/sessions", announced())
    assert status == 201
    path = f"/api/sessions/{answer['session']}"
    yield path
    server.asked("DELETE", path)


@pytest.fixture
def begun(server):
    """The address of a session whose image is still to come."""
    with a_session(server) as path:
        yield path


@pytest.fixture(scope="module")
def started(server):
    """The address of one whose image is cached."""
    with a_session(server) as path:
        yield _started(server, path)


def _started(server, begun):
    voxels = zlib.compress(an_image().channels[0].tobytes(), 1)
    assert server.asked("PUT", begun + "/channels/0", voxels)[0] == 204
    assert "result" in server.asked("POST", begun + "/start", {"initial": MASK})[1]
    return begun


def sentence(answer):
    message = answer["message"]
    assert isinstance(message, str)
    assert 10 < len(message) < 500
    assert "\n" not in message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (zlib.compress(RAW + b"\0" * 10**8), "more than 53760 bytes"),  # a bomb: 100 kB that would be 100 MB
        (zlib.compress(RAW[:-4]), "53756 of 53760 bytes"),
        (zlib.compress(RAW) + b"more", "more than 53760 bytes"),
        (zlib.compress(RAW)[:-3], "send it again"),
        (RAW[:1000], "is damaged"),
        (b"", "0 of 53760 bytes"),
        (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "is damaged"),  # a pickle is bytes like any others
    ],
    ids=["bomb", "short", "long", "cut", "raw", "empty", "pickle"],
)
def test_a_channel_that_is_not_what_was_announced_is_refused(server, begun, sent, said):
    status, answer = server.asked("PUT", begun + "/channels/0", sent)

    assert status == 400
    assert said in sentence(answer)


def test_a_channel_that_nobody_announced_and_one_that_is_late_are_refused(server, started):
    assert "was not announced" in sentence(server.asked("PUT", started + "/channels/7", b"x")[1])
    assert "is there already" in sentence(server.asked("PUT", started + "/channels/0", b"x")[1])


def test_voxels_that_are_no_numbers_are_refused(server, begun):
    voxels = np.full(VOXELS, np.nan, "<f4").tobytes()
    assert server.asked("PUT", begun + "/channels/0", zlib.compress(voxels))[0] == 204
    _, answer = server.asked("POST", begun + "/start", {})
    assert "NaN or infinite" in sentence(answer["error"])


def test_an_image_that_is_missing_is_asked_for(server, begun):
    _, answer = server.asked("POST", begun + "/start", {})
    assert "Channel 0 of the image is missing" in sentence(answer["error"])
    _, answer = server.asked("POST", begun + "/preview", PREVIEW)
    assert "No image is cached" in sentence(answer["error"])


@pytest.mark.parametrize(
    "changes",
    [
        {"shape_kji": [10**6, 10**6, 10**6]},
        {"shape_kji": [20, 24]},
        {"shape_kji": [1, 24, 28]},
        {"kinds": ["object"]},
        {"kinds": ["float32"] * 17},
        {"ijk_to_lps": [[0.0] * 4] * 4},
        {"ijk_to_lps": [["NaN"] * 4] * 4},
        {"settings": {}},
        {"settings": {"level": "__import__('os')"}},
        {"more": 1},
        {"model": {"bundle": "x" * 1000}},
        {"model": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_session_of_another_form_is_refused(server, changes):
    before = len(server.store)
    status, answer = server.asked("POST", "/api/sessions", announced(**changes))

    assert status in (400, 422)
    sentence(answer)
    assert len(server.store) == before


def test_an_image_that_is_too_large_and_a_server_that_is_full_are_said(bundles):
    one = 20 * 24 * 28 * 8
    with served(bundles, limits=Limits(sessions=2, image_bytes=3 * one)) as server:
        status, answer = server.asked("POST", "/api/sessions", announced(kinds=["float32"] * 4))
        assert (status, "takes 0 MiB at most; crop it" in sentence(answer)) == (413, True)
        first = [server.asked("POST", "/api/sessions", announced())[1]["session"] for _ in range(2)]
        status, answer = server.asked("POST", "/api/sessions", announced())
        assert status == 503
        assert "2 sessions of 2 are open; try again when somebody is done" in sentence(answer)
        assert [server.asked("POST", f"/api/sessions/{name}/alive")[0] for name in first] == [200, 200]
        server.asked("DELETE", f"/api/sessions/{first[0]}")
        status, answer = server.asked("POST", "/api/sessions", announced(kinds=["float32"] * 3))
        assert (status, "MiB are free" in sentence(answer)) == (503, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/sessions/nobody/alive", 404),
        ("/api/sessions/" + "x" * 500 + "/alive", 422),
        ("/api/sessions/..%2f..%2fetc/alive", 404),
        ("/api/elsewhere", 404),
        ("/docs", 404),
    ],
)
def test_what_is_not_there_is_not_there(server, path, status):
    answer = server.asked("POST", path)
    assert answer[0] == status
    sentence(answer[1])


@pytest.mark.parametrize("name", ["../offered/network", "/etc", "notes", "", "network/..", "network\0"])
def test_no_folder_but_the_server_s_models_can_be_named(server, name):
    status, answer = server.asked("POST", "/api/models", {"bundle": name})
    said = sentence(answer if status == 422 else answer["error"])
    assert status == 422 or "The server has no model" in said
    assert "offered" not in said.replace(name, "")


@pytest.mark.parametrize(
    "changes",
    [
        {"segmentation": {**MASK, "bits": base64.b64encode(zlib.compress(b"\0" * 10**7)).decode()}},
        {"segmentation": {**MASK, "bits": "no base 64"}},
        {"segmentation": {**MASK, "box": [[0, 99], [0, 99], [0, 99]]}},
        {"segmentation": {**MASK, "shape": [9, 9, 9]}},
        {"edits": [{**EDIT, "index": 99}]},
        {"edits": [{**EDIT, "axis": 1}]},
        {"edits": [EDIT, EDIT]},
        {"records": [{"edits": [EDIT], "drawn_at": []}]},
        {"records": [{}]},
        {"spared": {**EMPTY, "box": [[3, 1], [0, 0], [0, 0]]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_masks_and_edits_that_are_damaged_are_refused_and_the_session_goes_on(server, started, changes):
    status, answer = server.asked("POST", started + "/preview", {**PREVIEW, **changes})
    sentence(answer if status == 422 else answer["error"])
    assert status in (200, 422)
    assert "result" in server.asked("POST", started + "/uncertainty", {"records": [], "axis": 0})[1]


@pytest.mark.parametrize(
    "changes", [{"name": "../../x"}, {"edits": []}, {"records": [{"key": "k" * 100}]}, {"axis": 0}, {"edits": [7]}]
)
def test_a_message_of_another_form_is_refused_in_one_sentence(server, started, changes):
    status, answer = server.asked("POST", started + "/preview", {**PREVIEW, **changes})
    assert status == 422
    assert sentence(answer).startswith("The message cannot be used: body")


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{", b"\xff\xfe", b"", b"null", b'{"a": 1e999}'])
def test_what_is_no_message_is_refused(server, body):
    status, answer = server.asked("POST", "/api/sessions", body)
    assert status in (400, 422)
    sentence(answer)


def test_edits_that_the_server_never_saw_are_asked_for(server, started):
    _, answer = server.asked("POST", started + "/preview", {**PREVIEW, "records": [{"key": "0" * 32 + ".0"}]})
    assert answer["error"]["kind"] == "records"


def test_a_message_that_is_announced_too_large_is_not_read(server):
    status, answer = server.asked("POST", "/api/sessions", b"", Content_Length=str(10**9))
    assert (status, "larger than the 64 MiB" in sentence(answer)) == (413, True)


def test_a_message_that_becomes_too_large_is_not_read_on(server, monkeypatch):
    monkeypatch.setattr(guards, "MOST_MESSAGE_BYTES", 1000)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        head = "POST /api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        line.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + b"7d0\r\n" + b"[" * 2000 + b"\r\n")
        assert line.recv(4096).startswith(b"HTTP/1.1 413")


def test_one_who_sends_no_more_is_given_up(server, monkeypatch):
    monkeypatch.setattr(guards, "SILENCE_S", 0.2)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"POST /api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n")
        assert line.recv(4096).startswith(b"HTTP/1.1 408")


def test_compressed_messages_are_refused_as_nobody_knows_how_large_they_are(server):
    status, answer = server.asked("POST", "/api/sessions", b"x", Content_Encoding="gzip")
    assert (status, "as they are" in sentence(answer)) == (415, True)


def test_one_who_asks_too_often_waits(bundles):
    with served(bundles, limits=Limits(requests_per_s=2)) as server:
        statuses = [server.asked("GET", "/api/server")[0] for _ in range(15)]
        assert statuses[:10] == [200] * 10
        assert 429 in statuses[10:]
        time.sleep(0.8)
        assert server.asked("GET", "/api/server")[0] == 200


TOKENS = {"ann": "a" * 32, "ben": "b" * 32}


@pytest.fixture(scope="module")
def guarded(bundles, tmp_path_factory):
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text("# people\n" + "".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    file.chmod(0o600)
    with served(bundles, token_file=file) as server:
        yield server


def bearer(name):
    return {"Authorization": f"Bearer {TOKENS[name]}"}


def test_without_the_right_token_nothing_is_told(guarded):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKENS['ann']}"}):
        status, answer = guarded.asked("GET", "/api/server", **headers)
        assert (status, "ask the one who runs the server" in sentence(answer)) == (401, True)
    assert guarded.asked("GET", "/api/server", **bearer("ann"))[0] == 200


def test_nobody_reaches_the_session_of_another(guarded):
    _, answer = guarded.asked("POST", "/api/sessions", announced(), **bearer("ann"))
    path = f"/api/sessions/{answer['session']}"
    for method, rest in (("POST", "/alive"), ("POST", "/cancel"), ("DELETE", ""), ("PUT", "/channels/0")):
        assert guarded.asked(method, path + rest, b"", **bearer("ben"))[0] == 404
    assert guarded.asked("POST", path + "/alive", **bearer("ann"))[0] == 200


def test_a_token_cannot_be_guessed_at_speed(bundles, tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"ann {TOKENS['ann']}\n")
    file.chmod(0o600)
    with served(bundles, token_file=file) as server:
        statuses = [server.asked("GET", "/api/server", Authorization=f"Bearer {n:032}")[0] for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2


def test_a_page_of_another_site_may_not_ask(server):
    status, answer = server.asked("GET", "/api/server", Origin="https://elsewhere.example")
    assert (status, "another site" in sentence(answer)) == (403, True)
    own = server.asked("GET", "/api/server", Origin=server.url)
    assert own[0] == 200


def test_a_name_that_leads_to_this_computer_is_not_its_name(server):
    status, answer = server.asked("GET", "/api/server", Host="elsewhere.example")
    assert (status, "is not called 'elsewhere.example'" in sentence(answer)) == (421, True)


def test_the_log_has_a_line_for_each_request_and_nothing_that_opens_a_session(guarded):
    _, answer = guarded.asked("POST", "/api/sessions", announced(), **bearer("ann"))
    guarded.asked("POST", f"/api/sessions/{answer['session']}/alive", **bearer("ann"))

    alive = guarded.line_of(answer["session"][:6])
    assert alive.startswith(f"127.0.0.1 ann POST /api/sessions/{answer['session'][:6]}/alive 200 0 bytes")
    assert guarded.line_of("201").startswith("127.0.0.1 ann POST /api/sessions 201 ")
    everything = "\n".join(guarded.lines)
    assert answer["session"] not in everything
    assert not [token for token in TOKENS.values() if token in everything]


def test_a_line_break_in_an_address_makes_no_line_of_its_own(server):
    asked(server.port, "GET", "/api/x%0a127.0.0.1%20ann%20forged")
    assert server.line_of("forged").startswith("127.0.0.1 - GET /api/x\\n127.0.0.1")


def test_one_who_has_the_right_token_is_not_refused_for_what_others_at_the_address_sent(bundles, tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"ann {TOKENS['ann']}\n")
    file.chmod(0o600)
    with served(bundles, token_file=file) as server:
        statuses = [server.asked("GET", "/api/server", Authorization="Bearer wrong")[0] for _ in range(15)]
        assert statuses[-1] == 429
        assert server.asked("GET", "/api/server", **bearer("ann"))[0] == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"update": {"iterations": 301}}, "The settings ask for 301 iterations, and this server takes 300 at most"),
        ({"update": {"patience": 10**9}}, "ask for 1000000000 evaluations without a better one"),
        ({"neighbours": 51}, "ask for 51 neighbouring slices, and this server takes 50 at most"),
        ({"window_border": 129}, "ask for 129 voxels around the target, and this server takes 128 at most"),
    ],
    ids=["iterations", "patience", "neighbours", "window_border"],
)
def test_settings_that_would_hold_up_all_others_are_refused_before_the_image_is_sent(server, changes, said):
    usual = announced()["settings"]
    changed = {**changes, "update": {**usual["update"], **changes.get("update", {})}}
    status, answer = server.asked("POST", "/api/sessions", announced(settings={**usual, **changed}))
    assert (status, said in sentence(answer)) == (400, True)


def test_more_confirmed_slices_than_an_image_has_are_refused(server, started):
    record = {"edits": [EDIT] * 1000, "drawn_at": [0] * 1000}
    status, answer = server.asked("POST", started + "/uncertainty", {"records": [record] * 6, "axis": 0})
    assert (status, "6000 confirmed slices, and 5000 are taken at most" in sentence(answer)) == (422, True)


def test_a_session_that_asks_for_more_and_more_does_not_make_others_wait(server, started):
    (held,) = [held for held in server.store._held.values() if started.endswith(held.name)]
    held.jobs += [Job(lambda job: None) for _ in range(8)]
    status, answer = server.asked("POST", started + "/uncertainty", {"records": [], "axis": 0})
    held.jobs.clear()
    assert (status, "waits for 8 computations already" in sentence(answer)) == (429, True)


def test_a_model_that_is_not_there_is_said_before_the_image_is_sent(server):
    before = len(server.store)
    for name in ("elsewhere", "../offered/network"):
        status, answer = server.asked("POST", "/api/sessions", announced(model={"bundle": name}))
        known = "choose one of 'bundle', 'network'"
        assert (status, sentence(answer)) == (400, f"The server has no model '{name}'; {known}")
    assert len(server.store) == before


def test_an_image_for_which_the_computer_has_no_memory_is_said_before_it_is_sent(server, monkeypatch):
    monkeypatch.setattr("context_propagation.server.store.available_bytes", lambda: 100_000)
    status, answer = server.asked("POST", "/api/sessions", announced())  # 13440 voxels, twice as float32
    assert (status, "has 0 MiB of main memory to spare; crop it" in sentence(answer)) == (503, True)


def test_a_session_whose_image_never_comes_is_closed_long_before_its_lease_ends(bundles, monkeypatch):
    with served(bundles, limits=Limits(requests_per_s=1000, lease_s=600)) as server:
        now = [0.0]
        monkeypatch.setattr(server.store, "_clock", lambda: now[0])
        paths = [f"/api/sessions/{server.asked('POST', '/api/sessions', announced())[1]['session']}" for _ in range(2)]
        voxels = zlib.compress(an_image().channels[0].tobytes(), 1)
        assert server.asked("PUT", paths[0] + "/channels/0", voxels)[0] == 204
        held = server.store.of(paths[1].rpartition("/")[2], "")
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            head = f"PUT {paths[1]}/channels/0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
            line.sendall(head.encode() + voxels[:20])
            until = time.monotonic() + 10
            while not held.is_busy and time.monotonic() < until:
                time.sleep(0.01)
            now[0] = 61
            server.store.sweep()
            assert len(server.store) == 2, "it is on its way"
        assert " 499 " in server.line_of(f"{held.name[:6]}/channels/0")
        now[0] = 122  # more than a minute later
        assert [server.asked("POST", path + "/alive")[0] for path in paths] == [200, 404]
