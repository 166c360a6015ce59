"""What the general far network takes: hand-made values, and the same from images that lie otherwise."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from context_propagation.core.image.boxes import box_of, inside_of, slices_of, whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.drawn_samples import (
    RING_MM,
    depth_mm,
    drawn_samples,
    features_on_image,
    grid_of_features,
    image_maps,
    target_logit,
)
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.far_evidence import (
    MAPS,
    NUMBERS,
    EvidenceContext,
    UpdatedLogits,
    _places,
    far_evidence,
)
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder

SHAPE = (16, 18, 20)
DEPTH, CARRIED, NEARNESS, SHOWN = range(4)
ISOTROPIC = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("m"), features=(4, 8, 8)), device="cpu")


def ball(radius=5):
    return sum((g - n // 2) ** 2 for g, n in zip(np.indices(SHAPE), SHAPE, strict=True)) <= radius**2


def started(model, spacing=(1.0, 1.0, 1.0), channels=None):
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32) + 2 * ball()
    session = Session(model, SessionSettings(update=UpdateSettings(iterations=2)))
    session.set_image(SourceVolume(image[None], np.diag([*spacing, 1.0])), ball())
    return session


def evidence_of(session, edits, updated=()):
    propagation = session.propagation
    edit, spacing = propagation.network_edit(edits), propagation.network_spacing_mm
    context = EvidenceContext.of(session.cache, edit, spacing)
    box = session.cache.windows[0].image_box
    logits = UpdatedLogits.of(session.cache, 0, updated)
    return far_evidence(edit, logits, context, spacing, box)


def moved(session, index=8, axis=0):
    return SliceEdit(axis, index, np.roll(ball().take(index, axis), 1, axis=0))


def edit_of(drawn, indices, axis=0, predicted=None):
    predicted = np.zeros(drawn.shape, bool) if predicted is None else predicted
    return NetworkEdit(axis, tuple(indices), drawn, predicted)


def bar(index, width, axis=0):
    """A bar across the first in-plane axis, so wide along the second, its middle at 9."""
    drawn = np.zeros(SHAPE, bool)
    plane = np.moveaxis(drawn, axis, 0)[index]
    plane[:, 9 - width // 2 : 10 + width // 2] = True
    return drawn


# ---- places


def places(edit, spacing=ISOTROPIC, radius=4.0, box=None):
    return _places(edit, spacing, radius, box or whole(SHAPE))


def test_the_drawn_contour_is_carried_along_the_axis_in_radii():
    found = places(edit_of(bar(8, 5), [8]))[CARRIED]
    row = [
        -2,
        -2,
        -1,
        -0.75,
        -0.5,
        -0.25,
        0,
        0.25,
        0.5,
        0.25,
        0,
    ]  # columns 1 to 11: the outermost drawn ones are 7 and 11
    assert found[3, 5, 7:12].tolist() == [0, 0.25, 0.5, 0.25, 0]
    assert found[3, 5, 3:7].tolist() == row[2:6]
    assert np.array_equal(found[0], found[15])


def test_between_two_drawn_slices_depth_goes_from_one_to_the_other():
    drawn = bar(4, 3) | bar(12, 7)
    found = places(edit_of(drawn, [4, 12]))[CARRIED]
    middle = [found[k, 5, 9] for k in (0, 4, 6, 8, 12, 15)]  # 1 mm deep in the narrow bar, 3 mm in the wide one
    assert middle == pytest.approx([0.25, 0.25, 0.375, 0.5, 0.75, 0.75])


def test_nearness_falls_with_the_millimetres_to_the_nearest_drawn_slice():
    found = places(edit_of(bar(4, 3) | bar(12, 3), [4, 12]), spacing=(3.0, 1.0, 1.0))[NEARNESS]
    assert found[[4, 5, 8, 15], 0, 0] == pytest.approx([1, math.exp(-3 / 4), math.exp(-12 / 4), math.exp(-9 / 4)])


def test_in_plane_distances_are_millimetres():
    found = places(edit_of(bar(8, 5), [8]), spacing=(1.0, 1.0, 2.0))[CARRIED]
    assert found[3, 5, 7:12].tolist() == [0, 0.5, 1, 0.5, 0]


def test_the_drawing_itself_is_shown_on_its_slices_alone():
    found = places(edit_of(bar(8, 5), [8]))[SHOWN]
    assert found[8, 5, 6:13].tolist() == [-1, 1, 1, 1, 1, 1, -1]
    assert not np.delete(found, 8, axis=0).any()


def test_depth_in_the_prediction_is_the_same_in_a_part_of_the_image():
    edit = edit_of(bar(8, 5), [8], predicted=ball())
    box = box_of([(5, 11), (6, 12), (7, 15)])
    for number in range(4):
        part = places(edit, box=box)[number]
        assert np.array_equal(part, places(edit)[number][slices_of(box)])


def test_an_erased_slice_is_far_outside_everywhere():
    found = places(edit_of(np.zeros(SHAPE, bool), [8], predicted=ball()))
    assert (found[CARRIED] == -2).all()
    assert (found[SHOWN][8] == -1).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_image_with_other_axes_gives_the_same_places_on_other_axes(axis):
    drawn, order = bar(8, 5), np.roll(range(3), -axis).tolist()
    expected = places(edit_of(drawn, [8], predicted=ball()), spacing=(3.0, 1.0, 2.0))
    turned = edit_of(drawn.transpose(order), [8], axis=order.index(0), predicted=ball().transpose(order))
    spacing = tuple((3.0, 1.0, 2.0)[a] for a in order)
    found = places(turned, spacing=spacing, box=whole(turned.drawn.shape))
    assert np.allclose(found, expected.transpose(0, *(1 + a for a in order)), atol=1e-6)


def test_a_flipped_image_gives_flipped_places():
    edit = edit_of(bar(5, 5), [5], predicted=ball())
    flipped = edit_of(bar(5, 5)[::-1], [SHAPE[0] - 6], predicted=ball()[::-1])
    assert np.allclose(places(flipped), places(edit)[:, ::-1])


def test_distances_to_no_outline_are_endless():
    assert (depth_mm(np.zeros((2, 3, 4), bool), ISOTROPIC) == -np.inf).all()
    assert (depth_mm(np.ones((2, 3, 4), bool), ISOTROPIC) == np.inf).all()


# ---- samples


def test_samples_are_the_voxels_of_the_drawn_slice_near_either_contour(model):
    session = started(model, spacing=(1.5, 1.0, 2.0))
    edit = session.propagation.network_edit([moved(session)])
    spacing = session.propagation.network_spacing_mm
    found = drawn_samples(session.cache, edit, spacing)
    plane = edit.drawn[8] | edit.window_prediction[8]
    either = np.argwhere(plane) * spacing[1:]
    grid = np.stack(np.indices(plane.shape), -1) * spacing[1:]
    distance = np.sqrt(((grid[:, :, None] - either) ** 2).sum(-1)).min(-1)
    near = distance <= RING_MM
    assert len(found) == near.sum()
    assert sorted(found.drawn.tolist()) == sorted(edit.drawn[8][near].astype(float).tolist())
    logit = target_logit(session.cache, session.cache.windows[0], box_of([(8, 9), (0, SHAPE[1]), (0, SHAPE[2])]))
    assert torch.equal(found.logit.sort().values, logit[0][torch.from_numpy(near)].sort().values)
    assert set(found.quarter.tolist()) == {0, 1, 2, 3}


def test_features_are_interpolated_as_torch_grows_them(model):
    session = started(model)
    window, cache = session.cache.windows[0], session.cache
    box = box_of([(3, 12), (2, 17), (4, 15)])
    f = window.features[0].f
    grown = F.interpolate(f, [b - a for a, b in window.network_box], mode="trilinear", align_corners=False)
    expected = cache.prepared.grid.to_image(grown, tuple(a for a, _ in window.network_box), box)[0]
    assert torch.allclose(features_on_image(cache, window, 0, box), expected, atol=1e-5)
    weights = torch.randn(2, f.shape[1], generator=torch.Generator().manual_seed(0))
    summed = torch.einsum("kc,cdhw->kdhw", weights, expected)
    assert torch.allclose(features_on_image(cache, window, 0, box, weights), summed, atol=1e-4)


def test_cells_of_f_lie_in_the_middle_of_the_voxels_that_they_cover():
    grid = GridMap(whole((8, 8, 8)), (16, 8, 8))  # two voxels of the network for one of the image, along the first axis
    cells = grid_of_features(grid, box_of([(4, 12), (0, 8), (0, 8)]), (2, 2, 8))
    assert cells.linear == (pytest.approx((-1.25, 0.5)), pytest.approx((-0.375, 0.25)), pytest.approx((0.0, 1.0)))


def test_the_smoothed_image_is_the_mean_over_millimetres_to_each_side(model):
    session = started(model)
    box = box_of([(6, 7), (8, 9), (9, 10)])
    seen = session.cache.prepared.network_input[0].numpy()
    maps = image_maps(session.cache, box, (1.0, 2.0, 4.0)).flatten().tolist()
    assert maps == pytest.approx([seen[6, 8, 9], seen[4:9, 7:10, 8:11].mean(), seen[2:11, 6:11, 8:11].mean()], abs=1e-5)


def test_an_image_thinner_than_what_it_is_smoothed_over_is_smoothed_as_far_as_it_goes(model):
    session = Session(model, SessionSettings())
    image = np.random.default_rng(0).normal(size=(3, 18, 20)).astype(np.float32)
    session.set_image(SourceVolume(image[None], np.eye(4)), ball()[7:10])
    seen = session.cache.prepared.network_input[0].numpy()
    found = image_maps(session.cache, box_of([(1, 2), (8, 9), (9, 10)]), ISOTROPIC)[2].item()
    assert found == pytest.approx(seen[:, 4:13, 5:14].mean(), abs=1e-5)


# ---- all of it


def test_maps_and_numbers_are_as_many_for_every_model(model, tmp_path):
    other = NnunetModel.load(write_nnunet_folder(tmp_path, features=(6, 10, 12), folds=("0", "1")), device="cpu")
    for one in (model, other):
        session = started(one)
        found = evidence_of(session, [moved(session)])
        assert found.maps.shape == (MAPS, *SHAPE)
        assert found.numbers.shape == (NUMBERS,)
        assert found.maps.isfinite().all()
        assert found.maps.abs().max() <= 2.0


def test_maps_of_a_part_are_a_part_of_the_maps(model):
    session = started(model)
    propagation = session.propagation
    edit, spacing = propagation.network_edit([moved(session)]), propagation.network_spacing_mm
    updated, _ = propagation.updated_features(edit)
    context = EvidenceContext.of(session.cache, edit, spacing)
    outer, box = whole(SHAPE), box_of([(4, 11), (3, 12), (6, 20)])
    logits = UpdatedLogits.of(session.cache, 0, updated)
    all_of_it, part = (far_evidence(edit, logits, context, spacing, b) for b in (outer, box))
    assert torch.allclose(part.maps, all_of_it.maps[(slice(None), *slices_of(inside_of(box, outer)))], atol=1e-5)


def test_the_update_is_seen_where_it_moved_the_decode_and_nowhere_else(model):
    session = started(model)
    edit = session.propagation.network_edit([moved(session)])
    updated, _ = session.propagation.updated_features(edit)
    seen, blind = (evidence_of(session, [moved(session)], of).maps[2] for of in (updated, ()))
    assert not blind.any()
    assert seen[8].abs().max() > 0.01
    features, window = session.cache.windows[0].features[0], session.cache.windows[0]
    f = features.f.clone()
    f[(0, slice(None), *slices_of(updated[0].box))] = updated[0].values
    logits = session.model.splits[0].decode(features, f, True)
    origin = tuple(a for a, _ in window.network_box)
    decoded = [session.cache.prepared.grid.to_image(z, origin, whole(SHAPE)) for z in (logits, features.logits)]
    after, before = (session.model.target_logit(z)[0].clamp(-10, 10) for z in decoded)
    assert torch.allclose(seen, torch.tanh((after - before) / 2), atol=1e-4)


@pytest.mark.parametrize("case", ["nothing drawn", "nothing predicted", "several edits", "all drawn"])
def test_odd_edits_give_finite_evidence(model, case):
    session = started(model)
    edits = [moved(session)]
    if case == "nothing drawn":
        edits = [replace(edits[0], mask=np.zeros(SHAPE[1:], bool))]
    if case == "all drawn":
        edits = [replace(edits[0], mask=np.ones(SHAPE[1:], bool))]
    if case == "several edits":
        edits = [moved(session, 6), moved(session, 11)]
    edit = session.propagation.network_edit(edits)
    if case == "nothing predicted":
        edit = replace(edit, window_prediction=np.zeros(SHAPE, bool))
    context = EvidenceContext.of(session.cache, edit, ISOTROPIC)
    found = far_evidence(edit, UpdatedLogits.of(session.cache, 0, ()), context, ISOTROPIC, whole(SHAPE))
    assert found.maps.isfinite().all()
    assert found.numbers.isfinite().all()


def test_without_a_drawing_or_a_prediction_in_a_window_there_is_no_evidence(model):
    session = started(model)
    edit = edit_of(np.zeros(SHAPE, bool), [8])
    assert EvidenceContext.of(session.cache, edit, ISOTROPIC) is None


def test_brightness_is_a_half_inside_the_drawing_and_less_than_zero_by_as_much_outside(model):
    """Of an image of two values, whichever is brighter."""
    image = np.where(ball(), -3.0, 5.0).astype(np.float32)
    session = Session(model, SessionSettings())
    session.set_image(SourceVolume(image[None], np.eye(4)), ball())
    found = evidence_of(session, [SliceEdit(0, 8, ball()[8])]).maps[-6]
    assert torch.allclose(found, torch.from_numpy(np.where(ball(), 0.5, -0.5)).float(), atol=1e-4)
