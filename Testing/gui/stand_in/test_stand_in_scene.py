"""The scene has the observers of the running application: subject hierarchy and displayable managers."""

import pytest


@pytest.fixture
def hierarchy(application):
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(application.scene)


@pytest.fixture
def segmentation(application):
    node = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    return node


def children(hierarchy, node):
    from stand_in_scene import items_below

    return items_below(hierarchy, hierarchy.GetItemByDataNode(node))


def test_a_segment_has_an_entry_below_its_segmentations_as_long_as_it_is_there(hierarchy, segmentation):
    for name in ("GTV", "CTV"):
        segmentation.GetSegmentation().AddEmptySegment(name.lower(), name)
    first, second = children(hierarchy, segmentation)

    assert [hierarchy.GetItemName(item) for item in (first, second)] == ["GTV", "CTV"]
    assert hierarchy.GetItemLevel(first) == "VirtualBranch"
    assert hierarchy.GetItemAttribute(first, "segmentID") == "gtv"
    assert hierarchy.IsItemVirtualBranchParent(hierarchy.GetItemByDataNode(segmentation))

    segmentation.GetSegmentation().RemoveSegment("gtv")
    segmentation.GetSegmentation().GetSegment("ctv").SetName("Renamed")
    assert [hierarchy.GetItemName(item) for item in children(hierarchy, segmentation)] == ["Renamed"]


def test_with_a_segments_entry_the_segment_goes(hierarchy, segmentation):
    segmentation.GetSegmentation().AddEmptySegment("gtv", "GTV")

    hierarchy.RemoveItem(children(hierarchy, segmentation)[0], False, True)

    assert segmentation.GetSegmentation().GetNumberOfSegments() == 0


def test_a_segmentation_that_leaves_the_scene_loses_its_segments(application, hierarchy, segmentation):
    segmentation.GetSegmentation().AddEmptySegment("gtv", "GTV")

    application.scene.RemoveNode(segmentation)

    assert segmentation.GetSegmentation().GetNumberOfSegments() == 0
    assert hierarchy.GetItemByDataNode(segmentation) == 0


def test_a_display_node_that_leaves_before_its_segmentation_fails_the_test(application, segmentation):
    from stand_in_slots import raise_failures

    application.scene.RemoveNode(segmentation.GetDisplayNode())

    with pytest.raises(AssertionError, match="'Segmentation' is in the scene and its display node leaves it"):
        raise_failures()


def test_after_its_segmentation_a_display_node_may_leave_and_so_may_all_when_the_scene_is_closed(
    application, segmentation
):
    from stand_in_slots import failures

    display = segmentation.GetDisplayNode()
    application.scene.RemoveNode(segmentation)
    application.scene.RemoveNode(display)
    other = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    other.CreateDefaultDisplayNodes()
    application.scene.Clear(0)

    assert failures == []


def test_a_segmentation_that_was_hidden_when_it_was_added_fails_the_test_at_its_first_segment(application):
    import slicer

    from stand_in_slots import raise_failures

    node = slicer.vtkMRMLSegmentationNode()
    node.SetHideFromEditors(True)
    application.scene.AddNode(node)
    node.GetSegmentation().AddEmptySegment("gtv", "GTV")

    with pytest.raises(AssertionError, match="has no entry in the hierarchy"):
        raise_failures()


def test_after_a_batch_entries_without_a_node_go_and_nodes_without_one_get_one(application, hierarchy):
    import slicer

    volume = application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    hierarchy.RemoveItem(hierarchy.GetItemByDataNode(volume), False, True)
    hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Folder")
    dead = hierarchy.CreateHierarchyItem(hierarchy.GetSceneItemID(), "Dead", "")

    application.scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    application.scene.EndState(slicer.vtkMRMLScene.BatchProcessState)

    from stand_in_scene import items_below

    left = items_below(hierarchy, hierarchy.GetSceneItemID())
    assert sorted(hierarchy.GetItemName(item) for item in left) == ["CT", "Folder"]
    assert dead not in left
