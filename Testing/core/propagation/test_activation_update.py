"""Eq. 3: the update of features, against hand-worked losses, MONAI's losses and the whole-volume computation."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import slices_of, whole
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.activation_update import segmentation_loss, update_features
from context_propagation.core.propagation.drawn_slices import SliceTarget
from context_propagation.core.propagation.slice_update import update_window
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.propagation.window import encode_window
from nnunet_folders import write_nnunet_folder
from slice_losses import loss_of_slices


def test_dice_loss_of_a_hand_worked_slice():
    # p = (1/2, 1/2), drawn = (1, 0): 1 - (2 * 1/2 + 1) / (1 + 1 + 1) = 1/3
    loss = segmentation_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), "dice")
    assert float(loss) == pytest.approx(1 / 3)


def test_hybrid_loss_adds_the_mean_cross_entropy():
    loss = segmentation_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), "dice and cross-entropy")
    assert float(loss) == pytest.approx(1 / 3 + math.log(2))


def test_losses_equal_monais():
    losses = pytest.importorskip("monai.losses")
    z = torch.randn(1, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    drawn = (torch.rand(1, 1, 6, 7, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    options = {"sigmoid": True, "smooth_nr": 1.0, "smooth_dr": 1.0}
    assert float(segmentation_loss(z, drawn, "dice")) == pytest.approx(
        float(losses.DiceLoss(**options)(z, drawn)), abs=1e-6
    )
    assert float(segmentation_loss(z, drawn, "dice and cross-entropy")) == pytest.approx(
        float(losses.DiceCELoss(**options)(z, drawn)), abs=1e-6
    )


@pytest.mark.parametrize("loss", ["dice", "dice and cross-entropy"])
def test_an_erased_slice_still_pulls_the_prediction_down(loss):
    z = torch.full((5,), 2.0, requires_grad=True)
    segmentation_loss(z, torch.zeros(5), loss).backward()
    assert (z.grad > 0).all()


def quadratic(f):
    return ((f - 3) ** 2).mean()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_optimiser_finds_a_known_minimum(optimizer):
    settings = UpdateSettings(optimizer=optimizer, iterations=300, learning_rate=0.1, proximal_weight=0.0, patience=300)
    f, report = update_features(torch.zeros(1, 1, 2, 2, 2), quadratic, 4, settings)
    assert torch.allclose(f, torch.full_like(f, 3.0), atol=1e-2)
    assert report.loss_before == pytest.approx(9.0)
    assert report.loss_after < 1e-3


def test_the_proximal_term_is_a_sum_over_f_divided_by_one_slice():
    # min over f of (f - 3)^2 + w (f - 0)^2 for one value: f = 3 / (1 + w / n); here w = 2, n = 4: f = 2
    settings = UpdateSettings(iterations=50, proximal_weight=2.0)
    f, _ = update_features(torch.zeros(1, 1, 1, 1, 1), lambda f: ((f - 3) ** 2).sum(), 4, settings)
    assert float(f) == pytest.approx(2.0, abs=1e-4)


def test_the_best_iterate_is_kept_when_a_later_one_is_worse():
    settings = UpdateSettings(optimizer="adam", iterations=3, learning_rate=10.0, proximal_weight=0.0)
    f, report = update_features(torch.full((1, 1, 1, 1, 1), 2.5), quadratic, 1, settings)
    assert float(f) == 2.5
    assert report.loss_after == report.loss_before == pytest.approx(0.25)


def test_it_stops_at_the_loss_threshold():
    settings = UpdateSettings(
        optimizer="adam", iterations=100, learning_rate=0.5, loss_threshold=1.0, proximal_weight=0.0
    )
    _, report = update_features(torch.zeros(1, 1, 1, 1, 1), quadratic, 1, settings)
    assert report.stop_reason == "threshold"
    assert report.loss_after <= 1.0
    assert report.evaluations < 20


def test_it_stops_without_improvement():
    settings = UpdateSettings(optimizer="adam", iterations=100, learning_rate=10.0, patience=4)
    _, report = update_features(torch.full((1, 1, 1, 1, 1), 2.9), quadratic, 1, settings)
    assert report.stop_reason == "no improvement"
    assert report.evaluations == 5


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_it_stops_at_the_iteration_limit(optimizer):
    settings = UpdateSettings(optimizer=optimizer, iterations=2, proximal_weight=0.0)
    _, report = update_features(torch.zeros(1, 1, 1, 1, 2), lambda f: ((f - 3) ** 4).sum(), 1, settings)
    assert report.stop_reason == "iterations"


def counting_gradients(loss, gradients):
    def counted(f):
        value = loss(f)
        value.register_hook(gradients.append)
        return value

    return counted


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_evaluation_that_ends_the_search_computes_no_gradient(optimizer):
    gradients = []
    quartic = counting_gradients(lambda f: ((f - 3) ** 4).sum(), gradients)
    settings = UpdateSettings(optimizer=optimizer, iterations=5, proximal_weight=0.0)
    _, report = update_features(torch.zeros(1, 1, 1, 1, 2), quartic, 1, settings)
    assert report.stop_reason == "iterations"
    assert len(gradients) == report.evaluations - 1

    gradients.clear()
    settings = UpdateSettings(optimizer=optimizer, iterations=99, loss_threshold=80.0, proximal_weight=0.0)
    _, report = update_features(torch.zeros(1, 1, 1, 1, 2), quartic, 1, settings)  # begins at 2 * 3^4
    assert report.stop_reason == "threshold"
    assert len(gradients) == report.evaluations - 1


def test_the_last_iteration_searches_on_where_its_first_try_is_not_better():
    """Polyak's step from 0 down |f - 3|^(1/3) is 9, and f = 9 is worse than 0."""
    gradients = []
    settings = UpdateSettings(iterations=1, proximal_weight=0.0)
    steep = counting_gradients(lambda f: (f - 3).abs().sum() ** (1 / 3), gradients)
    _, report = update_features(torch.zeros(1, 1, 1, 1, 1), steep, 1, settings)
    assert report.loss_after < report.loss_before
    assert report.evaluations > 2


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_cancel_is_honoured_within_one_evaluation_and_leaves_the_best_iterate(optimizer):
    evaluations = []

    def counted(f):
        evaluations.append(1)
        return quadratic(f)

    settings = UpdateSettings(optimizer=optimizer, iterations=100)
    f, report = update_features(
        torch.zeros(1, 1, 1, 1, 1), counted, 1, settings, cancelled=lambda: len(evaluations) >= 2
    )
    assert report.stop_reason == "cancelled"
    assert len(evaluations) == 2
    assert quadratic(f) <= 9.0


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("asked_after", [0, 1, 3])
def test_enough_ends_the_search_once_it_has_something_better_than_the_start(optimizer, asked_after):
    evaluations = []

    def quartic(f):
        loss = ((f - 3) ** 4).sum()
        evaluations.append(loss.item())
        return loss

    settings = UpdateSettings(optimizer=optimizer, iterations=100, proximal_weight=0.0)
    f, report = update_features(
        torch.zeros(1, 1, 1, 1, 1), quartic, 1, settings, enough=lambda: len(evaluations) >= asked_after
    )

    assert report.stop_reason == "stopped"
    assert ((f - 3) ** 4).item() == min(evaluations) < evaluations[0]
    assert (
        len(evaluations)
        == report.evaluations
        == next(n for n in range(1, 99) if n >= asked_after and min(evaluations[:n]) < evaluations[0])
    )


def test_cancel_before_the_first_evaluation_returns_the_features_untouched():
    f0 = torch.ones(1, 1, 1, 1, 1)
    f, report = update_features(f0, quadratic, 1, UpdateSettings(), cancelled=lambda: True)
    assert f is f0
    assert report.evaluations == 0


def test_a_loss_that_is_not_finite_never_becomes_the_result():
    settings = UpdateSettings(optimizer="adam", iterations=3, proximal_weight=0.0)
    f, _ = update_features(torch.ones(1, 1, 1, 1, 1), lambda f: torch.where(f < 1, f / 0, f).sum(), 1, settings)
    assert torch.isfinite(f).all()


def test_progress_grows_to_at_most_one():
    seen = []
    update_features(torch.zeros(1, 1, 1, 1, 1), quadratic, 1, UpdateSettings(), progress=seen.append)
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= 1


@pytest.mark.parametrize(
    "wrong",
    [{"optimizer": "sgd"}, {"loss": "l2"}, {"iterations": 0}, {"learning_rate": 0.0}, {"proximal_weight": -1.0}],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UserInputError):
        UpdateSettings(**wrong)


# -- slab against whole window --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["PlainConvUNet", "ResidualEncoderUNet"])
def folder(request, tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("slab"), architecture=request.param, features=(4, 6, 8))


@cache
def window_of(folder, dtype, level=2):
    """No test changes them."""
    model = NnunetModel.load(folder, device="cpu")
    for split in model.splits:
        split.graph.module.to(dtype)
    rng = np.random.default_rng(0)
    volume = SourceVolume(rng.normal(size=(1, 48, 24, 24)).astype(np.float32), np.eye(4))
    prepared = model.prepare(volume)
    prepared = replace(prepared, network_input=prepared.network_input.to(dtype))
    window = encode_window(model, prepared, whole(prepared.grid.network_shape), level)
    return model, prepared.grid, window


def target(axis=0, index=21):
    rng = np.random.default_rng(1)
    drawn = rng.random((48, 24, 24)) > 0.5
    box = [(12, 20), (12, 20), (12, 20)]
    return SliceTarget(axis, (index,), (box[0], box[1], box[2]), drawn)


def whole_window_loss(model, grid, window, slice_target, f):
    features = window.features[0]
    logits = model.splits[0].decode(features, f)
    return loss_of_slices(model, grid, logits, (0, 0, 0), slice_target)


@pytest.mark.parametrize(("axis", "index"), [(0, 0), (0, 21), (1, 12), (2, 23)])
def test_one_local_evaluation_equals_the_whole_window_to_1e_5_in_float32(folder, axis, index):
    model, grid, window = window_of(folder, torch.float32)
    features, split, aim = window.features[0], model.splits[0], target(axis, index)
    f = features.f.clone().requires_grad_(True)
    loss = whole_window_loss(model, grid, window, aim, f)
    loss.backward()
    local = split.local(features, grid.support(aim.box()))
    inside = (slice(None), slice(None), *slices_of(local.f_box))
    part = features.f[inside].clone().requires_grad_(True)
    origin = tuple(span[0] for span in local.output_box)
    local_loss = loss_of_slices(model, grid, local.run(part), origin, aim)
    local_loss.backward()
    assert local_loss.item() == pytest.approx(loss.item(), rel=1e-5)
    scale = f.grad.abs().max()
    assert (part.grad - f.grad[inside]).abs().max() <= 1e-5 * scale
    outside = f.grad.clone()
    outside[inside] = 0
    assert outside.abs().max() == 0


@pytest.mark.quick(folder="PlainConvUNet", level=1, optimizer="lbfgs")
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("level", [1, 2])
def test_a_whole_local_optimisation_equals_the_whole_window_to_1e_6_in_float64(folder, optimizer, level):
    model, grid, window = window_of(folder, torch.float64, level)
    features, aim = window.features[0], target()
    settings = UpdateSettings(optimizer=optimizer, iterations=4)
    f_local, f_box, report = update_window(
        model, model.splits[0], grid, window, features, aim, settings, lambda fraction: None, lambda: False
    )
    f_whole, whole_report = update_features(
        features.f,
        lambda f: whole_window_loss(model, grid, window, aim, f),
        features.f.numel() // features.f.shape[2],
        settings,
    )
    assert math.prod(b - a for a, b in f_box) < math.prod(features.f.shape[2:])
    assert report.loss_after < report.loss_before
    assert report.loss_after == pytest.approx(whole_report.loss_after, abs=1e-6)
    assert (placed(f_local, f_box, features.f) - f_whole).abs().max() <= 1e-6


def placed(part, box, f):
    """A box of f' in the whole window's f."""
    result = f.clone()
    result[(slice(None), slice(None), *slices_of(box))] = part
    return result


def test_live_statistics_are_optimised_on_the_whole_window(folder):
    model, grid, window = window_of(folder, torch.float32)
    features = window.features[0]
    settings = UpdateSettings(iterations=2, frozen_statistics=False)
    f, f_box, _ = update_window(
        model, model.splits[0], grid, window, features, target(), settings, lambda fraction: None, lambda: False
    )
    assert f_box == whole(features.f.shape[2:])
    assert (f - features.f).abs().amax(dim=(0, 1, 3, 4)).gt(0).all()


# -- several slices far apart ---------------------------------------------------------------------------------------

FAR_APART = (40, 4, 6)  # two clusters, and not in order


def slices_far_apart(axis=0):
    return replace(target(axis), indices=FAR_APART)


@pytest.mark.quick(folder="ResidualEncoderUNet", optimizer="lbfgs", warm=False)
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("warm", [False, True])
def test_slices_far_apart_are_updated_in_slabs_of_their_own_as_on_the_whole_window(folder, optimizer, warm):
    model, grid, window = window_of(folder, torch.float64)
    features, aim = window.features[0], slices_far_apart()
    settings = UpdateSettings(optimizer=optimizer, iterations=4)

    def updated(slice_target, start=None):
        f, box, report = update_window(model, model.splits[0], grid, window, features, slice_target, settings,
                                       lambda fraction: None, lambda: False, start)  # fmt: skip
        return placed(f, box, features.f), box, report

    start = updated(replace(aim, indices=(4,)))[0] if warm else None
    f_slabs, f_box, report = updated(aim, start)
    f_whole, whole_report = update_features(
        features.f,
        lambda f: whole_window_loss(model, grid, window, aim, f),
        features.f.numel() // features.f.shape[2],
        settings,
        start=start,
    )

    assert report.loss_after < report.loss_before
    assert report.loss_after == pytest.approx(whole_report.loss_after, abs=1e-6)
    assert (f_slabs - f_whole).abs().max() <= 1e-6
    differs = (f_slabs != features.f).any(dim=1)[0]
    along = differs.any(dim=2).any(dim=1)
    assert along[0]
    assert along[-2:].any()
    assert not along[5:7].any()  # between the slabs
    outside = differs.clone()
    outside[tuple(slice(*span) for span in f_box)] = False
    assert not outside.any()


def decoded_boxes(split, monkeypatch):
    """The boxes of logits of each evaluation, one after another."""
    local, boxes = split.local, []

    def watched(features, output_box):
        found = local(features, output_box)
        return replace(found, run=lambda f: boxes.append(found.output_box) or found.run(f))

    monkeypatch.setattr(split, "local", watched)
    return boxes


def test_what_lies_between_slices_far_apart_is_not_decoded(folder, monkeypatch):
    model, grid, window = window_of(folder, torch.float32)
    split, aim = model.splits[0], slices_far_apart()
    boxes = decoded_boxes(split, monkeypatch)

    _, _, report = update_window(
        model, split, grid, window, window.features[0], aim, UpdateSettings(iterations=2), lambda fraction: None,
        lambda: False,
    )  # fmt: skip

    assert len(boxes) == 2 * report.evaluations
    assert {box[0] for box in boxes} == {(4, 7), (40, 41)}


def test_slices_that_depend_on_the_same_features_are_decoded_in_one(folder, monkeypatch):
    model, grid, window = window_of(folder, torch.float32)
    split, aim = model.splits[0], replace(target(), indices=(20, 22))
    boxes = decoded_boxes(split, monkeypatch)

    _, _, report = update_window(
        model, split, grid, window, window.features[0], aim, UpdateSettings(iterations=2), lambda fraction: None,
        lambda: False,
    )  # fmt: skip

    assert [box[0] for box in boxes] == [(20, 23)] * report.evaluations
