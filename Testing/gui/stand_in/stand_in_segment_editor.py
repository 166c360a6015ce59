"""A Segment Editor without views: real parameter node, real editor logic, and the effects that are registered.

It calls effects when and in the order Slicer's editor widget does, and paints like a user.
"""

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from stand_in_api import implements
from stand_in_editor_buttons import EditorButtons
from stand_in_effect import LOGIC, qSlicerSegmentEditorScriptedEffect
from stand_in_node_widgets import qMRMLWidget
from stand_in_qt import mirror
from stand_in_slots import as_slot, raise_failures


@implements
class qSlicerSegmentEditorEffectFactory(mirror(QtCore.QObject)):
    _single = None

    @staticmethod
    def instance():
        cls = qSlicerSegmentEditorEffectFactory
        if cls._single is None:
            cls._single = cls()
            cls._single._own.effects = []
        return cls._single

    def registerEffect(self, effect):
        if effect.name in [e.name for e in self._own.effects]:
            raise ValueError(f"an effect named {effect.name!r} is already registered")
        self._own.effects.append(effect)
        self._emit("effectRegistered(QString)", effect.name)

    def registeredEffects(self):
        return list(self._own.effects)


_open_editors = []


def close_editors():
    """End all editors of a test."""
    while _open_editors:
        _open_editors.pop().close()


class SegmentEditorStandIn:
    """An editor on a scene, for a test to use like a user: select, paint, undo, choose an effect."""

    def __init__(self, scene, node=None, views=()):
        self.effects, self.effect, self.views = {}, None, views
        self.listeners = []  # called when something that buttons show has changed
        self._segmentation = self._volume = None
        self.options = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self.options)
        self.logic = LOGIC()
        self.logic.SetMRMLScene(scene)
        self.node = node or scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.logic.SetSegmentEditorNode(self.node)
        self._tags = [
            self.node.AddObserver(vtk.vtkCommand.ModifiedEvent, as_slot(self._node_modified)),
            self.node.AddObserver(slicer.vtkMRMLSegmentEditorNode.EffectParameterModified, self._parameter_modified),
        ]
        self._factory = qSlicerSegmentEditorEffectFactory.instance()
        self._factory.connect("effectRegistered(QString)", self.updateEffectList)
        _open_editors.append(self)
        self.updateEffectList()

    def close(self):
        """Forget the node and clean up the effects, as when the application ends."""
        self.setActiveEffect(None)
        self._factory.disconnect("effectRegistered(QString)", self.updateEffectList)
        for effect in self.effects.values():
            effect.cleanup()
        for tag in self._tags:
            self.node.RemoveObserver(tag)
        self.logic.SetSegmentEditorNode(None)

    def updateEffectList(self):
        for registered in self._factory.registeredEffects():
            if registered.name in self.effects:
                continue
            effect = (
                registered.self() if isinstance(registered, qSlicerSegmentEditorScriptedEffect) else registered
            ).clone()
            if type(effect) is not type(registered):
                raise TypeError(
                    f"clone() of effect {registered.name!r} must return a new scripted effect, not {effect!r}"
                )
            self.effects[effect.name] = effect
            effect._own.editor = self
            effect._own.frame.setVisible(False)
            self.options.layout().addWidget(effect._own.frame)
            effect._call("setupOptionsFrame")
            effect.setParameterSetNode(self.node)
            effect._call("setMRMLDefaults")
        raise_failures()

    def setSegmentation(self, segmentation):
        self.logic.SetSegmentationNode(segmentation)
        self.setActiveEffect(None)  # Slicer deactivates the effect with each switch

    def setVolume(self, volume):
        self.logic.SetSourceVolumeNode(volume)
        raise_failures()

    def selectSegment(self, segment_id):
        self.node.SetSelectedSegmentID(segment_id)
        raise_failures()

    def setActiveEffect(self, name):
        if name and name not in self.effects:
            raise LookupError(f"no effect {name!r} is registered; there are {sorted(self.effects)}")
        self.node.SetActiveEffectName(name or "")
        raise_failures()
        return self.effect

    def paint(self, where, erase=False):
        """Paint or erase voxels of the selected segment, as one step of Undo.

        `where` is a bool mask `[K, J, I]` of the reference geometry, or a box ((k0, k1), (j0, j1), (i0, i1)).
        """
        if not self.node.GetSelectedSegmentID():
            raise RuntimeError("no segment is selected")
        self.logic.SaveStateForUndo()
        mode = LOGIC.ModificationModeRemove if erase else LOGIC.ModificationModeAdd
        modifier = self._modifier(where)
        segmentation, segment_id = self.node.GetSegmentationNode(), self.node.GetSelectedSegmentID()
        self.logic.ModifySegmentByLabelmap(segmentation, segment_id, modifier, mode, True, False)
        raise_failures()

    def undo(self):
        self.logic.Undo()
        self._tell()
        raise_failures()

    def redo(self):
        self.logic.Redo()
        self._tell()
        raise_failures()

    def _tell(self):
        for listener in self.listeners:
            listener()

    def _modifier(self, where):
        if not self.logic.ResetModifierLabelmapToDefault():
            raise RuntimeError("there is nothing to paint on: set a segmentation and a volume")
        modifier = slicer.vtkOrientedImageData()
        modifier.DeepCopy(self.logic.GetModifierLabelmap())
        voxels = vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(modifier.GetDimensions()[::-1])
        voxels[:] = 0
        if isinstance(where, np.ndarray):
            if where.shape != voxels.shape:
                raise ValueError(f"a mask of {where.shape} does not fit the geometry {voxels.shape} (k, j, i)")
            voxels[where] = 1
        else:
            voxels[tuple(slice(start, stop) for start, stop in where)] = 1
        return modifier

    def _node_modified(self, caller=None, event=None):
        segmentation = self.node.GetSegmentationNode()
        if segmentation is not self._segmentation:
            self._segmentation = segmentation
            if segmentation is not None:
                segmentation.CreateDefaultDisplayNodes()
                role = segmentation.GetReferenceImageGeometryReferenceRole()
                self.logic.SetSourceVolumeNode(segmentation.GetNodeReference(role))
                if segmentation.GetSegmentation().GetNumberOfSegments():
                    self.node.SetSelectedSegmentID(segmentation.GetSegmentation().GetNthSegmentID(0))
        volume = self.node.GetSourceVolumeNode()
        if volume is not self._volume:
            self._volume = volume
            for effect in self.effects.values():
                for method in ("sourceVolumeNodeChanged", "masterVolumeNodeChanged", "referenceGeometryChanged"):
                    effect._call(method)
        self._switch_effect(self.effects.get(self.node.GetActiveEffectName()))
        self._tell()

    def _switch_effect(self, effect):
        if effect is self.effect:
            return
        if self.effect is not None:
            self.effect.deactivate()
        if effect is not None:
            effect.activate()
            if effect.showEffectCursorInSliceView:
                for view in self.views:
                    effect.createCursor(view)
        self.effect = effect

    def _parameter_modified(self, caller, event):
        for effect in self.effects.values():
            effect.updateGUIFromMRML()


@implements
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Slicer's editor as a widget in a module, on a `SegmentEditorStandIn`."""

    def setMRMLSegmentEditorNode(self, node):
        self._own.editor = SegmentEditorStandIn(self.mrmlScene() or slicer.mrmlScene, node)
        layout = self._qt.layout() or QtWidgets.QVBoxLayout(self._qt)
        layout.addWidget(self._own.editor.options)
        self._own.buttons = EditorButtons(self)

    def mrmlSegmentEditorNode(self):
        return self._own.editor.node if hasattr(self._own, "editor") else None

    def setSegmentationNode(self, node):
        self._own.editor.setSegmentation(node)
        self._emit("segmentationNodeChanged(vtkMRMLSegmentationNode*)", node)

    def segmentationNode(self):
        return self._own.editor.node.GetSegmentationNode()

    def setSourceVolumeNode(self, node):
        self._own.editor.setVolume(node)
        self._emit("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", node)

    def sourceVolumeNode(self):
        return self._own.editor.node.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id):
        self._own.editor.selectSegment(segment_id)
        self._emit("currentSegmentIDChanged(QString)", segment_id)

    def currentSegmentID(self):
        return self._own.editor.node.GetSelectedSegmentID() or ""

    def setActiveEffectByName(self, name):
        self._own.editor.setActiveEffect(name or None)

    def setActiveEffect(self, effect):
        self._own.editor.setActiveEffect(effect.name if effect is not None else None)

    def updateWidgetFromMRML(self):
        self._own.editor._node_modified()

    def setupViewObservations(self):
        self._own.buttons.listen(True)

    def removeViewObservations(self):
        self._own.buttons.listen(False)

    def activeEffect(self):
        return self._own.editor.effect

    def effectByName(self, name):
        return self._own.editor.effects.get(name)

    def availableEffectNames(self):
        return list(self._own.editor.effects)

    def saveStateForUndo(self):
        self._own.editor.logic.SaveStateForUndo()

    def undo(self):
        self._own.editor.undo()

    def redo(self):
        self._own.editor.redo()
