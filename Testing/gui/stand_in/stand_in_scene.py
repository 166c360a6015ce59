"""Who else observes the scene in the running application: its subject hierarchy, and the views' displayable managers.

After qSlicerSubjectHierarchyPluginLogic, qSlicerSegmentationsModule, qSlicerSubjectHierarchySegmentationsPlugin and
vtkMRMLSegmentationsDisplayableManager3D, as far as the module's nodes meet them.
"""

import slicer
import vtk

from stand_in_slots import failures

SCENE, HIERARCHY = slicer.vtkMRMLScene, slicer.vtkMRMLSubjectHierarchyNode
VIRTUAL_BRANCH = "VirtualBranch"  # level of a segment's entry, and an attribute of the segmentation's
HAS_ENTRY = (  # classes of nodes for which a plug-in makes an entry
    *("vtkMRMLMarkupsNode", "vtkMRMLModelNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"),
    *("vtkMRMLSegmentationNode", "vtkMRMLTextNode", "vtkMRMLTransformNode", "vtkMRMLVolumeNode"),
)


def segmentations_logic(scene):
    """The logic of Segmentations on a scene. Slicer has one; each further one adds the conversion rules once more."""
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    before = factory.GetConverterRules()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    for rule in factory.GetConverterRules()[len(before) :] if before else ():
        factory.UnregisterConverterRule(rule)
    return logic


class SceneObserver:
    """Observes until `stop`."""

    def __init__(self, scene):
        self.scene, self._observed = scene, []

    def stop(self):
        for thing, tag in self._observed:
            thing.RemoveObserver(tag)
        self._observed.clear()

    def forget(self, gone):
        """Let go of what has left the scene: it must be able to die, as its entries in the hierarchy do with it."""
        for thing, tag in self._observed:
            if thing is gone:
                thing.RemoveObserver(tag)
        self._observed = [one for one in self._observed if one[0] is not gone]

    def observe(self, thing, event, function, data=None, priority=0.0):
        """Call a function with the event's data, or with what it came from."""

        def call(caller, _event, call_data=None):
            function(caller if data is None else call_data)

        self._observed.append((thing, thing.AddObserver(event, call if data is None else data(call), priority)))


of_node, of_number = vtk.calldata_type(vtk.VTK_OBJECT), vtk.calldata_type(vtk.VTK_LONG)


class DisplayableManagers(SceneObserver):
    """Those of segmentations in 3D and slice views. They hold on to a segmentation's display nodes until it goes.

    Where a display node goes first, they look at it all the same at the segmentation's next event: Slicer ends.
    """

    def __init__(self, scene):
        super().__init__(scene)
        self.observe(scene, SCENE.NodeAboutToBeRemovedEvent, self._node_goes, of_node)

    def _node_goes(self, node):
        if node.IsA("vtkMRMLSegmentationDisplayNode") and not self.scene.IsClosing():
            segmentation = node.GetDisplayableNode()
            if segmentation is not None and segmentation.GetScene() is self.scene:
                failures.append(
                    AssertionError(
                        f"'{segmentation.GetName()}' is in the scene and its display node leaves it: the views would "
                        "look at a display node that is gone, and Slicer ends. Remove the segmentation first."
                    )
                )


class SubjectHierarchy(SceneObserver):
    """Makes and removes entries as nodes and segments come and go."""

    def __init__(self, scene):
        super().__init__(scene)
        self._removing = False
        self.observe(scene, SCENE.NodeAddedEvent, self._node_added, of_node)
        self.observe(scene, SCENE.NodeAboutToBeRemovedEvent, self._node_goes, of_node)
        self.observe(scene, SCENE.NodeRemovedEvent, self._node_gone, of_node)
        self.observe(scene, SCENE.EndCloseEvent, HIERARCHY.ResolveSubjectHierarchy)
        self.observe(scene, SCENE.EndImportEvent, self._import_ended, priority=10.0)
        self.observe(scene, SCENE.EndBatchProcessEvent, self._batch_ended, priority=10.0)
        if HIERARCHY.ResolveSubjectHierarchy(scene) is None:
            raise RuntimeError("the scene has no subject hierarchy")
        for number in range(scene.GetNumberOfNodes()):
            self._node_added(scene.GetNthNode(number))

    def _observe_hierarchy(self, hierarchy):
        event = HIERARCHY.SubjectHierarchyItemAboutToBeRemovedEvent
        self.observe(hierarchy, event, lambda item: self._entry_goes(hierarchy, item), of_number)

    # -- nodes

    def _node_added(self, node):
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            self._observe_hierarchy(node)
            HIERARCHY.ResolveSubjectHierarchy(self.scene)
            return
        if node.IsA("vtkMRMLSegmentationNode"):
            segmentation = slicer.vtkSegmentation
            for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
                self.observe(node, event, self._segments_changed)
            self.observe(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._segments_changed)
        if not self.scene.IsImporting():
            self._add(node)

    def _add(self, node):
        hierarchy = HIERARCHY.GetSubjectHierarchyNode(self.scene)
        if node.GetHideFromEditors() or hierarchy.GetItemByDataNode(node) or not any(map(node.IsA, HAS_ENTRY)):
            return
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        if node.IsA("vtkMRMLSegmentationNode"):
            hierarchy.SetItemAttribute(item, VIRTUAL_BRANCH, "1")
            self._segments_changed(node)

    def _add_missing(self):
        for number in range(self.scene.GetNumberOfNodes()):
            self._add(self.scene.GetNthNode(number))

    def _node_goes(self, node):
        if self.scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = HIERARCHY.GetSubjectHierarchyNode(self.scene)
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _node_gone(self, node):
        self.forget(node)
        if node.IsA("vtkMRMLSubjectHierarchyNode") and not self.scene.IsClosing():
            HIERARCHY.ResolveSubjectHierarchy(self.scene)
            self._add_missing()

    # -- scenes

    def _import_ended(self, scene):
        HIERARCHY.ResolveSubjectHierarchy(scene)
        self._add_missing()

    def _batch_ended(self, scene):
        """Entries without a node go, but for folders and what has to do with segments."""
        hierarchy = HIERARCHY.GetSubjectHierarchyNode(scene)
        for item in items_below(hierarchy, hierarchy.GetSceneItemID(), recursive=True):
            stays = hierarchy.GetItemLevel(item) or hierarchy.HasItemAttribute(item, VIRTUAL_BRANCH)
            if not stays and hierarchy.GetItemDataNode(item) is None:
                hierarchy.RemoveItem(item, False, False)
        self._add_missing()

    # -- segments

    def _segments_changed(self, node):
        """Each segment has an entry below its segmentation's, of the level "VirtualBranch"."""
        busy = self._removing or self.scene.IsImporting() or self.scene.IsClosing()
        if busy or node.GetScene() is None:
            return
        hierarchy = HIERARCHY.GetSubjectHierarchyNode(self.scene)
        parent = hierarchy.GetItemByDataNode(node)
        if not parent:
            failures.append(AssertionError(f"Slicer logs an error: '{node.GetName()}' has no entry in the hierarchy"))
            return
        segmentation, attribute = node.GetSegmentation(), node.GetSegmentIDAttributeName()
        entries = {hierarchy.GetItemAttribute(i, attribute): i for i in items_below(hierarchy, parent)}
        for segment_id in [one for one in entries if one and segmentation.GetSegment(one) is None]:
            hierarchy.RemoveItem(entries[segment_id])
        for position, segment_id in enumerate(segmentation.GetSegmentIDs()):
            name = segmentation.GetSegment(segment_id).GetName() or ""
            if segment_id not in entries:
                item = hierarchy.CreateHierarchyItem(parent, name, VIRTUAL_BRANCH, position)
                hierarchy.SetItemAttribute(item, attribute, segment_id)
            elif hierarchy.GetItemName(entries[segment_id]) != name:
                hierarchy.SetItemName(entries[segment_id], name)

    def _entry_goes(self, hierarchy, item):
        """With a segment's entry the segment goes, also where the segmentation leaves the scene."""
        segment_id = hierarchy.GetItemAttribute(item, slicer.vtkMRMLSegmentationNode.GetSegmentIDAttributeName())
        node = hierarchy.GetItemDataNode(hierarchy.GetItemParent(item)) if segment_id else None
        if node is None or self.scene.IsClosing() or node.GetSegmentation().GetSegment(segment_id) is None:
            return
        self._removing = True
        node.GetSegmentation().RemoveSegment(segment_id)
        self._removing = False


def items_below(hierarchy, item, recursive=False):
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(item, items, recursive)
    return [items.GetId(number) for number in range(items.GetNumberOfIds())]
