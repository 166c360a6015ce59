"""Far slices on real nnU-Net folders with random fusion networks, against computations of their own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, WHOLE_VOLUME, SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.edit_description import DrawnSlice, describe, no_description
from context_propagation.core.propagation.far_slices import decode_fused
from context_propagation.core.propagation.fusion_inputs import (
    EditContext,
    FusionInputs,
    describe_edit,
    edit_map,
    fusion_inputs,
)
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (24, 22, 20)
QUICK = UpdateSettings(iterations=2)
IDENTITY = 0.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))


@pytest.fixture(scope="module")
def model(folder):
    return NnunetModel.load(folder, device="cpu")


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A model of two folds."""
    folder = write_nnunet_folder(tmp_path_factory.mktemp("folds"), folds=(0, 1), features=(4, 8, 8))
    return NnunetModel.load(folder, device="cpu")


def smooth_noise(shape, seed=0):
    spectrum = np.fft.rfftn(np.random.default_rng(seed).normal(size=shape))
    spectrum[4:-3] = 0
    return np.fft.irfftn(spectrum, s=shape, axes=(0, 1, 2)).astype(np.float32)


def volume(shape=SHAPE, ijk_to_lps=None):
    return SourceVolume(smooth_noise(shape)[None], np.eye(4) if ijk_to_lps is None else ijk_to_lps)


def ball(shape=SHAPE, radius=6):
    return sum((g - n // 2) ** 2 for g, n in zip(np.indices(shape), shape, strict=True)) <= radius**2


def started(model, fusion, image=None, **settings):
    session = Session(model, SessionSettings(update=QUICK, **settings), fusion)
    image = image or volume()
    session.set_image(image, ball(image.shape_kji))
    return session


def redrawn(session, axis=0, index=10):
    mask = np.roll(session.window_prediction.take(index, axis), 2, axis=0)
    mask[2:6, 2:6] = ~mask[2:6, 2:6]
    return SliceEdit(axis, index, mask)


def network_edit(session, edits):
    return session.propagation.network_edit(edits)


def whole_margins(session, record):
    margins = np.full(session.volume.shape_kji, np.nan, np.float32)
    margins[slices_of(record.far.box)] = record.far.values
    return margins


def owned(session):
    return session.cache.prepared.axes.undo(session.cache.owner) != -1


# ---- the margin


def random_logits(channels, folds, seed):
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(1, channels, 6, 7, 8, generator=generator) for _ in range(folds)]


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("target", ["node", "GTV", "cord"])
def test_a_margin_is_above_0_exactly_where_the_label_has_the_largest_mean_probability(tmp_path, target, folds):
    labels = {"background": 0, "node": 1, "GTV": 2, "cord": 3}
    model = NnunetModel.load(write_nnunet_folder(tmp_path, labels=labels), label=target, device="cpu")
    logits = random_logits(4, folds, 0)
    powers = [np.exp(piece.double().numpy()) for piece in logits]
    mean = np.mean([p / p.sum(1, keepdims=True) for p in powers], axis=0)[0]
    others = np.delete(mean, labels[target], axis=0).max(0)

    margin = model.target_margin(logits)[0].numpy()

    assert np.allclose(margin, mean[labels[target]] - others, atol=1e-6)
    assert np.array_equal(margin > 0, mean.argmax(0) == labels[target])
    assert np.array_equal(model.is_target(logits)[0].numpy(), margin > 0)


def test_a_region_s_margin_is_twice_its_mean_probability_less_one(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    folder = write_nnunet_folder(tmp_path, labels=labels, regions_class_order=[1, 2])
    model = NnunetModel.load(folder, label="core", device="cpu")
    logits = random_logits(2, 2, 1)
    mean = np.mean([1 / (1 + np.exp(-piece[0, 1].double().numpy())) for piece in logits], axis=0)

    margin = model.target_margin(logits)[0].numpy()

    assert np.allclose(margin, 2 * mean - 1, atol=1e-6)
    assert np.array_equal(model.is_target(logits)[0].numpy(), margin > 0)
    assert model.target_margin([torch.zeros(1, 2, 1, 1, 1)]).item() == 0


@pytest.mark.parametrize(("target", "wins"), [("node", True), ("GTV", False)])
def test_where_two_labels_tie_the_lower_one_has_the_voxel(tmp_path, target, wins):
    labels = {"background": 0, "node": 1, "GTV": 2}
    model = NnunetModel.load(write_nnunet_folder(tmp_path, labels=labels), label=target, device="cpu")
    tie = [torch.tensor([0.0, 2.0, 2.0]).view(1, 3, 1, 1, 1)]

    assert model.is_target(tie).item() is wins
    assert (model.target_margin(tie).item() > 0) is wins
    assert abs(model.target_margin(tie).item()) < 1e-30


# ---- what the fusion network is given and what its answer becomes


def test_the_margins_are_those_of_the_fused_features_decoded_over_the_window(model):
    """One window larger than the image, 1 mm voxels: every step by hand."""
    fusion = random_fusion(model)
    session = started(model, fusion, window_border=30, tidy=False)
    (window,) = session.cache.windows
    features = window.features[0]
    edit = redrawn(session)
    before = session.window_prediction
    session.propagate([edit])
    (record,) = session.records

    (piece,) = record.features
    f_updated = features.f.clone()
    f_updated[(0, slice(None), *slices_of(piece.box))] = piece.values
    assert not torch.equal(f_updated, features.f)
    drawn = np.zeros(SHAPE, bool)
    drawn[10] = edit.mask
    grid = session.cache.prepared.grid
    occupied = edit_map(grid, window.network_box, features.f.shape[2:], drawn, 0, [10])
    description = describe_edit(session.cache, network_edit(session, [edit]), (1.0, 1.0, 1.0))
    parts = (occupied[0, 0], occupied[0, 1] - occupied[0, 0])
    looks = torch.stack([(features.f[0] * part).sum((1, 2, 3)) / (part.sum() + 1e-3) for part in parts])[None]
    with torch.no_grad():
        fused = fusion.networks[0](
            FusionInputs(features.f, f_updated, occupied, torch.from_numpy(description)[None], looks)
        )
        logits = model.splits[0].decode(features, fused, True)
    probability = torch.softmax(logits, 1)[0].numpy()
    inside = tuple(slice(-start, -start + n) for (start, _), n in zip(window.network_box, SHAPE, strict=True))
    margin = (probability[1] - probability[0])[inside]

    assert np.allclose(whole_margins(session, record), margin, atol=1e-3)  # stored as float16
    far = np.ones(SHAPE, bool)
    far[8:13] = False
    clear = far & (np.abs(margin) > 1e-3)
    assert np.array_equal(session.records[0].far.values.dtype, np.float16)
    flipped = (margin > 0) != before
    assert (flipped & clear).any()
    assert np.array_equal((session.segmentation != session.initial)[clear & flipped],
                          (margin > 0)[clear & flipped] != session.initial[clear & flipped])  # fmt: skip
    assert np.array_equal(session.segmentation[clear & ~flipped], session.initial[clear & ~flipped])


def decoded(cache, number, fold, network, inputs):
    """The logits of the fused map on all image voxels of a window."""
    box = cache.windows[number].image_box
    return cache.prepared.grid.to_image(*decode_fused(cache, number, fold, network, inputs, box), box)


def test_training_and_use_share_inputs_and_decode_and_the_decode_has_a_gradient(model):
    fusion = random_fusion(model)
    session = started(model, fusion, window_border=30)
    edit = redrawn(session)
    session.propagate([edit])
    (record,) = session.records
    cache, drawn = session.cache, network_edit(session, [edit])
    context = EditContext.of(cache, drawn, (1.0, 1.0, 1.0))

    inputs = fusion_inputs(cache, 0, 0, record.features, context)
    logits = decoded(cache, 0, 0, fusion.networks[0], inputs)
    margin = model.target_margin([logits])[0].detach().numpy()
    model.target_logit(logits).sum().backward()

    assert np.allclose(whole_margins(session, record), margin, atol=1e-3)
    assert fusion.networks[0].output.weight.grad.abs().sum() > 0


def test_the_description_is_that_of_the_drawn_slice_against_the_untouched_logits(model):
    """Voxels of 1 x 2 x 1 mm (k, j, i): the network resamples j; the loss box is 8 voxels around both outlines."""
    image = volume(ijk_to_lps=np.diag([1.0, 2.0, 1.0, 1.0]))
    session = started(model, None, image, window_border=30)
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[9:13, 8:12] = True
    edit = SliceEdit(0, 10, drawn)
    (window,) = session.cache.windows
    logits = window.features[0].logits
    shape = session.cache.prepared.grid.network_shape
    assert shape != SHAPE
    inside = tuple(slice(-start, -start + n) for (start, _), n in zip(window.network_box, shape, strict=True))
    resampled = F.interpolate(logits[(slice(None), slice(None), *inside)], SHAPE, mode="trilinear", align_corners=False)
    plane = (resampled[0, 1] - resampled[0, 0]).numpy()[10]
    touched = np.argwhere(drawn | session.window_prediction[10])
    box = tuple(
        slice(max(0, low - 8), min(n, high + 9))
        for low, high, n in zip(touched.min(0), touched.max(0), SHAPE[1:], strict=True)
    )

    predicted = session.window_prediction[10]
    expected = describe([DrawnSlice(drawn[box], predicted[box], plane[box], (2.0, 1.0))])

    spacing_mm = session.propagation.network_spacing_mm
    described = describe_edit(session.cache, network_edit(session, [edit]), spacing_mm)
    assert np.allclose(described, expected, atol=1e-4)
    assert not np.allclose(
        expected, describe([DrawnSlice(drawn[box], predicted[box], plane[box], (1.0, 1.0))]), atol=1e-4
    )


@pytest.mark.parametrize("mostly_in", [0, -1])
def test_a_slice_in_several_windows_is_described_by_the_one_that_owns_most_of_it(model, mostly_in):
    image = volume((16, 16, 64))
    plan = Session(model).set_image(image, ball(image.shape_kji, 30))
    session = Session(model, SessionSettings(memory_budget_bytes=int(plan.peak_bytes * 0.99)))
    session.set_image(image, ball(image.shape_kji, 30))
    cache = session.cache
    number = mostly_in % len(cache.windows)
    window = cache.windows[number]
    columns = np.flatnonzero((cache.owner[8, 5:11] == number).all(axis=0))
    inner = columns[-1] if mostly_in == 0 else columns[0]  # where it meets the next window
    edges = (inner - 8, inner + 3) if mostly_in == 0 else (inner - 2, inner + 9)
    # nothing is drawn or predicted elsewhere on the slice
    drawn, untouched = np.zeros(image.shape_kji, bool), np.zeros(image.shape_kji, bool)
    drawn[8, 5:11, slice(*edges)] = True
    edit = NetworkEdit(0, (8,), drawn, untouched)
    mine = cache.owner[8, 5:11, slice(*edges)] == number
    assert 0.5 < mine.mean() < 1

    low, high = window.image_box[2]
    box = (slice(0, 16), slice(max(low, edges[0] - 8), min(high, edges[1] + 8)))
    logits = window.features[0].logits[0, :, 8]
    shown = tuple(
        slice(s.start - start, s.stop - start) for s, (start, _) in zip(box, window.network_box[1:], strict=True)
    )
    target_logit = (logits[1] - logits[0]).numpy()[shown]
    expected = describe([DrawnSlice(drawn[8][box], untouched[8][box], target_logit, (1.0, 1.0))])
    assert np.allclose(describe_edit(cache, edit, (1.0, 1.0, 1.0)), expected, atol=1e-5)


def test_an_edit_that_no_window_sees_says_nothing_and_reaches_no_far_slice(model):
    channels = volume().channels
    channels[:, :6] = 0  # nnU-Net crops an image to its non-zero part
    session = started(model, random_fusion(model), SourceVolume(channels, np.eye(4)))
    edit = SliceEdit(0, 2, ball()[12])
    description = describe_edit(session.cache, network_edit(session, [edit]), (1.0, 1.0, 1.0))
    result = session.propagate([edit])
    assert np.array_equal(description, no_description())
    assert not result.changed.any()
    assert np.array_equal(result.segmentation[2], edit.mask)


# ---- geometry


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
    # the same patient stored with other axes: new axis n runs along old axis order[n], backwards where flipped
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[2 - old, 2 - new] = spacing_mm[old] * (-1 if flip else 1)
        if flip:
            matrix[2 - old, 3] = spacing_mm[old] * (SHAPE[old] - 1)
    stored = tuple(slice(None, None, -1 if flip else None) for flip in flips)

    def store(array):
        return array.transpose(order)[stored]

    session = Session(known, SessionSettings(update=QUICK), fusion)
    session.set_image(SourceVolume(store(volume().channels[0])[None].copy(), matrix), store(ball()))
    drawn = np.zeros(SHAPE, bool)
    drawn[10] = edit.mask
    axis = order.index(0)
    index = SHAPE[0] - 1 - 10 if flips[axis] else 10
    result = session.propagate([SliceEdit(axis, index, store(drawn).take(index, axis))])
    assert set(expected.changed_per_slice) - set(range(8, 13))
    assert np.array_equal(result.segmentation, store(expected.segmentation))


def test_a_fused_margin_is_that_of_the_window_that_owns_the_voxel(model):
    image = volume((16, 16, 64))
    plan = Session(model).set_image(image, ball(image.shape_kji, 30))
    fusion = random_fusion(model)
    session = started(model, fusion, image, memory_budget_bytes=int(plan.peak_bytes * 0.99))
    session.set_image(image, ball(image.shape_kji, 30))
    edit = SliceEdit(2, 10, ball((16, 16, 64), 5)[:, :, 32])
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


# ---- in the session


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
