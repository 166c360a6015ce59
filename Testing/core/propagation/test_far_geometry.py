"""Fused margins lie on the image's voxels, whatever spacing, axes, windows and folds the network has."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.fusion_inputs import EditContext, fusion_inputs
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from far_sessions import IDENTITY, decoded, network_edit, owned, redrawn, started, whole_margins
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder
from small_sessions import QUICK, SHAPE, ball, stored_with_other_axes, volume


def test_a_network_that_returns_f_says_what_the_untouched_features_say(model):
    session = started(model, random_fusion(model, strength=IDENTITY))
    before = session.segmentation.copy()
    result = session.propagate([redrawn(session)])
    margins = whole_margins(session, session.records[0])
    assert np.array_equal(margins[owned(session)] > 0, session.window_prediction[owned(session)])
    assert np.array_equal(np.isnan(margins), ~owned(session))
    assert set(result.changed_per_slice) <= {8, 9, 11, 12}
    assert np.array_equal(result.segmentation[:8], before[:8])


@pytest.mark.quick(spacing_k_mm=5.0)
@pytest.mark.parametrize("spacing_k_mm", [0.6, 3.0, 5.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_margins_lie_on_image_voxels_whatever_the_spacing_of_the_network(model, spacing_k_mm, axis):
    image = volume(ijk_to_lps=np.diag([1.0, 1.0, spacing_k_mm, 1.0]))
    session = started(model, random_fusion(model, strength=IDENTITY), image)
    session.propagate([redrawn(session, axis)])
    margins = whole_margins(session, session.records[0])
    assert session.cache.prepared.grid.network_shape[0] != SHAPE[0]
    assert np.array_equal(margins > 0, session.window_prediction)
    assert session.window_prediction.any()


def test_margins_of_a_resampled_image_are_interpolated_from_the_fused_logits(model):
    image = volume(ijk_to_lps=np.diag([1.0, 1.0, 3.0, 1.0]))
    fusion = random_fusion(model)
    session = started(model, fusion, image, window_border=60)
    edit = redrawn(session)
    session.propagate([edit])
    (window,), (record,) = session.cache.windows, session.records
    drawn = network_edit(session, [edit])
    inputs = fusion_inputs(session.cache, 0, 0, record.features, EditContext.of(session.cache, drawn, (3, 1, 1)))
    with torch.no_grad():
        logits = model.splits[0].decode(window.features[0], fusion.networks[0](inputs), True)
    shape = session.cache.prepared.grid.network_shape
    inside = tuple(slice(max(0, -a), max(0, -a) + n) for (a, _), n in zip(window.network_box, shape, strict=True))
    resampled = F.interpolate(logits[(slice(None), slice(None), *inside)], SHAPE, mode="trilinear", align_corners=False)
    probability = torch.softmax(resampled, 1)[0].numpy()
    assert np.allclose(whole_margins(session, record), probability[1] - probability[0], atol=2e-3)


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_margins_follow_the_axes_of_a_network_that_sees_them_transposed(tmp_path, transpose):
    folder = write_nnunet_folder(tmp_path, transpose_forward=transpose, features=(4, 8, 8))
    model = NnunetModel.load(folder, device="cpu")
    session = started(model, random_fusion(model, strength=IDENTITY))
    session.propagate([redrawn(session, 1, 9)])
    margins = whole_margins(session, session.records[0])
    assert np.array_equal(margins[owned(session)] > 0, session.window_prediction[owned(session)])


@pytest.mark.quick(flips=((True, False, True),), order=((2, 0, 1),))
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (False, True, True)])
def test_far_slices_of_flipped_and_permuted_arrays_are_the_same_where_the_orientation_is_known(folder, order, flips):
    known = NnunetModel.load(folder, device="cpu", orientation="LPS")
    fusion = random_fusion(known)
    spacing_mm = np.array([1.0, 2.0, 1.0])  # k, j, i of the straight volume
    straight = started(known, fusion, volume(ijk_to_lps=np.diag([*spacing_mm[::-1], 1.0])))
    edit = redrawn(straight)
    expected = straight.propagate([edit])
    matrix, store = stored_with_other_axes(order, flips, spacing_mm=spacing_mm)
    session = Session(known, SessionSettings(update=QUICK), fusion)
    session.set_image(SourceVolume(store(volume().channels[0])[None], matrix), store(ball()))
    drawn = np.zeros(SHAPE, bool)
    drawn[10] = edit.mask
    axis = order.index(0)
    index = SHAPE[0] - 1 - 10 if flips[axis] else 10
    result = session.propagate([SliceEdit(axis, index, store(drawn).take(index, axis))])
    assert set(expected.changed_per_slice) - set(range(8, 13))
    assert np.array_equal(result.segmentation, store(expected.segmentation))


def test_a_fused_margin_is_that_of_the_window_that_owns_the_voxel(model):
    image = volume((16, 16, 64))
    plan = Session(model).set_image(image, ball(image.shape_kji, radius=30))
    fusion = random_fusion(model)
    session = started(model, fusion, image, memory_budget_bytes=int(plan.peak_bytes * 0.99))
    session.set_image(image, ball(image.shape_kji, radius=30))
    edit = SliceEdit(2, 10, ball((16, 16, 64), radius=5)[:, :, 32])
    session.propagate([edit])
    (record,), cache, drawn = session.records, session.cache, network_edit(session, [edit])
    assert len(cache.windows) > 1
    reached = {piece.window for piece in record.features}
    assert 0 < len(reached) < len(cache.windows)  # some windows have f' = f
    margins, expected = whole_margins(session, record), np.full(image.shape_kji, np.nan, np.float32)
    context = EditContext.of(cache, drawn, (1.0, 1.0, 1.0))
    disagree = False
    for number, window in enumerate(cache.windows):
        inputs = fusion_inputs(cache, number, 0, record.features, context)
        assert torch.equal(inputs.f, inputs.f_updated) == (number not in reached)
        with torch.no_grad():
            logits = decoded(cache, number, 0, fusion.networks[0], inputs)
        margin = model.target_margin([logits])[0].numpy()
        mine = cache.owner[slices_of(window.image_box)] == number
        expected[slices_of(window.image_box)][mine] = margin[mine]
        here = ~np.isnan(margins[slices_of(window.image_box)])
        disagree |= bool((np.abs(margin - margins[slices_of(window.image_box)])[here & ~mine] > 0.01).any())
    assert disagree  # so it matters which window is asked
    assert np.allclose(margins, expected, atol=1e-3, equal_nan=True)


def test_folds_average_probabilities(folds):
    fusion = random_fusion(folds)
    session = started(folds, fusion, window_border=30)
    edit = redrawn(session)
    session.propagate([edit])
    cache, drawn, (record,) = session.cache, network_edit(session, [edit]), session.records
    context = EditContext.of(cache, drawn, (1.0, 1.0, 1.0))
    single = []
    for fold in (0, 1):
        with torch.no_grad():
            inputs = fusion_inputs(cache, 0, fold, record.features, context)
            logits = decoded(cache, 0, fold, fusion.networks[fold], inputs)
        single.append(torch.softmax(logits, 1)[0].numpy())
    mean = (single[0] + single[1]) / 2
    assert np.allclose(whole_margins(session, record), mean[1] - mean[0], atol=1e-3)
