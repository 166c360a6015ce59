import numpy as np
import pytest
import slicer
import vtk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.volume_nodes import add_volume, deferred_source_volume
from context_propagation.mrml.nodes.world_matrices import RAS_TO_LPS


def test_round_trip_keeps_voxels_and_places(case):
    again = deferred_source_volume([case.volume])()

    assert np.array_equal(again.channels, case.source.channels)
    assert np.allclose(again.ijk_to_lps, case.source.ijk_to_lps)


def test_voxels_are_those_of_the_call_whatever_the_node_is_given_meanwhile(case):
    convert = deferred_source_volume([case.volume])
    image = case.volume.GetImageData()

    image.AllocateScalars(image.GetScalarType(), 1)  # as filters do that write where they read
    image.GetPointData().GetScalars().Fill(7)

    assert np.array_equal(convert().channels, case.source.channels)


def test_voxels_outlive_their_node(case):
    convert = deferred_source_volume([case.volume])

    case.volume.SetAndObserveImageData(None)
    case.scene.RemoveNode(case.volume)

    assert np.array_equal(convert().channels, case.source.channels)


def test_channels_come_in_the_order_of_the_nodes(case):
    pet = add_volume(case.scene, SourceVolume(case.source.channels * 2, case.source.ijk_to_lps), "PET")

    both = deferred_source_volume([pet, case.volume])()

    assert np.array_equal(both.channels[0], 2 * both.channels[1])


def test_parent_transforms_enter_the_matrix_and_leave_voxels_alone(case, rotate):
    outer, inner = case.transform(rotate(30, (0, 0, 1))), case.transform(rotate(-50, (1, 1, 0)))
    inner.SetAndObserveTransformNodeID(outer.GetID())
    case.volume.SetAndObserveTransformNodeID(inner.GetID())

    moved = deferred_source_volume([case.volume])()

    world = rotate(30, (0, 0, 1)) @ rotate(-50, (1, 1, 0)) @ RAS_TO_LPS @ case.source.ijk_to_lps
    assert np.array_equal(moved.channels, case.source.channels)
    assert np.allclose(moved.ijk_to_lps, RAS_TO_LPS @ world)


def test_nodes_that_lie_apart_only_through_a_transform_are_refused(case):
    pet = add_volume(case.scene, case.source, "PET")
    shift = np.eye(4)
    shift[0, 3] = 2
    pet.SetAndObserveTransformNodeID(case.transform(shift).GetID())

    with pytest.raises(UserInputError, match=r"'PET' .* not on the grid of 'CT' .*press Align"):
        deferred_source_volume([case.volume, pet])()


def test_nodes_of_other_size_are_refused(case):
    small = SourceVolume(case.source.channels[:, 1:], case.source.ijk_to_lps)

    with pytest.raises(UserInputError, match=r"size \[16, 13, 9\]"):
        deferred_source_volume([case.volume, add_volume(case.scene, small, "PET")])()


def test_a_warping_transform_is_refused_with_the_remedy(case):
    node = case.scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    warp = vtk.vtkThinPlateSplineTransform()
    warp.SetSourceLandmarks(vtk.vtkPoints())
    for number, points in enumerate((vtk.vtkPoints(), vtk.vtkPoints())):
        for index, place in enumerate([(0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (9, 9, 9)]):
            points.InsertNextPoint(*[p + number * index for p in place])
        (warp.SetTargetLandmarks if number else warp.SetSourceLandmarks)(points)
    warp.SetBasisToR()
    node.SetAndObserveTransformToParent(warp)
    case.volume.SetAndObserveTransformNodeID(node.GetID())

    with pytest.raises(UserInputError, match=r"'CT' is under the transform 'Warp'.*harden"):
        deferred_source_volume([case.volume])()


def test_an_empty_volume_node_is_refused(case):
    empty = case.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")

    with pytest.raises(UserInputError, match="'Nothing' has no voxels"):
        deferred_source_volume([empty])()


def test_no_volume_is_refused():
    with pytest.raises(UserInputError, match="No volume is selected"):
        deferred_source_volume([])()


def test_a_color_image_is_refused(case):
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node = slicer.vtkMRMLVectorVolumeNode()
    node.SetName("Photo")
    node.SetAndObserveImageData(image)

    with pytest.raises(UserInputError, match="'Photo' has 3 components"):
        deferred_source_volume([node])()
