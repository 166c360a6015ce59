"""An edit changes near slices and nothing else, whatever the image's axes and spacing and the model's labels."""

import numpy as np
import pytest

from context_propagation.core.image.slices import NEAR_SLICES_ONLY, SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder
from small_sessions import QUICK, SHAPE, an_edit, ball, redrawn, started, stored_with_other_axes, volume

# ---- what an edit changes


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_propagation_changes_near_slices_only_and_reports_them(model, axis, neighbours):
    session = started(model, neighbours=neighbours)
    before = session.segmentation.copy()
    edit = redrawn(session, axis, 10)
    result = session.propagate([edit])
    near = set(range(10 - neighbours, 11 + neighbours)) - {10}
    assert set(result.changed_per_slice) <= near
    assert bool(near) == result.changed.any()
    assert result.scope == NEAR_SLICES_ONLY
    untouched = np.ones(SHAPE, bool)
    np.moveaxis(untouched, axis, 0)[10 - neighbours : 11 + neighbours] = False
    assert np.array_equal(result.segmentation[untouched], before[untouched])
    assert np.array_equal(result.segmentation.take(10, axis), edit.mask)
    assert sum(result.changed_per_slice.values()) == result.changed.sum()


def test_the_update_brings_the_decode_closer_to_the_drawing(model):
    session = started(model)
    result = session.propagate([redrawn(session)])
    assert all(update.loss_after < update.loss_before for update in result.updates)


def test_an_edit_that_equals_the_window_prediction_changes_nothing(model):
    session = started(model)
    edit = SliceEdit(0, 12, session.window_prediction[12])
    result = session.propagate([edit])
    assert not result.changed.any()
    assert result.updates[0].stop_reason == "already satisfied"


def test_a_segmentation_from_elsewhere_is_kept_where_the_edit_changed_no_label(model):
    foreign = ball(radius=9)
    session = started(model, initial=foreign)
    untouched = session.window_prediction
    result = session.propagate([redrawn(session)])
    kept = ~result.changed
    kept[12] = False
    assert np.array_equal(result.segmentation[kept], foreign[kept])
    assert np.array_equal(result.segmentation[result.changed], ~untouched[result.changed])


def test_several_slices_are_optimised_jointly(model):
    session = started(model)
    edits = [redrawn(session, 0, 9), redrawn(session, 0, 13)]
    result = session.propagate(edits)
    assert len(result.updates) == 1
    assert result.edited_slices == (9, 13)
    for edit in edits:
        assert np.array_equal(result.segmentation[edit.index], edit.mask)


def test_what_is_enough_is_propagated_with_the_best_so_far_and_said(model):
    whole, short = started(model), started(model)
    edit = redrawn(whole)
    usual = whole.propagate([edit])

    result = short.propagate([edit], enough=lambda: True)

    (report,) = result.updates
    assert report.stop_reason == "stopped"
    assert report.evaluations < usual.updates[0].evaluations
    assert report.loss_after < report.loss_before
    assert np.array_equal(result.segmentation[edit.index], edit.mask)
    assert result.changed.any()
    assert [message for message in result.messages if message.startswith("Stopped early")]
    assert not [message for message in usual.messages if message.startswith("Stopped early")]


def test_progress_names_its_stages(model):
    stages = []
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(volume(), progress=lambda stage, fraction: stages.append(stage))
    session.propagate([redrawn(session)], progress=lambda stage, fraction: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["preprocess", "predict", "encode", "update", "decode"]


def test_several_folds_are_updated_each_and_averaged(tmp_path):
    folds = NnunetModel.load(write_nnunet_folder(tmp_path, folds=(0, 1), features=(4, 8, 8)), device="cpu")
    session = started(folds)
    result = session.propagate([redrawn(session)])
    assert len(result.updates) == 2
    assert result.changed.any()


def test_live_statistics_change_near_slices_only_as_well(model):
    live = UpdateSettings(iterations=4, frozen_statistics=False)
    session = Session(model, SessionSettings(update=live))
    session.set_image(volume(), ball())
    result = session.propagate([redrawn(session)])
    assert result.changed.any()
    assert set(result.changed_per_slice) <= {10, 11, 13, 14}


# ---- other images and models


@pytest.mark.quick(flips=((True, False, True),), order=((2, 0, 1),))
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True)])
def test_flipped_and_permuted_arrays_refine_the_same_anatomy_where_the_orientation_is_known(folder, order, flips):
    known = NnunetModel.load(folder, device="cpu", orientation="LPS")
    straight = Session(known, SessionSettings(update=QUICK))
    straight.set_image(volume(), ball())
    edit = redrawn(straight, 0, 10)
    expected = straight.propagate([edit]).segmentation
    matrix, store = stored_with_other_axes(order, flips)
    session = Session(known, SessionSettings(update=QUICK))
    session.set_image(SourceVolume(store(volume().channels[0])[None], matrix), store(ball()))
    drawn = np.zeros(SHAPE, bool)
    drawn[10] = edit.mask
    axis = order.index(0)
    index = SHAPE[0] - 1 - 10 if flips[axis] else 10
    result = session.propagate([SliceEdit(axis, index, store(drawn).take(index, axis))])
    assert np.array_equal(result.segmentation, store(expected))


@pytest.mark.parametrize("spacing_k_mm", [1.0, 3.0, 5.0])
def test_near_slices_are_image_slices_whatever_the_spacing_of_the_network(model, spacing_k_mm):
    """The network's grid is 1 mm: at 3 and 5 mm an edit touches many network slices, N(s) is still s - 2 ... s + 2."""
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(volume(ijk_to_lps=np.diag([1.0, 1.0, spacing_k_mm, 1.0])), ball())
    edit = redrawn(session, 0, 10)
    result = session.propagate([edit])
    assert result.updates[0].loss_after < result.updates[0].loss_before
    assert result.changed.any()
    assert set(result.changed_per_slice) <= {8, 9, 11, 12}
    assert np.array_equal(result.segmentation[10], edit.mask)


def test_a_network_that_sees_transposed_axes_refines_the_slice_that_was_drawn(tmp_path):
    transposed = NnunetModel.load(
        write_nnunet_folder(tmp_path, transpose_forward=(2, 0, 1), features=(4, 8, 8)), device="cpu"
    )
    session = started(transposed)
    edit = redrawn(session, 1, 9)
    result = session.propagate([edit])
    assert result.updates[0].loss_after < result.updates[0].loss_before
    assert set(result.changed_per_slice) <= {7, 8, 10, 11}
    assert np.array_equal(result.segmentation[:, 9], edit.mask)


@pytest.mark.parametrize(
    ("labels", "order", "target"),
    [
        ({"background": 0, "node": 1, "GTV": 2}, None, "GTV"),
        ({"background": 0, "whole": [1, 2], "core": [2]}, [1, 2], "core"),
    ],
)
def test_one_label_of_several_and_one_region_are_refined(tmp_path, labels, order, target):
    folder = write_nnunet_folder(tmp_path, labels=labels, regions_class_order=order, features=(4, 8, 8))
    session = started(NnunetModel.load(folder, label=target, device="cpu"))
    edit = redrawn(session)
    result = session.propagate([edit])
    assert result.updates[0].loss_after < result.updates[0].loss_before
    assert np.array_equal(result.segmentation[12], edit.mask)


def test_a_drawing_where_the_image_is_zero_is_kept_though_the_network_never_sees_it(model):
    """nnU-Net crops an image to its non-zero part."""
    channels = volume().channels
    channels[:, :6] = 0
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(SourceVolume(channels, np.eye(4)), ball())
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[8:14, 8:14] = True
    result = session.propagate([SliceEdit(0, 2, drawn)])
    assert np.array_equal(result.segmentation[2], drawn)
    assert not result.changed.any()


def test_a_drawing_beyond_what_the_model_sees_is_said(model):
    channels = volume().channels
    channels[:, :6] = 0
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(SourceVolume(channels, np.eye(4)), ball())
    result = session.propagate([an_edit(2, SHAPE[1:])])
    assert "does not see" in result.messages[0]
