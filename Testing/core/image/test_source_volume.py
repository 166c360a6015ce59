"""Grids in patient space; expectations worked by hand."""

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import (
    SourceVolume,
    farthest_apart_mm,
    ijk_to_lps_of,
    same_grid,
)


def image(size=(4, 3, 2), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), direction=None) -> sitk.Image:
    made = sitk.GetImageFromArray(np.arange(np.prod(size), dtype=np.float32).reshape(size[::-1]))
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    if direction is not None:
        made.SetDirection(np.ravel(direction).tolist())
    return made


def rotation_about_superior(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def test_array_axes_are_k_j_i_and_spacing_follows_them():
    volume = SourceVolume.from_sitk([image((4, 3, 2), (0.5, 0.75, 3.0))])

    assert volume.channels.shape == (1, 2, 3, 4)
    assert volume.spacing_kji_mm == pytest.approx((3.0, 0.75, 0.5))


def test_a_voxel_lies_where_the_matrix_says():
    # i runs to the right (-L) in steps of 2, j to superior in steps of 3, k to posterior in steps of 4
    matrix = ijk_to_lps_of(image((5, 5, 5), (2, 3, 4), (10, 20, 30), [[-1, 0, 0], [0, 0, 1], [0, 1, 0]]))

    assert matrix @ [1, 2, 3, 1] == pytest.approx([10 - 2, 20 + 12, 30 + 6, 1])


def test_planes_of_an_image_that_runs_left_posterior_superior():
    assert SourceVolume.from_sitk([image()]).plane_of_axis == ("axial", "coronal", "sagittal")


def test_planes_of_a_sagittal_acquisition():
    # i to posterior, j to inferior, k to left
    volume = SourceVolume.from_sitk([image(direction=[[0, 0, 1], [1, 0, 0], [0, -1, 0]])])

    assert volume.plane_of_axis == ("sagittal", "axial", "coronal")
    assert [volume.axis_of_plane(plane) for plane in ("axial", "coronal", "sagittal")] == [1, 2, 0]


def test_planes_of_a_flipped_image_stay():
    volume = SourceVolume.from_sitk([image(direction=np.diag([-1.0, 1.0, -1.0]))])

    assert volume.plane_of_axis == ("axial", "coronal", "sagittal")


@pytest.mark.parametrize(
    ("degrees", "planes"),
    [
        (40, ("axial", "coronal", "sagittal")),
        (50, ("axial", "sagittal", "coronal")),
        (-130, ("axial", "sagittal", "coronal")),
    ],
)
def test_an_oblique_axis_takes_the_plane_it_is_closest_to(degrees, planes):
    volume = SourceVolume.from_sitk([image(direction=rotation_about_superior(degrees))])

    assert volume.plane_of_axis == planes


def test_an_unknown_plane_is_named():
    with pytest.raises(UserInputError, match="'oblique'; choose axial, sagittal or coronal"):
        SourceVolume.from_sitk([image()]).axis_of_plane("oblique")


def test_channels_on_different_grids_are_refused():
    with pytest.raises(UserInputError, match="not on the grid"):
        SourceVolume.from_sitk([image(), image(origin=(0.0, 0.0, 0.02))])


def test_grids_that_differ_by_rounding_are_the_same():
    assert same_grid(image(), image(origin=(0.0, 0.0, 1e-4)))
    pixels = ((512, 512, 2), 0.9765625), ((512, 512, 2), 0.97656)  # 511 * 0.0000025 mm apart: 0.0013 of a voxel
    a, b = (sitk.Image(size, sitk.sitkUInt8) for size, _ in pixels)
    for one, (_, spacing) in zip((a, b), pixels, strict=True):
        one.SetSpacing((spacing, spacing, 3.0))
    assert farthest_apart_mm(a, b) == pytest.approx(np.hypot(511, 511) * 0.0000025)
    assert same_grid(a, b)


def test_a_rotation_moves_the_far_corner_and_so_the_grid():
    large = (1001, 1001, 2)
    tilted = image(large, direction=rotation_about_superior(1e-3))  # 1000 mm * 1.7e-5 = 0.017 mm at the far corner

    assert not same_grid(image(large), tilted)


def test_grids_of_different_size_differ():
    assert not same_grid(image((4, 3, 2)), image((4, 3, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted_and_refused(value):
    channels = np.zeros((1, 2, 2, 2), np.float32)
    channels[0, 0, 0, :2] = value

    with pytest.raises(UserInputError, match="2 NaN or infinite voxels"):
        SourceVolume(channels, np.eye(4))


def test_a_single_slice_is_refused():
    with pytest.raises(UserInputError, match="not one slice"):
        SourceVolume(np.zeros((1, 1, 8, 8), np.float32), np.eye(4))


def test_an_array_without_channels_is_refused():
    with pytest.raises(UserInputError, match="give 3D volumes"):
        SourceVolume(np.zeros((8, 8, 8), np.float32), np.eye(4))


def test_a_colour_image_is_refused():
    colour = sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True)

    with pytest.raises(UserInputError, match="3 components"):
        SourceVolume.from_sitk([colour])


def test_a_mask_is_written_on_the_image_s_own_grid():
    source = image((4, 3, 2), (0.5, 0.75, 3.0), (10, -20, 30), rotation_about_superior(30))
    volume = SourceVolume.from_sitk([source])
    mask = np.zeros(volume.shape_kji, bool)
    mask[1, 2, 3] = True

    written = volume.mask_to_sitk(mask)

    assert same_grid(written, source)
    assert written[3, 2, 1] == 1
    assert sitk.GetArrayFromImage(written).sum() == 1


def test_a_sheared_grid_has_no_image_file():
    sheared = np.eye(4)
    sheared[0, 2] = 0.2
    volume = SourceVolume(np.zeros((1, 2, 2, 2), np.float32), sheared)

    with pytest.raises(UserInputError, match="sheared"):
        volume.mask_to_sitk(np.zeros((2, 2, 2), bool))
