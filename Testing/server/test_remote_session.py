"""A session over the network gives bit for bit what one on this side gives, and keeps its history in the same way."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ball_images import ball_mask
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.preview import Preview
from context_propagation.core.session.session_file import restore_session, save_session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.session.target_probability import target_probability
from context_propagation.server.limits import Limits
from served import EDITED, an_image, served

FEW = SessionSettings(update=UpdateSettings(iterations=2))
BALL = ball_mask()
FIRST = SliceEdit(0, 12, EDITED[12])
SECOND = SliceEdit(0, 8, np.roll(ball_mask()[8], -2, 1))
ACROSS = SliceEdit(1, 12, np.roll(ball_mask()[:, 12], 1, 1))


@pytest.fixture
def pair(server, here):
    """Gives a session on this side and one on the server."""
    opened = []

    def pair(name="network", settings=FEW, initial=BALL, **options):
        both = here(name).session(settings), server.client().load(name, **options).session(settings)
        opened.append(both[1])
        for session in both:
            session.set_image(an_image(), initial)
        return both

    yield pair
    for session in opened:
        session.close()


def assert_same(here, there):
    for what in ("initial", "segmentation", "protected", "changed_by_hand"):
        assert np.array_equal(getattr(here, what), getattr(there, what)), what
    for steps in ("done", "undone"):
        for one, other in zip(getattr(here, steps), getattr(there, steps), strict=True):
            assert np.array_equal(one.flipped, other.flipped)
            assert np.array_equal(one.values, other.values)


def assert_same_result(one, other):
    for what in ("segmentation", "changed"):
        assert np.array_equal(getattr(one, what), getattr(other, what)), what
    for what in ("axis", "edited_slices", "changed_per_slice", "left_alone", "changed_box_kji", "updates", "scope"):
        assert getattr(one, what) == getattr(other, what), what


@pytest.mark.parametrize("name", ["network", "bundle"])
def test_edits_undo_redo_and_confirmation_are_those_of_a_session_on_this_side(pair, name):
    here, there = both = pair(name)
    assert_same_result(*(session.propagate([FIRST]) for session in both))
    assert there.done[0].flipped.size > (EDITED[12] ^ ball_mask()[12]).sum()  # more than the drawing itself
    assert_same_result(*(session.propagate([SECOND]) for session in both))  # optimised with the first one
    for session in both:
        session.undo()
        by_hand = session.segmentation.copy()
        by_hand[4, 10:14, 12:16] ^= True
        session.accept_manual_changes(by_hand)
        session.confirm(0, [6, 7])
        session.redo()
    spared = np.zeros(ball_mask().shape, bool)
    spared[:, :, 15:] = True
    assert_same_result(*(session.propagate([ACROSS], spared=spared) for session in both))
    assert_same(here, there)
    assert np.array_equal(there.segmentation[:, 12], ACROSS.mask)
    while there.undo():
        assert here.undo()
        assert_same(here, there)


def test_a_server_makes_no_copy_of_the_whole_segmentation_for_an_edit(pair, monkeypatch):
    here, there = pair()
    here.propagate([FIRST])

    def copied(self):
        raise AssertionError("the whole segmentation was copied")

    monkeypatch.setattr(Preview, "segmentation", property(copied))
    there.propagate([FIRST])
    assert_same(here, there)


def test_a_result_that_is_taken_in_part_stays_so(pair):
    here, there = both = pair()
    for session in both:
        preview = session.preview([FIRST])
        rejected = np.zeros(ball_mask().shape, bool)
        rejected[13:] = True
        session.add(preview.step.rejecting(rejected))
        session.propagate([SECOND])

    assert_same(here, there)
    assert not (there.segmentation ^ ball_mask())[13:].any()


def test_doubt_probability_and_offset_are_the_same(pair):
    here, there = pair("bundle")
    step = [session.preview([FIRST]).step for session in (here, there)]
    for after in ((None, None), step):
        one, other = (s.slice_uncertainty_mm2(0, a) for s, a in zip((here, there), after, strict=True))
        assert one.any()
        assert np.array_equal(one, other)
    for session in (here, there):
        session.propagate([FIRST])
    one, other = target_probability(here, [SECOND]), there.target_probability([SECOND])
    assert one.box == other.box
    assert np.array_equal(one.values, other.values)
    assert here.drawn_offset_mm() == there.drawn_offset_mm() is not None


def test_contours_that_begin_moved_and_go_back_are_the_same(pair):
    here, there = both = pair(settings=replace(FEW, start_offset_mm=1.5), initial=None)
    assert_same(here, there)
    assert [session.use_own_contours() for session in both] == [True, True]
    for session in both:
        session.propagate([FIRST])
    assert_same(here, there)


def test_a_saved_session_goes_on_on_either_side(pair, here, server, tmp_path):
    _, there = pair()
    there.propagate([FIRST])
    there.confirm(0, [6])
    save_session(there, tmp_path / "case.session.json", "network")

    loaded, far = here("network"), server.client().load("network")
    restored = restore_session(tmp_path / "case.session.json", loaded.model, an_image(), fusion=loaded.far)
    again = restore_session(tmp_path / "case.session.json", far.model, an_image(), fusion=far.far, begin=far.session)
    assert_same(restored, again)
    assert np.array_equal(again.segmentation, there.segmentation)
    again.close()


def test_cancel_stops_it_within_one_evaluation_and_changes_nothing(pair, server):
    _, there = pair(settings=replace(FEW, update=UpdateSettings(iterations=300, loss_threshold=-9, patience=300)))
    heard = []

    with pytest.raises(Cancelled):
        there.propagate([FIRST], lambda stage, fraction: heard.append(stage), lambda: "update" in heard)

    assert np.array_equal(there.segmentation, ball_mask())
    assert there.done == []
    (held,) = [held for held in server.store._held.values() if there._lease.address.endswith(held.name)]
    there.slice_uncertainty_mm2(0)  # its turn comes at once
    assert all(job.done for job in held.jobs)


def test_one_who_asks_too_often_for_the_server_waits_and_goes_on(bundles):
    with served(bundles, limits=Limits(requests_per_s=4)) as server:  # 20 at once
        session = server.client().load("network").session(FEW)
        session.set_image(an_image(), BALL)
        for _ in range(22):
            session.slice_uncertainty_mm2(0)
        assert server.line_of(" 429 ")
        session.close()
        assert len(server.store) == 0  # the goodbye came, though it may have been refused at first


def test_it_settles_for_the_best_so_far(pair):
    _, there = pair(settings=replace(FEW, update=UpdateSettings(iterations=300, loss_threshold=-9, patience=300)))
    heard = []

    result = there.propagate([FIRST], lambda stage, fraction: heard.append(fraction), enough=lambda: len(heard) > 5)

    assert [update.stop_reason for update in result.updates] == ["stopped"]


def test_what_cannot_be_used_is_said_as_on_this_side(pair):
    both = pair()
    outside, flat = SliceEdit(0, 99, EDITED[12]), SliceEdit(0, 12, EDITED[12][:5])
    for edits in ([], [outside], [flat], [FIRST, ACROSS], [FIRST, FIRST]):
        said = []
        for session in both:
            with pytest.raises(UserInputError) as error:
                session.propagate(edits)
            said.append(str(error.value))
        assert said[0] == said[1]
    with pytest.raises(UserInputError, match="beyond this network's decoder, which has"):
        pair(settings=replace(FEW, level=3))


def test_nothing_is_sent_without_consent(server):
    asked = []
    client = server.client(consent=lambda upload: asked.append(upload.question))
    session = client.load("network").session(FEW)
    before = len(server.lines)

    with pytest.raises(UserInputError, match="The image was not sent to http://127.0.0.1"):
        session.set_image(an_image())

    assert "1 x 28 x 24 x 20 voxels" in asked[0]
    assert "PUT" not in "".join(server.lines[before:])
    assert "POST /api/sessions " not in "".join(server.lines[before:])


def test_the_same_image_is_asked_for_once(server):
    asked = []
    client = server.client(consent=lambda upload: asked.append(upload) or True)
    loaded = client.load("network")
    for _ in range(2):
        session = loaded.session(FEW)
        session.set_image(an_image(), ball_mask())
        session.close()
    assert len(asked) == 1


def test_models_are_listed_by_name_and_another_is_refused(server):
    client = server.client()
    assert [(str(model.path), model.kind) for model in client.models()] == [
        ("bundle", "nnU-Net"),
        ("network", "nnU-Net"),
    ]
    with pytest.raises(
        UserInputError, match=r"The server has no model '../network'; choose one of 'bundle', 'network'"
    ):
        client.load("../network")
    with pytest.raises(UserInputError, match="The model has no label 'liver'"):
        client.load("network", "liver")


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
sys.path.insert(0, sys.argv[2])
from ball_images import SHAPE_KJI, ball_mask, edited_mask
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.remote.remote_server import RemoteServer
noise = np.random.default_rng(0).normal(size=SHAPE_KJI)
session = RemoteServer(sys.argv[1], lambda upload: True).load("network").session()
session.set_image(SourceVolume((noise + 2 * ball_mask()).astype(np.float32)[None], np.eye(4)), ball_mask())
session.propagate([SliceEdit(0, 12, edited_mask()[12])])
print(np.array_equal(session.segmentation[12], edited_mask()[12]), len(session.done[0].flipped) > 0, session.undo())
"""


def test_a_client_needs_no_torch(server):
    examples = Path(__file__).parents[1] / "examples"
    command = [sys.executable, "-c", WITHOUT_TORCH, server.url, str(examples)]
    where = examples.parents[1] / "SlicerContextPropagation"
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=where)
    assert done.stdout.split() == ["True"] * 3, done.stderr
