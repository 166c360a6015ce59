import numpy as np
import pytest
import slicer
import vtk

from context_propagation.mrml.nodes.preview_node import PropagationPreview, remove_dead_previews
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segments import segment_mask, segment_named
from context_propagation.mrml.nodes.slice_plot import show_in_plot


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


def test_neither_a_preview_nor_a_plot_leaves_a_dead_entry_in_a_scene_that_was_saved(case, masks, tmp_path):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(case.scene)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller, event, node):  # as Slicer's plug-ins do
        if not node.GetHideFromEditors():
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    for node in (case.volume, case.segmentation):
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    tag = case.scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)
    preview = PropagationPreview(case.scene, case.volume, *masks)
    show_in_plot(case.scene, None, {"undecided, mm²": np.arange(3.0)}, "axial slice")
    case.scene.RemoveObserver(tag)
    assert hierarchy.GetItemByDataNode(preview.node)  # while it is shown, Slicer asks for it

    case.scene.SetURL(str(tmp_path / "scene.mrml"))
    case.scene.Commit()

    loaded = new_scene()
    loaded.SetURL(str(tmp_path / "scene.mrml"))
    loaded.Import()
    other = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(loaded)
    folder = other.CreateFolderItem(other.GetSceneItemID(), "Propagation preview_2")
    remove_dead_previews(loaded)
    assert other.GetItemName(folder) == "Propagation preview_2"  # a user's own
    other.RemoveItem(folder)
    items = vtk.vtkIdList()
    other.GetItemChildren(other.GetSceneItemID(), items, True)
    names = [other.GetItemName(items.GetId(n)) for n in range(items.GetNumberOfIds())]
    assert not {name for name in names if "preview" in name or "undecided" in name or "Slices" in name}
    assert {"CT", "Segmentation"} <= set(names)


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
