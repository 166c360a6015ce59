"""The window around the target is encoded once, and an edit beyond it encodes only what is new."""

from contextlib import contextmanager

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder
from small_sessions import QUICK, SHAPE, an_edit, ball, redrawn, started, volume


@contextmanager
def encoder_runs(model):
    """A list that grows by one with each encoder pass in the block."""
    runs = []
    heads = [split.cut(level).head for split in model.splits for level in (1, 2)]
    hooks = [head.register_forward_hook(lambda *_: runs.append(1)) for head in heads]
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()


def test_the_window_decodes_what_the_network_predicts_when_it_covers_the_image(tmp_path):
    """A window as large as the patch is nnU-Net's single tile; nnU-Net sums tiles in half precision, hence .999."""
    one_tile = NnunetModel.load(write_nnunet_folder(tmp_path, patch_size=(24, 24, 24), convolutions=2), device="cpu")
    session = Session(one_tile)
    session.set_image(volume())
    assert session.initial.any()
    assert not session.initial.all()
    assert (session.window_prediction == session.initial).mean() >= 0.999


def test_an_edit_inside_the_window_never_runs_the_encoder(model):
    session = started(model)
    with encoder_runs(model) as runs:
        result = session.propagate([redrawn(session)])
    assert runs == []
    assert result.changed.any()


def test_an_edit_outside_the_window_encodes_only_what_is_new_and_says_so(model):
    session = Session(model, SessionSettings(update=QUICK, window_border=0))
    session.set_image(volume((64, 20, 20)), ball((64, 20, 20), (8, 10, 10), 5))
    first = session.cache.window_boxes
    untouched = session.window_prediction
    drawn = np.zeros((20, 20), bool)
    drawn[8:14, 8:14] = True
    with encoder_runs(model) as runs:
        result = session.propagate([SliceEdit(0, 55, drawn)])
    assert session.cache.window_boxes[: len(first)] == first
    assert len(runs) == len(session.cache.window_boxes) - len(first) >= 1
    assert all(box[0][0] >= 30 for box in session.cache.window_boxes[len(first) :])
    assert "outside the cached part of the image" in result.messages[0]
    decoded_before = np.zeros((64, 20, 20), bool)
    decoded_before[: first[0][0][1]] = True
    assert np.array_equal(session.window_prediction[decoded_before], untouched[decoded_before])


def test_with_an_empty_segmentation_the_edit_places_the_window(model):
    session = started(model, initial=np.zeros(SHAPE, bool))
    assert session.cache.window_boxes == ()
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[8:12, 8:12] = True
    session.propagate([SliceEdit(0, 5, drawn)])
    assert len(session.cache.window_boxes) == 1
    assert np.array_equal(session.segmentation[5], drawn)


def test_a_small_memory_budget_tiles_the_target_and_says_so(model):
    need = Session(model)
    plan = need.set_image(volume((16, 16, 64)), ball((16, 16, 64), radius=30))
    session = Session(model, SessionSettings(update=QUICK, memory_budget_bytes=int(plan.peak_bytes * 0.99)))
    tiled = session.set_image(volume((16, 16, 64)), ball((16, 16, 64), radius=30))
    assert len(tiled.boxes) > 1
    assert "tiles" in tiled.messages[0]
    result = session.propagate([redrawn(session, 0, 8)])
    assert len(result.updates) > 1
    assert result.changed.any()
    assert np.array_equal(result.segmentation[8], session.records[0].edits[0].mask)


@pytest.fixture
def long_session(model):
    """A window around the target at low k, and a long image beyond it."""
    session = Session(model, SessionSettings(update=QUICK, window_border=0))
    session.set_image(volume((90, 24, 24)), ball((90, 24, 24), (16, 12, 12), 9))
    return session


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_an_edit_at_the_border_of_a_window_reaches_the_near_slices_on_both_sides(long_session, beyond):
    border = long_session.cache.window_boxes[0][0][1]
    index = border + beyond
    result = long_session.propagate([an_edit(index)])
    assert set(result.changed_per_slice) == {index - 2, index - 1, index + 1, index + 2}


def test_a_second_edit_at_the_same_place_encodes_nothing_more(model, long_session):
    index = long_session.cache.window_boxes[0][0][1]
    long_session.propagate([an_edit(index)])
    smaller = an_edit(index).mask
    smaller[6:9] = False
    with encoder_runs(model) as runs:
        result = long_session.propagate([SliceEdit(0, index, smaller)])
    assert runs == []
    assert result.messages == ()


def test_an_extension_that_fails_leaves_the_session_as_it_was(long_session, monkeypatch):
    clean = long_session.window_prediction
    boxes = long_session.cache.window_boxes

    def out_of_memory(fold_logits):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(long_session.model, "margin_of_deciding", out_of_memory)
        with pytest.raises(UserInputError, match="needs more memory than there is, and nothing was changed"):
            long_session.propagate([an_edit(60)])
    assert long_session.cache.window_boxes == boxes
    assert np.array_equal(long_session.window_prediction, clean)
    assert long_session.propagate([an_edit(60)]).changed.any()
