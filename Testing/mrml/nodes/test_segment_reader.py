import numpy as np
import pytest
from vtk.util.numpy_support import vtk_to_numpy

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.segment_reader import SegmentReader
from context_propagation.mrml.nodes.segments import segment_mask
from context_propagation.mrml.nodes.world_matrices import to_vtk


@pytest.fixture
def reader(case):
    segment_id = case.add(case.target)
    reader = SegmentReader(case.segmentation, segment_id, case.volume)
    reader.segment_id = segment_id
    return reader


def on_image(own):
    return own.grid.to_image(own.mask).mask


def labelmap_array(case, segment_id):
    segment = case.segmentation.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation("Binary labelmap")
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def test_an_unchanged_segment_is_read_once(case, reader):
    first = reader.read()

    assert reader.read() is first
    assert np.array_equal(on_image(first), case.target)


def test_a_voxel_that_changes_in_place_and_tells_no_one_is_seen(case, reader):
    before = on_image(reader.read())
    voxels = labelmap_array(case, reader.segment_id)
    k, j, i = np.argwhere(voxels)[0]
    voxels[k, j, i] = 0  # no time is changed by this, as by Slicer's own removal of voxels

    after = on_image(reader.read())

    assert (before ^ after).sum() == 1
    assert np.array_equal(after, segment_mask(case.segmentation, reader.segment_id, case.volume))


def test_a_segment_that_was_moved_is_read_again(case, reader):
    reader.read()
    shifted = np.eye(4)
    shifted[:3, 3] = 3.0
    transform = case.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(shifted))
    case.segmentation.SetAndObserveTransformNodeID(transform.GetID())

    moved = on_image(reader.read())

    assert np.array_equal(moved, segment_mask(case.segmentation, reader.segment_id, case.volume))


def test_what_cannot_be_read_any_more_is_refused_though_it_was_read_before(case, reader):
    reader.read()
    case.segmentation.GetSegmentation().RemoveSegment(reader.segment_id)

    with pytest.raises(UserInputError, match="has no segment"):
        reader.read()
