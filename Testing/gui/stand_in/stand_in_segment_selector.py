"""Slicer's segment selector, and its button that shows a segmentation in 3D."""

import slicer
from PySide6 import QtWidgets

from stand_in_api import api_class, implements
from stand_in_node_widgets import Observers, combo_inside, qMRMLNodeComboBox, qMRMLWidget, show_items


@implements
class qMRMLSegmentSelectorWidget(qMRMLWidget):
    def __init__(self, *args):
        super().__init__(*args)
        self._own.__dict__.update(current="", selected=[], segmentationNodeSelectorVisible=True)
        self._own.nodes = qMRMLNodeComboBox(self)
        self._own.nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        QtWidgets.QVBoxLayout(self._qt).addWidget(self._own.nodes._qt)
        self._own.observers = Observers(self, "_refresh")
        self._own.combo = combo_inside(self)
        self._own.combo.currentIndexChanged.connect(self._index_changed)
        self._own.nodes.connect("currentNodeChanged(vtkMRMLNode*)", self._node_changed)

    @property
    def noneEnabled(self):
        return self._own.nodes.noneEnabled

    @noneEnabled.setter
    def noneEnabled(self, value):
        self._own.nodes.noneEnabled = value
        self._refresh()

    def currentNode(self):
        return self._own.nodes.currentNode()

    def currentNodeID(self):
        return self._own.nodes.currentNodeID

    def setCurrentNode(self, node):
        self._own.nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id):
        self._own.nodes.setCurrentNodeID(node_id)

    def currentSegmentID(self):
        return self._own.current

    def setCurrentSegmentID(self, segment_id):
        index = 0 if not segment_id and self.noneEnabled else self._own.combo.findData(segment_id)
        if 0 <= index < self._own.combo.count():
            self._own.combo.setCurrentIndex(index)

    def segmentIDs(self):
        return list(self.currentNode().GetSegmentation().GetSegmentIDs()) if self.currentNode() else []

    def selectedSegmentIDs(self):
        return list(self._own.selected)

    def setSelectedSegmentIDs(self, segment_ids):
        selected = [s for s in self.segmentIDs() if s in segment_ids]
        changed, self._own.selected = selected != self._own.selected, selected
        if changed:
            self._emit("segmentSelectionChanged(QStringList)", list(selected))

    def _scene_changed(self):
        self._own.nodes.setMRMLScene(self.mrmlScene())

    def _node_changed(self, node):
        self._refresh()
        self._emit("currentNodeChanged(vtkMRMLNode*)", node)
        self._emit("currentNodeChanged(bool)", node is not None)

    def _refresh(self):
        """As `populateSegmentCombobox`: where there is no segment, the last ID is kept and told; where it is not among
        the segments, the first of them is chosen, also where None could be.
        """
        node, combo = self.currentNode(), self._own.combo
        segmentation = node.GetSegmentation() if node else None
        events = ("SegmentAdded", "SegmentRemoved", "SegmentModified")
        self._own.observers.watch(*((segmentation, getattr(slicer.vtkSegmentation, e)) for e in events))
        ids = self.segmentIDs()
        combo.setVisible(bool(ids))
        none = [("None", "None")] if self.noneEnabled else []
        names = [(segmentation.GetSegment(s).GetName(), s) for s in ids]
        show_items(combo, none + names if ids else [], self._own.current or "None")
        if ids and self._own.current not in (*ids, *([""] if self.noneEnabled else [])):
            combo.setCurrentIndex(1 if self.noneEnabled else 0)
        self.setSelectedSegmentIDs(self._own.selected)

    def _index_changed(self, index):
        if self.currentNode() is None:
            return
        chosen = self._own.combo.itemData(index)
        self._own.current = "" if chosen == "None" else chosen
        self._emit("currentSegmentChanged(QString)", self._own.current)


@implements
class qMRMLSegmentationShow3DButton(api_class("ctkMenuButton")):
    def segmentationNode(self):
        return getattr(self._own, "node", None)

    def setSegmentationNode(self, node):
        self._own.node = node
        self._qt.setEnabled(node is not None)

    def setLocked(self, locked):
        self.locked = locked
