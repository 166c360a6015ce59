"""The grid of a wanted spacing, worked by hand."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.registration.spacing_grid import grid_with_spacing
from pet_phantom import empty, rotation


def test_spacing_size_and_origin_worked_by_hand():
    # 10 x 20 x 6 voxels of 2 x 1 x 3 mm measure 20 x 20 x 18 mm: 20, 10 and 7.2 -> 7 voxels of 1 x 2 x 2.5 mm.
    # The corner lies at -(1, 0.5, 1.5); the first voxel half a new one further, along k after half of 18 - 17.5 mm.
    image = empty((10, 20, 6), (2.0, 1.0, 3.0))
    image.SetOrigin((0.0, 0.0, 0.0))

    grid = grid_with_spacing(image, (1.0, 2.0, 2.5))

    assert grid.GetSize() == (20, 10, 7)
    assert grid.GetSpacing() == (1.0, 2.0, 2.5)
    assert grid.GetOrigin() == pytest.approx((-1 + 0.5, -0.5 + 1.0, -1.5 + 0.25 + 1.25))


def test_the_spacing_belongs_to_the_patient_s_axes_however_the_array_runs():
    # i to posterior, j to inferior, k to left
    sagittal = empty((40, 50, 30), (1.0, 1.0, 2.0), direction=[[0, 0, 1], [1, 0, 0], [0, -1, 0]])

    grid = grid_with_spacing(sagittal, (1.0, 2.0, 2.5))

    assert grid.GetSpacing() == (2.0, 2.5, 1.0)
    assert grid.GetSize() == (20, 20, 60)
    assert grid.GetDirection() == sagittal.GetDirection()


def test_every_new_voxel_s_centre_lies_in_the_old_extent():
    image = empty((33, 27, 11), (1.3, 0.9, 4.1), centre=(5, -7, 30), direction=rotation(25))

    for spacing in ((1.0, 2.0, 2.5), (0.7, 3.3, 5.9), (1.3, 0.9, 4.1)):
        grid = grid_with_spacing(image, spacing)
        for corner in np.ndindex(2, 2, 2):
            point = grid.TransformIndexToPhysicalPoint(
                [int((n - 1) * c) for n, c in zip(grid.GetSize(), corner, strict=True)]
            )
            index = np.array(image.TransformPhysicalPointToContinuousIndex(point))
            assert (index >= -0.5).all()
            assert (index <= np.array(image.GetSize()) - 0.5).all()


@pytest.mark.parametrize("spacing", [(0.0, 2.0, 2.5), (1.0, -2.0, 2.5), (1.0, 2.0, float("nan")), (1.0, 2.0)])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(UserInputError, match="three positive numbers"):
        grid_with_spacing(empty((10, 10, 10), (1.0, 1.0, 1.0)), spacing)


def test_a_spacing_that_leaves_one_voxel_is_refused():
    with pytest.raises(UserInputError, match="10 x 10 x 1 voxels"):
        grid_with_spacing(empty((10, 10, 10), (1.0, 1.0, 1.0)), (1.0, 1.0, 9.0))
