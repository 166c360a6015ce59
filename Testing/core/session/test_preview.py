"""What an edit would give: the same as propagating it, and nothing in the session changes."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (20, 16, 18)
QUICK = UpdateSettings(iterations=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("m"), features=(4, 8, 8)), device="cpu")


def ball(radius=5):
    return sum((g - n // 2) ** 2 for g, n in zip(np.indices(SHAPE), SHAPE, strict=True)) <= radius**2


def started(model, fusion=None, **settings):
    session = Session(model, SessionSettings(update=QUICK, **settings), fusion)
    noise = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    session.set_image(SourceVolume(noise, np.eye(4)), ball())
    return session


def redrawn(session, index=10):
    mask = np.roll(session.window_prediction[index], 2, axis=0)
    mask[2:6, 2:6] = ~mask[2:6, 2:6]
    return SliceEdit(0, index, mask)


def test_a_preview_is_what_propagating_gives_and_changes_nothing(model):
    session = started(model, random_fusion(model))
    session.propagate([redrawn(session, 6)])
    before, records, done = session.segmentation.copy(), session.records, list(session.done)

    preview = session.preview([redrawn(session)])

    assert np.array_equal(session.segmentation, before)
    assert session.records is records
    assert session.done == done
    result = session.propagate([redrawn(session)])
    assert np.array_equal(preview.segmentation, result.segmentation)
    assert np.array_equal(preview.result.changed, result.changed)
    assert preview.result.changed_per_slice == result.changed_per_slice
    assert result.changed[:8].any()  # far slices too


def test_a_preview_stays_what_it_was_when_the_session_goes_on(model):
    session = started(model, random_fusion(model))
    preview = session.preview([redrawn(session)])
    expected = session.preview([redrawn(session)]).segmentation

    session.propagate([redrawn(session, 6)])
    session.accept_manual_changes(~session.segmentation)

    assert np.array_equal(preview.segmentation, expected)


@pytest.mark.parametrize("several_edits", ["joint", "one at a time"])
def test_another_fusion_network_gives_what_a_session_with_it_gives(model, several_edits):
    fusion = random_fusion(model, far_thresholds=0.1)
    session = started(model, several_edits=several_edits)
    preview = session.preview([redrawn(session)])
    assert preview.result.scope == "near slices only"

    fused = preview.fused_by(fusion)

    expected = started(model, fusion).propagate([redrawn(session)])
    assert np.array_equal(fused.segmentation, expected.segmentation)
    assert fused.result.scope == expected.scope == "whole volume (trained for this model)"
    assert not np.array_equal(fused.segmentation, preview.segmentation)


def test_other_far_thresholds_give_what_a_network_with_them_gives(model):
    session = started(model)
    fused = session.preview([redrawn(session)]).fused_by(random_fusion(model))

    stricter = fused.with_thresholds(FarThresholds(0.1, 0.1))

    expected = session.preview([redrawn(session)]).fused_by(random_fusion(model, far_thresholds=0.1))
    assert np.array_equal(stricter.segmentation, expected.segmentation)
    assert not np.array_equal(stricter.segmentation, fused.segmentation)


def test_the_result_names_far_slices_on_which_the_network_is_not_sure_enough(model):
    session = started(model)
    fused = session.preview([redrawn(session)]).fused_by(random_fusion(model))
    changed = set(fused.result.changed_per_slice)
    assert fused.result.left_alone == ()  # any margin is enough

    never_sure = fused.with_thresholds(FarThresholds(1.0, 1.0)).result

    assert set(never_sure.left_alone) <= changed - set(never_sure.changed_per_slice)
    assert len(never_sure.left_alone) > 2


def test_an_edit_that_says_what_the_network_says_is_not_fused(model):
    session = started(model)
    preview = session.preview([SliceEdit(0, 10, session.window_prediction[10])])
    assert preview.fused_by(random_fusion(model)).record.far is None


def test_a_restarted_session_has_the_image_and_no_edits(model):
    fusion = random_fusion(model)
    session = started(model)
    session.propagate([redrawn(session)])

    other = session.restarted(SessionSettings(update=QUICK, several_edits="one at a time"), fusion)

    assert np.array_equal(other.segmentation, ball())
    assert (other.records, other.done) == ((), [])
    assert other.cache is session.cache
    expected = started(model, fusion, several_edits="one at a time").propagate([redrawn(session)])
    assert np.array_equal(other.propagate([redrawn(session)]).segmentation, expected.segmentation)
    assert len(session.records) == 1


def test_a_restarted_session_needs_features_of_its_level(model):
    with pytest.raises(UserInputError, match="Level 1: features of level 2 are cached"):
        started(model).restarted(SessionSettings(level=1))
