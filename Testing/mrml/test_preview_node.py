import numpy as np
import pytest
import slicer
import vtk

from context_propagation.mrml.preview_node import PropagationPreview
from context_propagation.mrml.segments import segment_mask, segment_named


@pytest.fixture
def masks(case):
    added, removed = np.zeros(case.shape, bool), np.zeros(case.shape, bool)
    added[4, 5, 6], removed[6, 2:4, 3] = True, True
    return added, removed


def test_it_shows_what_is_added_and_removed_on_the_volumes_grid(case, masks):
    preview = PropagationPreview(case.scene, case.volume, *masks)

    for name, mask in zip(("would be added", "would be removed"), masks, strict=True):
        assert np.array_equal(segment_mask(preview.node, segment_named(preview.node, name), case.volume), mask)
    assert preview.shown


def test_it_moves_with_the_volume(case, masks, rotate):
    case.volume.SetAndObserveTransformNodeID(case.transform(rotate(30, (1, 0, 0))).GetID())
    preview = PropagationPreview(case.scene, case.volume, *masks)

    added = segment_mask(preview.node, segment_named(preview.node, "would be added"), case.volume)
    assert np.array_equal(added, masks[0])


def test_it_is_neither_saved_nor_offered_and_toggles(case, masks):
    preview = PropagationPreview(case.scene, case.volume, *masks)

    assert not preview.node.GetSaveWithScene()
    assert preview.node.GetHideFromEditors()
    preview.shown = False
    assert not preview.shown
    preview.shown = True
    assert preview.shown


def test_it_is_added_before_it_is_hidden(case, masks):
    """Slicer logs errors at each event of a segmentation that was hidden when it was added."""
    hidden_when_added = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller, event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            hidden_when_added.append(bool(node.GetHideFromEditors()))

    tag = case.scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)
    PropagationPreview(case.scene, case.volume, *masks)
    case.scene.RemoveObserver(tag)

    assert hidden_when_added == [False]


def test_a_side_without_voxels_has_no_segment(case, masks):
    preview = PropagationPreview(case.scene, case.volume, masks[0], np.zeros(case.shape, bool))

    assert preview.node.GetSegmentation().GetNumberOfSegments() == 1


def test_closing_leaves_the_scene_as_it_was_also_after_the_scene_was_cleared(case, masks):
    before = case.scene.GetNumberOfNodes()
    preview = PropagationPreview(case.scene, case.volume, *masks)
    preview.close()
    assert case.scene.GetNumberOfNodes() == before

    preview = PropagationPreview(case.scene, case.volume, *masks)
    case.scene.Clear(0)
    preview.close()
    preview.shown = True
    assert not preview.shown
