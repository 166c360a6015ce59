"""What does not fit is refused, and that or a cancel changes nothing."""

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from small_sessions import SHAPE, redrawn, started, volume


def test_cancelling_changes_nothing(model):
    session = started(model)
    before, windows = session.segmentation.copy(), session.cache.window_boxes
    calls = []
    with pytest.raises(Cancelled):
        session.propagate([redrawn(session)], cancelled=lambda: calls.append(1) or len(calls) > 2)
    assert np.array_equal(session.segmentation, before)
    assert session.cache.window_boxes == windows
    assert session.records == ()
    assert not session.undo()


def test_cancelling_set_image_keeps_the_image_that_was_set(model):
    session = started(model)
    before = session.segmentation.copy()
    with pytest.raises(Cancelled):
        session.set_image(volume((30, 30, 30)), cancelled=lambda: True)
    assert session.volume.shape_kji == SHAPE
    assert np.array_equal(session.segmentation, before)


def test_a_level_beyond_the_decoder_is_refused_before_anything_runs(model):
    with pytest.raises(UserInputError, match="level 3 .* 2 stages"):
        Session(model, SessionSettings(level=3))


def test_a_wrong_number_of_channels_is_refused(model):
    with pytest.raises(UserInputError, match="2 channel.* expects 1"):
        Session(model).set_image(SourceVolume(np.zeros((2, *SHAPE), np.float32), np.eye(4)))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([], "No edited slice"),
        ([SliceEdit(0, 24, np.zeros(SHAPE[1:], bool))], "Slice 24 is outside"),
        ([SliceEdit(0, 1, np.zeros((3, 3), bool))], r"shape \(3, 3\)"),
        ([SliceEdit(3, 1, np.zeros(SHAPE[1:], bool))], "Axis 3"),
        ([SliceEdit(0, 1, np.zeros(SHAPE[1:], bool)), SliceEdit(1, 1, np.zeros((24, 20), bool))], "several planes"),
        ([SliceEdit(0, 1, np.zeros(SHAPE[1:], bool))] * 2, "given twice"),
    ],
)
def test_edits_that_do_not_fit_are_refused_and_nothing_changes(model, edits, message):
    session = started(model)
    before = session.segmentation.copy()
    with pytest.raises(UserInputError, match=message):
        session.propagate(edits)
    assert np.array_equal(session.segmentation, before)
    assert session.records == ()


def test_propagating_before_an_image_is_set_says_what_to_do(model):
    with pytest.raises(UserInputError, match="set_image first"):
        Session(model).propagate([SliceEdit(0, 1, np.zeros(SHAPE[1:], bool))])


def test_undo_before_an_image_is_set_has_nothing_to_do(model):
    assert not Session(model).undo()
    with pytest.raises(UserInputError, match="set_image first"):
        _ = Session(model).window_prediction
