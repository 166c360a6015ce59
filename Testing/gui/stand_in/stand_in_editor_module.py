"""The module Segment Editor, as far as its widget and its life go."""

import slicer
from PySide6 import QtWidgets

from stand_in_api import api_class
from stand_in_segment_editor import qMRMLSegmentEditorWidget
from stand_in_slots import as_slot
from stand_in_wrapped import wrap


class SegmentEditorWidget:
    """What `slicer.modules.segmenteditor.widgetRepresentation().self()` is."""

    def __init__(self, parent):
        self.parent = parent
        self.editor = qMRMLSegmentEditorWidget()
        self._select_node()
        self.editor.setMRMLScene(slicer.mrmlScene)
        self._tags = [
            slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, as_slot(self._closing)),
            slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, as_slot(self._closed)),
            slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, as_slot(self._closed)),
        ]
        parent.layout().addWidget(self.editor)

    def setup(self):
        pass

    def enter(self):
        self._select_node()
        self.editor.updateWidgetFromMRML()
        if self.editor.segmentationNode() is None:
            scene = slicer.mrmlScene
            node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
            self.editor.setSegmentationNode(node or scene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
            if self.editor.sourceVolumeNode() is None:
                composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
                self.editor.setSourceVolumeNode(scene.GetNodeByID(composite.GetBackgroundVolumeID() or ""))

    def exit(self):
        self.editor.setActiveEffect(None)
        self.editor.removeViewObservations()

    def cleanup(self):
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)

    def _select_node(self):
        scene, kind = slicer.mrmlScene, "vtkMRMLSegmentEditorNode"
        node = scene.GetSingletonNode("SegmentEditor", kind)
        if node is None:
            node = scene.CreateNodeByClass(kind)
            node.UnRegister(None)
            node.SetSingletonTag("SegmentEditor")
            node = scene.AddNode(node)
        if self.editor.mrmlSegmentEditorNode() is not node:
            self.editor.setMRMLSegmentEditorNode(node)

    def _closing(self, caller, event):
        self.editor.setSegmentationNode(None)
        self.editor.removeViewObservations()

    def _closed(self, caller, event):
        if self.parent.isEntered:
            self._select_node()
            self.editor.updateWidgetFromMRML()


def segment_editor_module():
    """The module's widget, and its Python object."""
    parent = api_class("qSlicerScriptedLoadableModuleWidget")()
    QtWidgets.QVBoxLayout(parent._qt)
    parent._own.python = SegmentEditorWidget(parent)
    return wrap(parent._qt)
