"""First contours that begin where earlier cases were drawn: moved, kept while they fit, given up where they do not."""

from dataclasses import replace

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.contour_offset import contour_depth_mm, moved_outwards
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (20, 16, 18)
OUTWARDS = SessionSettings(update=UpdateSettings(iterations=2), start_offset_mm=1.0, tidy=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("m"), features=(4, 8, 8)), device="cpu")


def started(model, settings=OUTWARDS, fusion=None):
    session = Session(model, settings, fusion)
    noise = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    session.set_image(SourceVolume(noise, np.eye(4)))
    return session


@pytest.fixture(scope="module")
def own(model):
    """The model's own contours."""
    return started(model, replace(OUTWARDS, start_offset_mm=0.0)).segmentation


def moved(mask, offset):
    return moved_outwards(contour_depth_mm(mask, 0, (1.0, 1.0, 1.0)), offset)


@pytest.mark.parametrize("offset", [1.0, -1.0])
def test_the_first_contours_are_the_model_s_moved_within_axial_slices(model, own, offset):
    session = started(model, replace(OUTWARDS, start_offset_mm=offset))
    assert np.array_equal(session.segmentation, moved(own, offset))
    assert not np.array_equal(session.segmentation, own)


def test_a_segmentation_that_is_given_is_not_moved(model, own):
    session = Session(model, OUTWARDS)
    session.set_image(SourceVolume(np.zeros((1, *SHAPE), np.float32), np.eye(4)), own)
    assert np.array_equal(session.segmentation, own)


def test_where_the_drawing_fits_the_moved_contours_they_stay(model, own):
    session = started(model)
    first = session.segmentation.copy()
    result = session.propagate([SliceEdit(0, 10, moved(own, 1.0)[10])])
    beyond = [k for k in range(20) if not 8 <= k <= 12]
    assert np.array_equal(result.segmentation[beyond], first[beyond])


@pytest.mark.parametrize("fusion", [None, random_fusion])
def test_where_the_model_s_own_fit_better_they_come_back_with_the_edit_and_undo_moves_them_again(model, own, fusion):
    session = started(model, fusion=fusion and fusion(model, far_thresholds=1.0))
    first = session.segmentation.copy()
    drawn = own[10].copy()
    drawn[:, 9:] = moved(own, -1.0)[10][:, 9:]

    result = session.propagate([SliceEdit(0, 10, drawn)])

    far = [k for k in range(20) if not 8 <= k <= 12]
    assert np.array_equal(result.segmentation[far], own[far])
    assert np.array_equal(result.segmentation[10], drawn)
    assert result.changed[far].any()
    assert session.undo()
    assert np.array_equal(session.segmentation, first)
    assert session.redo()
    assert np.array_equal(session.segmentation, result.segmentation)


def test_a_drawing_that_agrees_with_the_model_brings_its_contours_back_too(model, own):
    session = started(model)
    result = session.propagate([SliceEdit(0, 10, own[10])])
    far = [k for k in range(20) if not 8 <= k <= 12]
    assert np.array_equal(result.segmentation[[*far, 10]], own[[*far, 10]])


def test_voxels_that_were_changed_by_hand_stay_when_contours_come_back(model, own):
    session = started(model)
    by_hand = session.segmentation.copy()
    place = (slice(2, 4), slice(3, 9), slice(3, 9))
    by_hand[place] = ~by_hand[place]
    session.accept_manual_changes(by_hand)
    result = session.propagate([SliceEdit(0, 10, own[10])])
    assert np.array_equal(result.segmentation[place], by_hand[place])


def test_a_second_drawing_can_speak_for_the_moved_contours_again(model, own):
    """All drawn slices count together: one that is the model's own, then larger ones that are not."""
    session = started(model)
    session.propagate([SliceEdit(0, 3, own[3])])
    assert np.array_equal(session.segmentation[16], own[16])
    session.propagate([SliceEdit(0, k, moved(own, 1.0)[k]) for k in (9, 10, 11)])
    assert np.array_equal(session.segmentation[16], moved(own, 1.0)[16])


def test_a_saved_session_begins_and_ends_as_it_did(model, own, tmp_path):
    session = started(model)
    session.propagate([SliceEdit(0, 10, own[10])])
    save_session(session, tmp_path / "a.session.json")
    again = restore_session(tmp_path / "a.session.json", model, session.volume)
    assert np.array_equal(again.segmentation, session.segmentation)
    assert again.settings == session.settings
    assert np.array_equal(again.initial, session.initial)


@pytest.mark.parametrize("offset", [-1.0, 0.0, 1.0])
def test_a_session_says_by_how_much_the_model_s_contours_had_to_move(model, offset):
    session = started(model, replace(OUTWARDS, start_offset_mm=0.0))
    assert session.drawn_offset_mm() is None
    drawn = moved(session.window_prediction, offset)
    session.propagate([SliceEdit(0, k, drawn[k]) for k in (9, 10)])
    found = session.drawn_offset_mm()
    assert np.sign(found) == np.sign(offset)
    assert np.array_equal(moved(session.window_prediction, found)[9:11], drawn[9:11])


@pytest.mark.parametrize("offset", [4.5, -5.0, float("nan")])
def test_an_offset_that_nobody_draws_by_is_refused(offset):
    with pytest.raises(UserInputError, match="give -4 to 4"):
        SessionSettings(start_offset_mm=offset)
