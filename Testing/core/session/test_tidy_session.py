"""A session's result has no stray voxels of its own, and Eq. 4 as it stands where that is asked for."""

from types import SimpleNamespace

import numpy as np
import pytest

from ball_images import ball_mask
from context_propagation.core.image.boxes import box_of, slices_of
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.measures.appearance import new_islands
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.edit_record import EditRecord, NearLabels
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.preview import Preview, SessionMasks
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder

QUICK = UpdateSettings(iterations=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("model")), device="cpu")


def propagated(model, tidy: bool, hand=None):
    """Random weights: an edit flips single voxels all over the near slices."""
    first = ball_mask()
    session = Session(model, SessionSettings(update=QUICK, tidy=tidy))
    noise = np.random.default_rng(0).normal(size=first.shape).astype(np.float32)
    session.set_image(SourceVolume(noise[None], np.eye(4)), first)
    if hand is not None:
        session.accept_manual_changes(first ^ hand)
    index = first.shape[0] // 2
    drawn = np.roll(session.segmentation[index], 3, axis=0)
    before = session.segmentation.copy()
    before[index] = drawn
    return session, before, index, session.propagate([SliceEdit(0, index, drawn)])


def test_an_edit_leaves_no_new_island_where_eq_4_alone_leaves_some(model):
    _, before, index, untidy = propagated(model, tidy=False)
    session, _, _, tidy = propagated(model, tidy=True)

    assert new_islands(before, untidy.segmentation, 0, [index]) > 0
    assert new_islands(before, tidy.segmentation, 0, [index]) == 0
    assert tidy.changed.any()
    assert np.array_equal(tidy.segmentation[index], before[index])
    assert np.array_equal(tidy.segmentation ^ before, tidy.changed)
    session.undo()
    assert np.array_equal(session.segmentation, ball_mask())


def test_an_island_that_was_drawn_by_hand_stays(model):
    hand = np.zeros(ball_mask().shape, bool)
    hand[1, 1, 1] = True
    *_, result = propagated(model, tidy=True, hand=hand)

    assert result.segmentation[1, 1, 1]


def test_what_was_taken_back_is_looked_at_anew_by_the_next_edit(model):
    """After each edit: Eq. 4 of all edits, tidied once against what was there before; nothing of it is forgotten."""
    session, _, index, first = propagated(model, tidy=True)
    untidy, *_ = propagated(model, tidy=False)
    assert (first.segmentation != untidy.segmentation).any()

    session.settings = untidy.settings  # the next edit takes nothing back
    drawn = np.roll(session.segmentation[index + 2], 3, axis=1)
    for one in (session, untidy):
        one.propagate([SliceEdit(0, index + 2, drawn)])

    assert np.array_equal(session.segmentation, untidy.segmentation)
    session.undo()
    assert np.array_equal(session.segmentation, first.segmentation)
    session.redo()
    assert np.array_equal(session.segmentation, untidy.segmentation)


def test_without_a_network_for_far_slices_no_crumb_goes_that_is_near_to_no_edit():
    """Slice 1 is far from the edit of slice 3; one of its voxels, near to an edit in another plane, is looked at."""
    shape = (20, 20, 20)
    body, far_voxel, bridge, stray = np.zeros(shape, bool), (1, 10, 4), (2, 10, 4), (1, 3, 10)
    body[3:12, 3:15, 3:15] = True
    body[far_voxel] = body[bridge] = True
    index = np.ravel_multi_index(stray, shape)
    other = SliceEdit(2, 9, body[:, :, 9])
    earlier = EditRecord((other,), 1, (flipping(body, stray, 2),), drawn_at=(0,), strays=np.array([index]))
    edit = SliceEdit(0, 3, body[3])
    record = EditRecord((edit,), 1, (flipping(body, bridge, 0),), drawn_at=(1,))
    masks = SessionMasks(body, body, body, np.zeros(shape, bool), body)
    without_far = SimpleNamespace(fusion=None)

    preview = Preview((edit,), (earlier,), (earlier, record), masks, without_far, (), "average", tidy=True)

    assert np.argwhere(preview.segmentation != body).tolist() == [list(bridge)]


@pytest.mark.parametrize(("beyond", "stays"), [(4, False), (5, True)])
def test_target_that_an_edit_ended_on_near_slices_comes_back_only_to_join_more_than_twice_as_much(beyond, stays):
    """A column; slice 8 is drawn smaller, and the update clears both near slices below it."""
    shape, first = (20, 20, 20), 6 - beyond
    body = np.zeros(shape, bool)
    body[first:16, 5:10, 5:10] = True
    drawn = np.zeros(shape[1:], bool)
    drawn[5:8, 5:8] = True
    edit = SliceEdit(0, 8, drawn)
    everywhere = box_of([(0, n) for n in shape])
    far = Margins(everywhere, np.where(body, 1, -1).astype(np.float16))
    record = EditRecord((edit,), 2, tuple(cleared(body, index) for index in (6, 7)), drawn_at=(0,), far=far)
    masks = SessionMasks(body, body, body, np.zeros(shape, bool), body)

    preview = Preview(
        (edit,), (), (record,), masks, SimpleNamespace(fusion=None), (), "average", True, far_thresholds=FarThresholds()
    )

    expected = body.copy()
    expected[8] = drawn
    if not stays:
        expected[:8] = False
    assert np.array_equal(preview.segmentation, expected)


def cleared(labels: np.ndarray, index: int) -> NearLabels:
    """What an update says on a slice: nothing is there."""
    spans = [(index, index + 1), *((0, n) for n in labels.shape[1:])]
    there = labels[index : index + 1]
    return NearLabels(index, box_of(spans), np.zeros_like(there), there.copy())


def flipping(labels: np.ndarray, voxel: tuple[int, int, int], axis: int) -> NearLabels:
    """What an update says on the slice of one voxel: the other label there."""
    changed = np.zeros(labels.shape, bool)
    changed[voxel] = True
    spans = [(0, n) for n in labels.shape]
    spans[axis] = (voxel[axis], voxel[axis] + 1)
    box = box_of(spans)
    return NearLabels(voxel[axis], box, (labels ^ changed)[slices_of(box)], changed[slices_of(box)])
