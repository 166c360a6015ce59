import itertools

import numpy as np
import pytest
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.segments import add_segmentation, convert_to_binary_labelmap, segment_mask
from context_propagation.mrml.nodes.world_matrices import to_vtk


def test_round_trip_on_the_volume_grid_is_exact(case):
    assert np.array_equal(case.read(case.add(case.target)), case.target)


def test_name_and_color_are_kept(case):
    segment = case.segmentation.GetSegmentation().GetSegment(case.add(case.target, "Bladder", (0.2, 0.4, 0.6)))

    assert segment.GetName() == "Bladder"
    assert segment.GetColor() == pytest.approx((0.2, 0.4, 0.6))


def test_segments_that_share_a_layer_are_read_one_by_one(case, draw_ellipsoid):
    first = case.add(case.target)
    other = draw_ellipsoid(case.shape, (1, 1, 1), (2, 2, 2)) & ~case.target
    second = case.add(other)
    case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)

    assert case.segmentation.GetSegmentation().GetNumberOfLayers() == 1
    assert np.array_equal(case.read(first), case.target)
    assert np.array_equal(case.read(second), other)


def test_overlapping_segments_keep_their_voxels(case):
    first, second = case.add(case.target), case.add(np.roll(case.target, 2, axis=2))
    case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)

    assert np.array_equal(case.read(first), case.target)
    assert np.array_equal(case.read(second), np.roll(case.target, 2, axis=2))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_permuted_and_flipped_segment_grids_read_exactly(case, order, signs):
    volume_from_grid = np.zeros((4, 4))
    volume_from_grid[3, 3] = 1
    sizes_ijk = case.shape[::-1]
    for row, column in enumerate(order):
        volume_from_grid[row, column] = signs[row]
        volume_from_grid[row, 3] = 0 if signs[row] > 0 else sizes_ijk[row] - 1
    shape = tuple(sizes_ijk[list(order).index(column)] for column in (2, 1, 0))

    segment_id = case.add_on_grid(volume_from_grid, shape, case.nearest(case.target))

    assert np.array_equal(case.read(segment_id), case.target)


def test_a_smaller_extent_with_an_offset_reads_exactly(case):
    start = (1, 2, 2)
    shape = (9, 9, 11)

    segment_id = case.add_on_grid(np.eye(4), shape, case.nearest(case.target), start=start)

    assert np.array_equal(case.read(segment_id), case.target)


def test_a_rotated_finer_segment_grid_reads_the_same_anatomy(case, rotate):
    volume_from_grid = rotate(25, (1, 1, 0)) @ np.diag([0.25, 0.25, 0.25, 1])
    volume_from_grid[:3, 3] = (-6, -8, -8)

    def smooth(kji):
        return sum(((p - c) / r) ** 2 for p, c, r in zip(kji, (5, 6, 7), (3, 3, 4), strict=True)) <= 1

    mask = case.read(case.add_on_grid(volume_from_grid, (120, 120, 120), smooth))

    dice = 2 * (mask & case.target).sum() / (mask.sum() + case.target.sum())
    assert dice > 0.95


def test_the_segmentation_may_lie_under_a_transform_of_its_own(case, rotate):
    segment_id = case.add(case.target)
    matrix = rotate(40, (1, 0, 2))
    transform = case.transform(matrix)
    case.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    case.volume.SetAndObserveTransformNodeID(transform.GetID())

    assert np.array_equal(case.read(segment_id), case.target)


def test_a_segment_added_across_different_transforms_reads_back(case, rotate):
    case.volume.SetAndObserveTransformNodeID(case.transform(rotate(40, (1, 0, 2))).GetID())
    case.segmentation.SetAndObserveTransformNodeID(case.transform(rotate(-70, (0, 1, 1))).GetID())

    assert np.array_equal(case.read(case.add(case.target)), case.target)


def test_a_shift_by_one_voxel_moves_the_mask_by_one_voxel(case):
    segment_id = case.add(case.target)
    shift = np.eye(4)
    direction = case.source.ijk_to_lps[:3, 0] * (-1, -1, 1)
    shift[:3, 3] = direction
    case.segmentation.SetAndObserveTransformNodeID(case.transform(shift).GetID())

    assert np.array_equal(case.read(segment_id), np.roll(case.target, 1, axis=2))


def test_an_empty_segment_gives_an_empty_mask(case):
    segment_id = case.segmentation.GetSegmentation().AddEmptySegment("", "Empty")

    assert not case.read(segment_id).any()


def test_an_unknown_segment_is_named_with_those_that_exist(case):
    segment_id = case.add(case.target)

    with pytest.raises(UserInputError, match=f"no segment 'Nope'; its segments are: {segment_id}"):
        case.read("Nope")


def test_a_segment_outside_the_volume_is_refused(case):
    segment_id = case.add(case.target)
    far = np.eye(4)
    far[0, 3] = 500
    case.segmentation.SetAndObserveTransformNodeID(case.transform(far).GetID())

    with pytest.raises(UserInputError, match="covers no voxel of volume 'CT'"):
        case.read(segment_id)


def test_a_mask_of_another_shape_is_refused(case):
    with pytest.raises(UserInputError, match=r"shape \(9, 13, 16\)"):
        case.add(case.target[1:])


def surface_only(case):
    segment_id = case.add(case.target)
    segmentation = case.segmentation.GetSegmentation()
    surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    assert segmentation.CreateRepresentation(surface)
    segmentation.SetSourceRepresentationName(surface)
    segmentation.RemoveRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName())
    return segment_id


def test_closed_surfaces_are_not_converted_without_being_asked(case):
    segment_id = surface_only(case)

    with pytest.raises(UserInputError, match="stored as 'Closed surface'; convert it"):
        case.read(segment_id)
    with pytest.raises(UserInputError, match="stored as 'Closed surface'; convert it"):
        case.add(case.target)


def test_closed_surfaces_are_readable_after_the_conversion(case):
    segment_id = surface_only(case)

    convert_to_binary_labelmap(case.segmentation, case.volume)

    segment = case.segmentation.GetSegmentation().GetSegment(segment_id)
    assert segment.GetRepresentation("Closed surface").GetNumberOfPoints() > 0  # shown in 3D as before
    mask = case.read(segment_id)
    assert 2 * (mask & case.target).sum() / (mask.sum() + case.target.sum()) > 0.85


def test_a_second_volume_reads_the_same_segment_on_its_own_grid(case, make_case):
    segment_id = case.add(case.target)
    coarse = make_case(shape=(5, 6, 8), scene=case.scene)
    matrix = case.source.ijk_to_lps @ np.diag([2, 2, 2, 1])
    matrix[:2] *= -1
    coarse.volume.SetIJKToRASMatrix(to_vtk(matrix))

    assert np.array_equal(segment_mask(case.segmentation, segment_id, coarse.volume), case.target[::2, :12:2, ::2])


def test_a_new_segmentation_lies_under_the_transform_of_its_volume(case, rotate):
    transform = case.transform(rotate(40, (1, 0, 2)))
    case.volume.SetAndObserveTransformNodeID(transform.GetID())

    assert add_segmentation(case.scene, case.volume, "S").GetTransformNodeID() == transform.GetID()
