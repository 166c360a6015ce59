"""Slicer's widgets that choose nodes and segments: they follow the scene, and tell what is chosen."""

import weakref

import shiboken6
import slicer
import vtk
from PySide6 import QtWidgets

from stand_in_api import StoredProperty, implements
from stand_in_qt import mirror

_observers = []


def stop_observing():
    """Remove all observers, before the scene goes: VTK would call what Python has already taken apart."""
    while _observers:
        _observers.pop().watch()


class Observers:
    """VTK observers that call a method of a stand-in while its widget lives."""

    def __init__(self, stand_in, method, with_node=False):
        self._stand_in, self._method, self._tags = weakref.ref(stand_in), method, []
        self._called = self._call_with if with_node else self._call
        _observers.append(self)

    def watch(self, *watched):
        """Observe (object, event) pairs instead of those before."""
        for thing, tag in self._tags:
            thing.RemoveObserver(tag)
        self._tags = [(thing, thing.AddObserver(event, self._called)) for thing, event in watched if thing is not None]

    def _call(self, caller, event):
        self._tell()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _call_with(self, caller, event, node):
        self._tell(node)

    def _tell(self, *node):
        stand_in = self._stand_in()
        if stand_in is not None and shiboken6.isValid(stand_in._qt):
            getattr(stand_in, self._method)(*node)


def combo_inside(stand_in):
    layout = stand_in._qt.layout() or QtWidgets.QVBoxLayout(stand_in._qt)
    layout.setContentsMargins(0, 0, 0, 0)
    combo = QtWidgets.QComboBox()
    layout.addWidget(combo)
    return combo


def show_items(combo, items, current):
    """Fill a combo box with (text, key) pairs without telling anyone."""
    was_blocked = combo.blockSignals(True)
    combo.clear()
    for text, key in items:
        combo.addItem(text, key)
    combo.setCurrentIndex(combo.findData(current))
    combo.blockSignals(was_blocked)


@implements
class qMRMLWidget(mirror(QtWidgets.QWidget)):
    def setMRMLScene(self, scene):
        if scene is not self.mrmlScene():
            self._own.scene = scene
            self._scene_changed()
            self._emit("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def mrmlScene(self):
        return getattr(self._own, "scene", None)

    def _scene_changed(self):
        pass


@implements
class qSlicerWidget(mirror(QtWidgets.QWidget)):
    def setMRMLScene(self, scene):
        if scene is not getattr(self._own, "scene", None):
            self._own.scene = scene
            self._emit("mrmlSceneChanged(vtkMRMLScene*)", scene)


class Refreshing(StoredProperty):
    """A stored property on which the list of nodes depends."""

    def __set__(self, instance, value):
        super().__set__(instance, value)
        instance._refresh()


@implements
class qMRMLNodeComboBox(mirror(QtWidgets.QWidget)):
    nodeTypes = Refreshing("nodeTypes", "QStringList", True)
    noneEnabled = Refreshing("noneEnabled", "bool", True)
    showHidden = Refreshing("showHidden", "bool", True)

    def __init__(self, *args):
        super().__init__(*args)
        self._own.__dict__.update(scene=None, current=None, listed=[], attributes=[], noneDisplay="None")
        self._own.__dict__.update(addEnabled=True, removeEnabled=True, showChildNodeTypes=True)
        self._own.observers, self._own.resets = Observers(self, "_refresh"), Observers(self, "_listed_anew")
        self._own.removals = Observers(self, "_node_goes", with_node=True)
        self._own.combo = combo_inside(self)
        self._own.combo.activated.connect(self._activated)
        self._qt.setEnabled(False)

    def setMRMLScene(self, scene):
        self._own.scene = scene
        events = slicer.vtkMRMLScene
        self._own.resets.watch((scene, events.EndImportEvent), (scene, events.EndCloseEvent))
        self._own.removals.watch((scene, events.NodeAboutToBeRemovedEvent))
        self._refresh()
        self._qt.setEnabled(scene is not None)

    def _activated(self, index):
        """By the user alone."""
        self._choose(self._own.combo.currentData())
        self._emit("nodeActivated(vtkMRMLNode*)", self.currentNode())

    def _listed_anew(self):
        """After a scene was added or closed Slicer's model lists all nodes anew, and what was chosen is lost by it."""
        if self.noneEnabled:
            self._choose(None)
        self._refresh()

    def _node_goes(self, node):
        """The node is still in the scene. The one that takes its place in the list is chosen, also where None could be.

        While a scene is closed, Slicer's model looks at no node.
        """
        if self._own.scene.IsClosing() or node.GetID() not in self._own.listed:
            return
        self._emit("nodeAboutToBeRemoved(vtkMRMLNode*)", node)
        index, left = self._own.listed.index(node.GetID()), [n for n in self._own.listed if n != node.GetID()]
        was_chosen = self._own.current == node.GetID()
        self._list(left)
        if was_chosen:
            self._choose(left[min(index, len(left) - 1)] if left else None)

    def mrmlScene(self):
        return self._own.scene

    def currentNode(self):
        return self._own.scene.GetNodeByID(self._own.current) if self._own.scene and self._own.current else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node else "")

    def setCurrentNodeID(self, node_id):
        if self._own.scene is None:  # kept until there is a scene, as in Slicer
            self._own.current = node_id or None
            return
        self._choose(node_id if node_id in self._own.listed else None)

    def setCurrentNodeIndex(self, index):
        self._choose(self._own.listed[index])

    def nodeCount(self):
        return len(self._own.listed)

    def nodeFromIndex(self, index):
        return self._own.scene.GetNodeByID(self._own.listed[index]) if 0 <= index < self.nodeCount() else None

    def addAttribute(self, node_type, name, value=None):
        self._own.attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type, name):
        self._own.attributes = [a for a in self._own.attributes if a[:2] != (node_type, name)]
        self._refresh()

    @property
    def currentNodeID(self):
        return self._own.current or ""

    @currentNodeID.setter
    def currentNodeID(self, node_id):
        self.setCurrentNodeID(node_id)

    def _choose(self, node_id):
        changed, self._own.current = node_id != self._own.current, node_id
        self._own.combo.setCurrentIndex(self._own.combo.findData(node_id))
        if changed:
            node = self.currentNode()
            self._emit("currentNodeChanged(vtkMRMLNode*)", node)
            self._emit("currentNodeChanged(bool)", node is not None)
            self._emit("currentNodeIDChanged(QString)", self.currentNodeID)

    def _fits(self, node):
        wanted = [a for a in self._own.attributes if node.IsA(a[0])]
        has_attributes = all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
            for _, name, value in wanted
        )
        kinds = [t for t in self.nodeTypes if node.IsA(t)]
        right = kinds if self.showChildNodeTypes else node.GetClassName() in kinds
        return bool(right) and has_attributes and (self.showHidden or not node.GetHideFromEditors())

    def _refresh(self):
        scene = self._own.scene
        if scene is not None and (scene.IsImporting() or scene.IsClosing()):
            return
        all_nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())] if scene else []
        nodes = [n for n in all_nodes if self._fits(n)]
        added = [n for n in nodes if n.GetID() not in self._own.listed]
        self._list([n.GetID() for n in nodes])
        if scene is not None and self._own.current not in self._own.listed:
            self._choose(None if self.noneEnabled or not nodes else nodes[0].GetID())
        for node in added:
            self._emit("nodeAdded(vtkMRMLNode*)", node)

    def _list(self, node_ids):
        """Show these nodes, and follow their names."""
        scene, self._own.listed = self._own.scene, node_ids
        nodes = [scene.GetNodeByID(i) for i in node_ids]
        renamed = [(n, vtk.vtkCommand.ModifiedEvent) for n in nodes]
        self._own.observers.watch((scene, slicer.vtkMRMLScene.NodeAddedEvent), *renamed)
        none = [(self.noneDisplay, None)] if self.noneEnabled else []
        show_items(self._own.combo, none + [(n.GetName(), n.GetID()) for n in nodes], self._own.current)


@implements
class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    def __init__(self, *args):
        super().__init__(*args)
        self._own.checked = set()

    def check(self, node):
        self._set_checked(self._own.checked | {node.GetID()})

    def uncheck(self, node):
        self._set_checked(self._own.checked - {node.GetID()})

    def checkedNodes(self):
        return [n for n in self._nodes() if n.GetID() in self._own.checked]

    def uncheckedNodes(self):
        return [n for n in self._nodes() if n.GetID() not in self._own.checked]

    def allChecked(self):
        return not self.uncheckedNodes()

    def noneChecked(self):
        return not self.checkedNodes()

    def _nodes(self):
        return [self.nodeFromIndex(i) for i in range(self.nodeCount())]

    def _set_checked(self, checked):
        changed, self._own.checked = checked != self._own.checked, checked
        if changed:
            self._emit("checkedNodesChanged()")
