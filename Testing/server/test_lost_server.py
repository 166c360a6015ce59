"""Whatever becomes of server and network, what was drawn stays, and the result is as if nothing had been."""

import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from ball_images import ball_mask
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.callbacks import never_cancelled, no_progress
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.remote import answers
from context_propagation.remote.connection import ServerLost, _shut
from context_propagation.remote.remote_server import RemoteServer
from context_propagation.server.limits import Limits
from psnn_folders import write_psnn
from served import EDITED, CutLine, ServerProcess, an_image, announced, asked, free_port, served

FEW = SessionSettings(update=UpdateSettings(iterations=2))
MANY = replace(FEW, update=UpdateSettings(iterations=5, loss_threshold=-9))
FIRST = SliceEdit(0, 12, EDITED[12])
SECOND = SliceEdit(0, 8, np.roll(ball_mask()[8], -2, 1))


def local(here, edits, settings=FEW):
    session = here("network").session(settings)
    session.set_image(an_image(), ball_mask())
    for edit in edits:
        session.propagate([edit])
    return session


def once(stage, do):
    """A progress callback that does something the first time that a stage has begun."""
    left = [do]

    def progress(now, fraction):
        if now == stage and fraction > 0 and left:
            left.pop()()

    return progress


@pytest.mark.long  # two processes of the server
def test_a_server_that_is_killed_in_the_middle_of_an_edit_loses_nothing(tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    wanted = load_model(write_psnn(tmp_path / "psnn"), device="cpu").with_general_far().session(MANY)
    server = ServerProcess(tmp_path)
    try:
        server.wait()
        session = RemoteServer(f"http://127.0.0.1:{server.port}", lambda upload: True).load("psnn").session(MANY)
        session.set_image(an_image(), ball_mask())
        session.propagate([FIRST])
        seen = []

        def die():
            server.kill()
            seen.append(session.segmentation.copy())
            server.start()

        session.propagate([SECOND], once("update", die))
    finally:
        server.kill()

    wanted.set_image(an_image(), ball_mask())
    for edit in (FIRST, SECOND):
        wanted.propagate([edit])
    assert np.array_equal(seen[0][12], FIRST.mask)
    assert np.array_equal(session.segmentation, wanted.segmentation)
    assert np.array_equal(session.segmentation[8], SECOND.mask)
    assert session.undo()  # also without a server
    wanted.undo()
    assert np.array_equal(session.segmentation, wanted.segmentation)


def test_a_connection_that_drops_in_the_middle_of_an_edit_is_made_again(server, here):
    line = CutLine(server.port)
    session = RemoteServer(f"http://127.0.0.1:{line.port}", lambda upload: True).load("network").session(MANY)
    session.set_image(an_image(), ball_mask())
    before, cuts = len(server.lines), []

    session.propagate([FIRST], once("update", lambda: cuts.append(line.cut())))

    assert cuts
    assert np.array_equal(session.segmentation, local(here, [FIRST], MANY).segmentation)
    assert not [text for text in server.lines[before:] if "PUT" in text], "the image was sent again"
    session.close()
    line.close()


def test_an_image_whose_connection_drops_is_sent_again(server):
    line = CutLine(server.port)
    session = RemoteServer(f"http://127.0.0.1:{line.port}", lambda upload: True).load("network").session(FEW)

    session.set_image(an_image(), ball_mask(), once("preprocess", line.cut))
    cut = []
    session.set_image(an_image(1), ball_mask(), lambda stage, _: cut or cut.append(line.cut()))

    assert np.array_equal(session.segmentation, ball_mask())
    session.propagate([FIRST])
    session.close()
    line.close()


def test_a_session_that_the_server_closed_is_begun_again_with_all_its_edits(server, here):
    session = server.client().load("network").session(FEW)
    session.set_image(an_image(), ball_mask())
    for edit in (FIRST, SECOND):
        session.propagate([edit])
    session.undo()
    session.confirm(0, [5])
    server.store.close_all()  # as where its lease ran out

    session.propagate([SliceEdit(0, 15, ball_mask()[14])])

    wanted = local(here, [FIRST])
    wanted.confirm(0, [5])
    wanted.propagate([SliceEdit(0, 15, ball_mask()[14])])
    assert np.array_equal(session.segmentation, wanted.segmentation)
    session.close()


def test_features_that_the_server_lost_are_computed_again_alone(server, here):
    session = server.client().load("network").session(FEW)
    session.set_image(an_image(), ball_mask())
    session.propagate([FIRST])
    (held,) = [held for held in server.store._held.values() if session._lease.address.endswith(held.name)]
    held.records.clear()

    session.propagate([SECOND])

    name = f"/{held.name[:6]}/"
    assert len(server.lines_of(f"{name}preview", 4)) == 4  # the first edit; refused, that edit again, the second one
    assert len([line for line in server.lines if f"{name}channels" in line]) == 1
    assert np.array_equal(session.segmentation, local(here, [FIRST, SECOND]).segmentation)
    session.close()


def test_a_session_is_kept_as_long_as_its_client_lives_and_no_longer(bundles):
    with served(bundles, limits=Limits(lease_s=0.6)) as server:
        session = server.client().load("network").session(FEW)
        session.set_image(an_image(), ball_mask())
        begun = asked(server.port, "POST", "/api/sessions", announced())[1]["session"]  # of a client that died
        before = len(server.lines)
        time.sleep(1.5)

        status, answer = server.asked("POST", f"/api/sessions/{begun}/alive")
        assert status == 404
        assert answer["message"].startswith("The server does not have this session (any more)")
        session.propagate([FIRST])
        assert "PUT" not in "".join(server.lines[before:])
        session.close()
        assert len(server.store) == 0


def test_a_server_that_stays_away_is_said_and_the_edit_can_be_tried_again(server, here, monkeypatch):
    session = server.client().load("network").session(FEW)
    session.set_image(an_image(), ball_mask())
    monkeypatch.setattr(answers, "PATIENCE_S", 0.2)
    real = session._connection
    object.__setattr__(real, "url", f"http://127.0.0.1:{free_port()}")

    with pytest.raises(UserInputError, match="The server does not answer .* what was drawn is kept here"):
        session.propagate([FIRST])
    with pytest.raises(Cancelled):
        session.propagate([FIRST], cancelled=lambda: True)
    assert np.array_equal(session.segmentation, ball_mask())
    object.__setattr__(real, "url", server.url)
    session.propagate([FIRST])

    assert np.array_equal(session.segmentation, local(here, [FIRST]).segmentation)
    session.close()


def test_two_people_at_once_get_each_their_own(server, here):
    edits = {0: FIRST, 1: SECOND}
    got, errors = {}, []

    def work(number):
        try:
            session = server.client().load("network").session(FEW)
            session.set_image(an_image(number), ball_mask())
            session.propagate([edits[number]])
            session.propagate([SliceEdit(0, 5 + number, ball_mask()[6])])
            got[number] = session.segmentation
            session.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in edits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    for number in edits:
        session = here("network").session(FEW)
        session.set_image(an_image(number), ball_mask())
        session.propagate([edits[number]])
        session.propagate([SliceEdit(0, 5 + number, ball_mask()[6])])
        assert np.array_equal(got[number], session.segmentation)


def test_patience_begins_when_the_server_is_lost_and_not_with_what_it_computed_before():
    lost = [True]

    def ask():
        if lost:
            time.sleep(0.3)  # it computed
            lost.pop()
            raise ServerLost("reset")
        return "done"

    assert answers.reliably(ask, no_progress, never_cancelled, patience_s=0.2) == "done"


def test_a_server_that_was_silent_for_longer_than_patience_lasts_is_not_asked_again():
    asked = []

    def ask():
        asked.append(1)
        raise ServerLost("timed out") from TimeoutError()

    with pytest.raises(UserInputError, match="does not answer"):
        answers.reliably(ask, no_progress, never_cancelled, patience_s=2.0)
    assert len(asked) == 1


def test_the_models_in_use_can_be_asked_for_while_somebody_begins_a_session(server):
    for _ in range(2):
        server.asked("POST", "/api/sessions", announced())
    store = server.store

    class Choice:
        """To hash it takes so long that somebody begins a session meanwhile."""

        def __hash__(self):
            store._held["new"] = next(iter(store._held.values()))
            return 1

    held = list(store._held.values())
    held[0].choice, usual = Choice(), held[0].choice
    assert usual in store.choices_in_use()
    store._held.pop("new")
    held[0].choice = usual
    store.close_all()


def after(line, seconds):
    """A cancel check that is true so long after the line died."""
    died = []

    def cancelled():
        died.extend([time.monotonic()] if line.dead and not died else [])
        return bool(died) and time.monotonic() > died[0] + seconds

    return cancelled


def cancelled_at_once(do):
    began = time.monotonic()
    with pytest.raises(Cancelled):
        do()
    return time.monotonic() - began < 5  # and not after half a minute of silence


def die(line):
    line.dead = True


@pytest.fixture
def line(server):
    found = CutLine(server.port)
    yield found
    found.dead = False
    found.close()


def over(line):
    return RemoteServer(f"http://127.0.0.1:{line.port}", lambda upload: True)


def test_an_edit_on_a_dead_network_is_cancelled_at_once_and_what_was_drawn_stays(server, here, line):
    session = over(line).load("network").session(FEW)
    session.set_image(an_image(), ball_mask())
    session.propagate([FIRST])
    kept = session.segmentation.copy()

    assert cancelled_at_once(lambda: session.propagate([SECOND], once("update", lambda: die(line)), after(line, 0.3)))
    assert cancelled_at_once(lambda: session.propagate([SECOND], cancelled=after(line, 0.3)))  # it does not begin
    assert np.array_equal(session.segmentation, kept)
    line.dead = False
    session.propagate([SECOND])

    assert np.array_equal(session.segmentation, local(here, [FIRST, SECOND]).segmentation)
    session.close()


def test_an_image_on_a_dead_network_is_cancelled_at_once(line):
    session = over(line).load("network").session(FEW)
    noise = np.random.default_rng(0).normal(size=(1, 40, 400, 400)).astype(np.float32)  # more than a socket holds
    large = SourceVolume(noise, np.eye(4))

    sending = once("send the image", lambda: die(line))
    assert cancelled_at_once(lambda: session.set_image(large, None, sending, after(line, 0.3)))
    assert cancelled_at_once(lambda: over(line).models(cancelled=after(line, 0.3)))


def test_a_line_that_another_thread_closes_just_now_is_no_error():
    """http.client sets `sock` to None as it closes."""

    class Closing:
        looks = 0

        @property
        def sock(self):
            self.looks += 1
            return self.own if self.looks == 1 else None

    line = Closing()
    line.own, other = socket.socketpair()
    with line.own, other:
        _shut(line)

        assert other.recv(1) == b""
