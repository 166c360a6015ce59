"""A session with a fusion network changes and reports far slices, and keeps all else."""

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, WHOLE_VOLUME, SliceEdit
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from far_sessions import redrawn, started
from fusion_networks import random_fusion
from small_sessions import SHAPE


def test_with_a_fusion_network_far_slices_change_and_are_reported(model):
    session = started(model, random_fusion(model))
    edit = redrawn(session)
    before = session.segmentation.copy()
    result = session.propagate([edit])
    assert result.scope == WHOLE_VOLUME
    assert set(result.changed_per_slice) - set(range(8, 13))
    assert sum(result.changed_per_slice.values()) == result.changed.sum()
    assert np.array_equal(result.segmentation[10], edit.mask)
    outside = np.arange(SHAPE[0]) != 10
    assert np.array_equal((result.segmentation != before)[outside], result.changed[outside])
    session.undo()
    assert np.array_equal(session.segmentation, before)


def test_near_slices_are_the_same_with_and_without_a_fusion_network(model):
    with_fusion, without = (started(model, fusion, tidy=False) for fusion in (random_fusion(model), None))
    edit = redrawn(without)
    fused, plain = with_fusion.propagate([edit]), without.propagate([edit])
    assert np.array_equal(fused.segmentation[8:13], plain.segmentation[8:13])
    assert plain.scope == NEAR_SLICES_ONLY


def test_a_larger_far_threshold_flips_fewer_far_voxels_and_1_flips_none(model):
    changed = []
    for threshold in (0.0, 0.3, 1.0):
        session = started(model, random_fusion(model, far_thresholds=threshold))
        result = session.propagate([redrawn(session)])
        far = result.changed.copy()
        far[8:13] = False
        changed.append(far)
    assert changed[0].sum() > changed[1].sum() > 0
    assert not (changed[1] & ~changed[0]).any()
    assert not changed[2].any()


@pytest.mark.parametrize("mode", ["joint", "one at a time"])
def test_an_edit_that_equals_r_0_changes_nothing_first_or_later_and_is_not_fused(model, mode):
    session = started(model, random_fusion(model), several_edits=mode)
    for further in (False, True):
        if further:
            session.propagate([redrawn(session)])
        stages = []
        edit = SliceEdit(0, 15, session.window_prediction[15])
        result = session.propagate([edit], progress=lambda stage, fraction, stages=stages: stages.append(stage))
        assert not result.changed.any()
        assert stages == []
        assert np.array_equal(session.segmentation[15], edit.mask)
        session.undo()


def test_cancelling_while_fusing_leaves_the_session_as_it_was(folds):
    session = started(folds, random_fusion(folds))
    session.propagate([redrawn(session)])
    before, records = session.segmentation.copy(), session.records
    seen = []
    with pytest.raises(Cancelled):
        session.propagate(
            [redrawn(session, 0, 16)],
            progress=lambda stage, fraction: seen.append((stage, fraction)),
            cancelled=lambda: bool(seen) and seen[-1][0] == "fuse",
        )
    assert [step for step in seen if step[0] == "fuse"] == [("fuse", 0.0)]  # within one window and fold
    assert np.array_equal(session.segmentation, before)
    assert session.records == records
    assert len(session.done) == 1
    assert session.propagate([redrawn(session, 0, 16)]).changed.any()


def test_progress_of_fusing_grows_to_one(model):
    seen = []
    session = started(model, random_fusion(model))
    session.propagate([redrawn(session)], progress=lambda stage, fraction: seen.append((stage, fraction)))
    fractions = [fraction for stage, fraction in seen if stage == "fuse"]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert list(dict.fromkeys(stage for stage, _ in seen)) == ["update", "decode", "fuse"]


def test_progress_of_updating_grows_over_all_folds_and_does_not_start_again(folds):
    seen = []
    session = started(folds, random_fusion(folds))
    session.propagate([redrawn(session)], progress=lambda stage, fraction: seen.append((stage, fraction)))
    fractions = [fraction for stage, fraction in seen if stage == "update"]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.5 < fractions[-1] <= 1


def test_voxels_changed_by_hand_are_kept_in_far_slices(model):
    reference = started(model, random_fusion(model))
    edit = redrawn(reference)
    changed = reference.propagate([edit]).changed
    session = started(model, random_fusion(model))
    by_hand = session.segmentation.copy()
    by_hand[2:5] = ~by_hand[2:5]
    session.accept_manual_changes(by_hand)
    result = session.propagate([edit])
    assert changed[2:5].any()
    assert np.array_equal(result.segmentation[2:5], by_hand[2:5])


def test_a_fusion_network_of_another_level_is_refused_by_both_numbers(model):
    with pytest.raises(UserInputError, match="trained for decoder level 1 and the session uses level 2"):
        Session(model, SessionSettings(level=2), random_fusion(model, level=1))


def test_a_wrong_number_of_fusion_networks_is_refused_by_both_numbers(folds, model):
    with pytest.raises(UserInputError, match=r"1 fusion network\(s\) and the model has 2 fold\(s\)"):
        Session(folds, SessionSettings(), random_fusion(model))


def test_fusion_networks_are_in_evaluation_mode_in_a_session(model):
    fusion = random_fusion(model)
    fusion.networks[0].train()
    Session(model, SessionSettings(), fusion)
    assert not fusion.networks[0].training
