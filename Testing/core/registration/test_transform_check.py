"""Displacement, folding and coverage of transforms that are known."""

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import Cancelled
from context_propagation.core.registration import transform_check
from context_propagation.core.registration.transform_check import check_transform, covered_share
from pet_phantom import empty, rotation


def affine(matrix, shift=(0.0, 0.0, 0.0)) -> sitk.AffineTransform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.ravel(matrix).astype(float).tolist())
    transform.SetTranslation(shift)
    return transform


def test_the_identity_moves_and_folds_nothing():
    check = check_transform(sitk.Transform(3, sitk.sitkIdentity), empty((7, 6, 5), (1.0, 2.0, 3.0)))

    assert (check.voxels, check.negative_jacobians) == (210, 0)
    assert (check.jacobian_min, check.jacobian_max) == (1, 1)
    assert check.displacement_max_mm == 0


@pytest.mark.parametrize("direction", [np.eye(3), rotation(40), rotation(40) @ np.diag([1, -1, 1])])
def test_the_jacobian_is_the_patient_frame_s_on_turned_and_flipped_grids(direction):
    # a shear with a stretch: determinant 1.5 * 0.8 - 0.6 * 0.5 = 0.9, everywhere, borders too
    transform = affine([[1.5, 0.6, 0], [0.5, 0.8, 0], [0, 0, 1]])

    check = check_transform(transform, empty((6, 5, 7), (1.0, 2.0, 3.0), direction=direction))

    assert (check.jacobian_min, check.jacobian_max) == pytest.approx((0.9, 0.9), abs=1e-4)


def test_displacements_of_a_shift():
    check = check_transform(
        affine(np.eye(3), (2.0, 3.0, 6.0)), empty((4, 4, 4), (1.0, 1.0, 1.0), direction=rotation(20))
    )

    assert (check.displacement_mean_mm, check.displacement_max_mm) == pytest.approx((7, 7))


def folding() -> sitk.Transform:
    """u = -2 x between x = 4 and x = 7 by its central differences: x + u runs backwards there."""
    field = np.zeros((5, 5, 12, 3))
    field[..., :, 0] = np.interp(np.arange(12), [4, 7], [0, -6])
    return sitk.DisplacementFieldTransform(sitk.GetImageFromArray(field, isVector=True))


def test_folded_voxels_are_counted():
    # u: 0 0 0 0 0 -2 -4 -6 -6 ...; derivative at 4: -1 (det 0), at 5 and 6: -2 (det -1), at 7: -1 (det 0)
    grid = empty((10, 3, 3), (1.0, 1.0, 1.0))
    grid.SetOrigin((1.0, 1.0, 1.0))

    check = check_transform(folding(), grid)

    assert check.negative_jacobians == 4 * 9
    assert check.negative_share == pytest.approx(0.4)
    assert check.jacobian_min == pytest.approx(-1)


def test_slabs_give_what_the_whole_grid_gives(monkeypatch):
    grid = empty((12, 10, 9), (2.0, 2.0, 2.0), direction=rotation(15))
    spline = sitk.BSplineTransformInitializer(grid, (2, 2, 2), 3)
    spline.SetParameters(np.random.default_rng(0).uniform(-25, 25, len(spline.GetParameters())).tolist())
    whole = check_transform(spline, grid)

    monkeypatch.setattr(transform_check, "SLAB_VOXELS", 240)  # two slices
    slabs = check_transform(spline, grid)

    assert slabs.negative_jacobians == whole.negative_jacobians > 0
    assert slabs.jacobian_min == pytest.approx(whole.jacobian_min)
    assert slabs.displacement_mean_mm == pytest.approx(whole.displacement_mean_mm)


def test_cancel_stops_the_check():
    with pytest.raises(Cancelled):
        check_transform(sitk.Transform(3, sitk.sitkIdentity), empty((4, 4, 4), (1, 1, 1)), cancelled=lambda: True)


def test_coverage_is_a_share_of_the_mask():
    mask = np.zeros((4, 4, 10), np.uint8)
    mask[:, :, 2:6] = 1
    body = sitk.GetImageFromArray(mask)
    moving = sitk.Image((5, 4, 4), sitk.sitkFloat32)  # reaches i = 0 to 4: 3 of the 4 columns

    assert covered_share(body, moving, sitk.Transform(3, sitk.sitkIdentity)) == pytest.approx(0.75)
    assert covered_share(body, moving, sitk.TranslationTransform(3, (-1.0, 0.0, 0.0))) == 1
    assert covered_share(body, moving, sitk.TranslationTransform(3, (50.0, 0.0, 0.0))) == 0
