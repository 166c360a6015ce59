"""Accuracy measures on hand-worked masks, and against SimpleITK, NumPy and DeepMind's surface-distance."""

import math
import warnings

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.measures.accuracy import (
    Measures,
    added_path_length_mm,
    measure,
    measure_scopes,
    near_slices,
    scope_slices,
)

ANISOTROPIC = (3.0, 2.0, 0.5)


def ellipsoid(centre=(12.0, 16.0, 18.0), radii_mm=(24.0, 14.0, 12.0), spacing=(3.0, 1.5, 1.0)) -> np.ndarray:
    grid = np.indices((25, 33, 37), dtype=float)
    inside = sum(((x - c) * mm / r) ** 2 for x, c, mm, r in zip(grid, centre, spacing, radii_mm, strict=True))
    return inside <= 1


def random_masks() -> tuple[np.ndarray, np.ndarray]:
    a, b = np.random.default_rng(0).random((2, 6, 7, 8)) > 0.5
    return a, b


def surface_distances(truth, predicted, spacing):
    """Of DeepMind's package, which calls names that SciPy has deprecated."""
    package = pytest.importorskip("surface_distance")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return package, package.compute_surface_distances(truth, predicted, spacing)


def test_overlap_measures_of_hand_worked_masks():
    truth = np.zeros((3, 3, 3), bool)
    predicted = np.zeros((3, 3, 3), bool)
    truth[1, 1, :] = True
    predicted[1, 1, 1:] = predicted[1, 2, 1:] = True

    found = measure(predicted, truth, (1, 1, 1))

    assert found.dsc == pytest.approx(2 * 2 / (3 + 4))
    assert found.sensitivity == pytest.approx(2 / 3)
    assert found.specificity == pytest.approx(22 / 24)  # of 24 negatives, 2 are included


def test_hausdorff_distance_is_in_millimetres_along_each_axis():
    truth = np.zeros((5, 5, 5), bool)
    truth[1, 1, 1] = True
    for axis, mm in enumerate(ANISOTROPIC):
        assert measure(np.roll(truth, 2, axis), truth, ANISOTROPIC).hd95_mm == pytest.approx(2 * mm)


def test_hausdorff_distance_leaves_out_the_farthest_twentieth():
    truth = np.zeros((1, 1, 60), bool)
    truth[..., :40] = True
    predicted = truth.copy()
    predicted[..., 40:42] = True  # 2 of 42 outer voxels are 1 and 2 voxels away: the 95th percentile is still 0

    assert measure(predicted, truth, (1, 1, 2)).hd95_mm == 0
    predicted[..., 42:44] = True  # 4 of 44: quantile 0.95 lies at position 40.85 of 0 ... 0 (39), 1, 2, 3, 4 voxels
    assert measure(predicted, truth, (1, 1, 2)).hd95_mm == pytest.approx(2 * 1.85)


def test_surfaces_within_two_millimetres_agree_and_beyond_they_do_not():
    # a plate's two faces weigh far more than its rim
    truth = np.zeros((12, 40, 40), bool)
    truth[3, 2:38, 2:38] = True

    assert measure(np.roll(truth, 2, 0), truth, (1.0, 1.0, 1.0)).surface_dice_2mm == 1
    # 3 slices away: the near face is 2 mm from the truth's, the far one 3 mm
    assert measure(np.roll(truth, 3, 0), truth, (1.0, 1.0, 1.0)).surface_dice_2mm == pytest.approx(0.5, abs=0.03)
    assert measure(np.roll(truth, 2, 0), truth, (3.0, 1.0, 1.0)).surface_dice_2mm == 0


def test_added_path_length_counts_the_truths_contour_that_the_prediction_lacks():
    truth = np.zeros((3, 6, 6), bool)
    predicted = np.zeros((3, 6, 6), bool)
    truth[1, 1:5, 1:5] = True  # contour of 12 pixels
    predicted[1, 1:5, 1:4] = True  # its contour of 10 pixels has all of the truth's but the right column's 4

    assert added_path_length_mm(predicted, truth, (5.0, 2.0, 2.0), axis=0) == pytest.approx(4 * 2.0)
    assert measure(predicted, truth, (5.0, 2.0, 2.0)).added_path_length_mm == pytest.approx(4 * 2.0)
    # the other way round: the column i = 3, of which rows 1 and 4 are in the truth's contour: 2 pixels
    assert added_path_length_mm(truth, predicted, (5.0, 2.0, 2.0), axis=0) == pytest.approx(2 * 2.0)


def test_added_path_length_is_drawn_on_the_slices_of_the_given_axis():
    truth = np.zeros((3, 6, 6), bool)
    truth[1, 1:5, 1:5] = True
    empty = np.zeros_like(truth)

    assert added_path_length_mm(empty, truth, (8.0, 2.0, 3.0), axis=0) == pytest.approx(12 * math.sqrt(2 * 3))
    # seen along i it is 4 slices with a line of 4 pixels each, all of them contour
    assert added_path_length_mm(empty, truth, (8.0, 2.0, 3.0), axis=2) == pytest.approx(16 * math.sqrt(8 * 2))


def test_the_pictures_border_is_contour_too():
    full = np.ones((1, 4, 5), bool)
    assert added_path_length_mm(np.zeros_like(full), full, (1, 1, 1), axis=0) == 4 * 5 - 2 * 3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_added_path_length_equals_scipys(axis):
    from scipy.ndimage import binary_erosion

    a, b = random_masks()
    cross = np.expand_dims(np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool), axis)
    contours = [mask & ~binary_erosion(mask, cross) for mask in (a, b)]
    expected = (contours[1] & ~contours[0]).sum()

    assert added_path_length_mm(a, b, (1, 1, 1), axis) == expected


def test_empty_masks():
    empty, some = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    some[1, 1] = True

    assert measure(empty, empty, (1, 1, 1)) == Measures(1, 0, 1, 1, 1, 0)
    assert measure(empty, some, (1, 1, 1)) == Measures(0, math.inf, 0, 1, 0, 3)
    assert measure(some, empty, (1, 1, 1)) == Measures(0, math.inf, 1, pytest.approx(24 / 27), 0, 0)


def test_a_truth_that_fills_the_volume_has_no_negatives():
    full = np.ones((3, 3, 3), bool)
    assert measure(full, full, (1, 1, 1)) == Measures(1, 0, 1, 1, 1, 0)


def test_dice_equals_simpleitks():
    a, b = random_masks()
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)))
    assert measure(a, b, (1, 1, 1)).dsc == pytest.approx(overlap.GetDiceCoefficient())


def test_sensitivity_and_specificity_equal_numpys_though_the_box_is_cut():
    a, b = (np.pad(mask, 3) for mask in random_masks())
    found = measure(a, b, (1, 1, 1))
    assert found.sensitivity == pytest.approx((a & b).sum() / b.sum())
    assert found.specificity == pytest.approx((~a & ~b).sum() / (~b).sum())


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 0, 0), (0, 2, 0), (1, 1, 3)])
def test_surface_dice_equals_deepminds(shift):
    truth = ellipsoid()
    predicted = np.roll(truth, shift, (0, 1, 2))
    predicted[:, :10] = False
    spacing = (3.0, 1.5, 1.0)

    package, distances = surface_distances(truth, predicted, spacing)

    # both weigh the same surface elements between voxel centres; MONAI does so in float32
    expected = package.compute_surface_dice_at_tolerance(distances, 2.0)
    assert measure(predicted, truth, spacing).surface_dice_2mm == pytest.approx(expected, abs=1e-5)


def test_hausdorff_distance_equals_deepminds_for_voxels_far_apart():
    truth = np.zeros((12, 12, 12), bool)
    truth[2, 2, 2] = True
    for axis in range(3):
        predicted = np.roll(truth, 7, axis)
        package, distances = surface_distances(truth, predicted, ANISOTROPIC)
        expected = package.compute_robust_hausdorff(distances, 95)
        assert measure(predicted, truth, ANISOTROPIC).hd95_mm == pytest.approx(expected)


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 2, 0), (0, 0, 3)])
def test_hausdorff_distance_is_close_to_deepminds_on_smooth_shapes(shift):
    # DeepMind's percentile is over surface area and at voxel corners, MONAI's over outer voxels and at their centres:
    # each end of a distance differs by at most half a voxel's diagonal, so the distance by at most one diagonal
    truth, spacing = ellipsoid(), (3.0, 1.5, 1.0)
    predicted = np.roll(truth, shift, (0, 1, 2))
    package, distances = surface_distances(truth, predicted, spacing)
    expected = package.compute_robust_hausdorff(distances, 95)

    assert measure(predicted, truth, spacing).hd95_mm == pytest.approx(expected, abs=math.hypot(*spacing))
    assert measure(predicted, truth, spacing).hd95_mm == pytest.approx(math.hypot(*np.multiply(shift, spacing)), abs=1)


def test_near_slices_stop_at_the_border():
    mask = np.arange(6).reshape(6, 1, 1)
    assert near_slices(mask, 0, 1, 2).ravel().tolist() == [0, 1, 2, 3]


def test_near_and_far_slices_of_several_edits_are_all_slices():
    assert scope_slices("near", 12, [1, 7], 2) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert scope_slices("far", 12, [1, 7], 2) == [4, 10, 11]
    assert scope_slices("whole", 3, [1], 2) == [0, 1, 2]


def test_an_unknown_scope_is_named():
    with pytest.raises(ValueError, match="'middle' is unknown; take one of whole, near, far"):
        scope_slices("middle", 5, [1], 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("scope", ["near", "far"])
def test_overlap_and_path_on_a_scope_equal_those_of_its_slices(axis, scope):
    a, b = random_masks()
    slices = scope_slices(scope, a.shape[axis], [3], 1)
    expected = measure(a.take(slices, axis), b.take(slices, axis), ANISOTROPIC, axis)

    scopes = measure_scopes(a, b, ANISOTROPIC, axis, [3], 1)

    found = getattr(scopes, scope)
    for name in ("dsc", "sensitivity", "specificity", "added_path_length_mm"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))
    assert scopes.whole == measure(a, b, ANISOTROPIC, axis)


def test_whole_distances_equal_monais_own():
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    a, b = random_masks()
    p, y = (torch.as_tensor(mask)[None, None].float() for mask in (a, b))
    found = measure(a, b, ANISOTROPIC)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hd95 = metrics.compute_hausdorff_distance(p, y, True, percentile=95, spacing=ANISOTROPIC)
        dice = metrics.compute_surface_dice(p, y, [2.0], True, spacing=ANISOTROPIC, use_subvoxels=True)
    assert found.hd95_mm == pytest.approx(float(hd95))
    assert found.surface_dice_2mm == pytest.approx(float(dice), abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("scope", ["near", "far"])
def test_distances_on_a_scope_are_those_of_its_surface_voxels_to_the_whole_other_surface(axis, scope):
    from scipy.ndimage import binary_erosion, distance_transform_edt

    a, b = random_masks()
    edges = [mask & ~binary_erosion(mask) for mask in (a, b)]
    on_scope = np.zeros(a.shape, bool)
    np.moveaxis(on_scope, axis, 0)[scope_slices(scope, a.shape[axis], [3], 1)] = True
    expected = max(
        np.percentile(distance_transform_edt(~other, ANISOTROPIC)[one & on_scope], 95)
        for one, other in (edges, edges[::-1])
    )
    assert getattr(measure_scopes(a, b, ANISOTROPIC, axis, [3], 1), scope).hd95_mm == pytest.approx(expected)


def test_a_cut_through_a_tube_is_no_surface():
    # concentric tubes of radius 10 and 15 mm along k, from end to end: every distance between their walls is about 5 mm
    j, i = np.ogrid[:41, :41]
    radius = np.hypot(j - 20, i - 20)[None].repeat(30, 0)
    truth, predicted = radius <= 10, radius <= 15

    scopes = measure_scopes(predicted, truth, (1.0, 1.0, 1.0), 0, [15])

    for found in (scopes.near, scopes.far):
        assert found.hd95_mm == pytest.approx(5, abs=0.7)
    assert scopes.near.surface_dice_2mm == 0
    cut_out = measure(near_slices(predicted, 0, 15, 2), near_slices(truth, 0, 15, 2), (1.0, 1.0, 1.0))
    assert cut_out.surface_dice_2mm > 0.4  # of the two ends alone
    # on the far slices lie the tubes' own ends, which agree up to radius 12, as do 2 mm of the inner wall at each end
    ends, walls = 2 * np.pi * (10**2 + 15**2), 2 * np.pi * (10 + 15) * 25
    agreeing = 2 * np.pi * (10**2 + 12**2) + 2 * 2 * (2 * np.pi * 10)
    assert scopes.far.surface_dice_2mm == pytest.approx(agreeing / (ends + walls), abs=0.02)


def test_distances_run_over_the_near_slices_to_where_the_other_surface_truly_is():
    # far voxels: one on slice 0 of the truth, one on slice 8 of the prediction; both masks have slice 4, which is near
    truth, predicted = np.zeros((2, 9, 2, 2), bool)
    truth[0, 0, 0] = predicted[8, 0, 0] = True
    truth[4] = predicted[4] = True

    scopes = measure_scopes(predicted, truth, ANISOTROPIC, 0, [4], 2)

    assert scopes.far.hd95_mm == pytest.approx(4 * 3.0)
    assert (scopes.far.dsc, scopes.far.sensitivity, scopes.far.surface_dice_2mm) == (0, 0, 0)
    assert scopes.far.specificity == pytest.approx(14 / 15)  # 4 far slices of 4 voxels, one of them positive
    assert scopes.near == Measures(1, 0, 1, 1, 1, 0)


def test_a_scope_in_which_one_mask_is_empty_has_no_distance():
    truth, predicted = np.zeros((2, 9, 3, 3), bool)
    truth[2:7] = predicted[4] = True
    truth[0, 1, 1] = True

    far = measure_scopes(predicted, truth, (1, 1, 1), 0, [4]).far

    assert far == Measures(0, math.inf, 0, 1, 0, 1)


def test_a_volume_without_far_slices_has_perfect_far_measures():
    a, b = random_masks()
    assert measure_scopes(a, b, ANISOTROPIC, 0, [3], 5).far == Measures(1, 0, 1, 1, 1, 0)


def test_two_empty_masks_are_perfect_in_every_scope():
    empty = np.zeros((9, 3, 3), bool)
    scopes = measure_scopes(empty, empty, (1, 1, 1), 0, [4])
    assert scopes.whole == scopes.near == scopes.far == Measures(1, 0, 1, 1, 1, 0)
