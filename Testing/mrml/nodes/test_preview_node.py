import numpy as np
import pytest
import slicer
import vtk

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.nodes.preview_node import PropagationPreview, remove_dead_previews
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segments import segment_mask, segment_named
from context_propagation.mrml.nodes.slice_plot import show_in_plot
from stand_in_scene import DisplayableManagers, SubjectHierarchy, items_below
from stand_in_slots import failures, raise_failures


@pytest.fixture
def masks(case):
    added, removed = np.zeros(case.shape, bool), np.zeros(case.shape, bool)
    added[4, 5, 6], removed[6, 2:4, 3] = True, True
    return BoxedMask.of(added), BoxedMask.of(removed)


def test_it_shows_what_is_added_and_removed_on_the_volumes_grid(case, masks):
    preview = PropagationPreview(case.scene, case.volume, *masks)

    for name, mask in zip(("would be added", "would be removed"), masks, strict=True):
        assert np.array_equal(segment_mask(preview.node, segment_named(preview.node, name), case.volume), mask.mask)
    assert preview.shown


def test_it_moves_with_the_volume(case, masks, rotate):
    case.volume.SetAndObserveTransformNodeID(case.transform(rotate(30, (1, 0, 0))).GetID())
    preview = PropagationPreview(case.scene, case.volume, *masks)

    added = segment_mask(preview.node, segment_named(preview.node, "would be added"), case.volume)
    assert np.array_equal(added, masks[0].mask)


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


@pytest.fixture
def application_in():
    """What observes a scene in the running application."""
    failures.clear()
    observers = []

    def observe(scene):
        observers.extend([SubjectHierarchy(scene), DisplayableManagers(scene)])

    yield observe
    for observer in observers:
        observer.stop()
    raise_failures()


def entries(scene):
    """Names of the entries in the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return [hierarchy.GetItemName(item) for item in items_below(hierarchy, hierarchy.GetSceneItemID(), recursive=True)]


def save_and_load(scene, application_in, folder):
    scene.SetURL(str(folder / "scene.mrml"))
    scene.Commit()
    loaded = new_scene()
    application_in(loaded)
    loaded.SetURL(str(folder / "scene.mrml"))
    loaded.Import()
    return loaded


def test_neither_a_preview_nor_a_plot_leaves_a_dead_entry_in_a_scene_that_was_saved(
    application_in, case, masks, tmp_path
):
    application_in(case.scene)
    preview = PropagationPreview(case.scene, case.volume, *masks)
    show_in_plot(case.scene, None, {"undecided, mm²": np.arange(3.0)}, "axial slice")
    assert {preview.node.GetName(), "would be added", "would be removed"} <= set(entries(case.scene))

    loaded = save_and_load(case.scene, application_in, tmp_path)
    assert "would be added" in entries(loaded)  # Slicer leaves what is in a virtual branch
    remove_dead_previews(loaded)

    assert not {name for name in entries(loaded) if "would" in name or "preview" in name or "Slices" in name}
    assert {"CT", "Segmentation"} <= set(entries(loaded))


def test_a_users_own_entries_of_that_name_stay(application_in, case):
    application_in(case.scene)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(case.scene)
    hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Propagation preview_2")
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Propagation preview")
    case.add(case.target)
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(case.segmentation), patient)

    remove_dead_previews(case.scene)

    assert {"Propagation preview", "Propagation preview_2", "Segmentation", "GTV"} <= set(entries(case.scene))
    assert case.segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_closing_takes_the_segmentation_out_of_the_scene_before_what_displays_it(application_in, case, masks):
    application_in(case.scene)
    preview = PropagationPreview(case.scene, case.volume, *masks)
    left = []
    observe = vtk.calldata_type(vtk.VTK_OBJECT)(lambda caller, event, node: left.append(node.GetClassName()))
    tag = case.scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, observe)

    preview.close()
    case.scene.RemoveObserver(tag)

    assert left == ["vtkMRMLSegmentationNode", "vtkMRMLSegmentationDisplayNode"]
    assert failures == []
    assert not [name for name in entries(case.scene) if "would" in name or "preview" in name]


def test_a_side_without_voxels_has_no_segment(case, masks):
    preview = PropagationPreview(case.scene, case.volume, masks[0], BoxedMask.of(np.zeros(case.shape, bool)))

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
