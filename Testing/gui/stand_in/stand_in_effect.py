"""The C++ side of a scripted Segment Editor effect: what `self.scriptedEffect` is.

Voxels, masks and undo are those of a real `vtkSlicerSegmentEditorLogic`, that of the editor which owns the effect.
"""

import importlib.util
import sys
from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets

from stand_in_api import implements
from stand_in_changes import running
from stand_in_effect_parameters import EffectParameters
from stand_in_qt import mirror
from stand_in_slots import as_slot
from stand_in_wrapped import wrap

LOGIC = slicer.vtkSlicerSegmentEditorLogic


@implements
class qSlicerSegmentEditorAbstractEffect(EffectParameters, mirror(QtCore.QObject)):
    ModificationModeSet = LOGIC.ModificationModeSet
    ModificationModeAdd = LOGIC.ModificationModeAdd
    ModificationModeRemove = LOGIC.ModificationModeRemove
    ModificationModeRemoveAll = LOGIC.ModificationModeRemoveAll
    NotConfirmed, ConfirmedWithoutDialog, ConfirmedWithDialog = range(3)

    def __init__(self, parent=None):
        super().__init__(*([parent] if parent else []))
        frame = QtWidgets.QFrame()
        QtWidgets.QFormLayout(frame)
        self._own.__dict__.update(editor=None, node=None, frame=frame, active=False)
        self._own.__dict__.update(name="UnnamedScriptedEffect", perSegment=True, requireSegments=True)

    # Options

    def optionsFrame(self):
        return wrap(self._own.frame)

    def optionsLayout(self):
        return wrap(self._own.frame.layout())

    def addOptionsWidget(self, widget):
        self._own.frame.layout().addRow(widget._qt)

    def addLabeledOptionsWidget(self, label, widget):
        label_widget = QtWidgets.QLabel(label)
        self._own.frame.layout().addRow(label_widget, widget._qt)
        return wrap(label_widget)

    # Life

    def active(self):
        return self._own.active

    def activate(self):
        self._own.frame.setVisible(True)
        self._own.active = True
        self.updateGUIFromMRML()

    def deactivate(self):
        self._own.frame.setVisible(False)
        self._own.active = False

    def selectEffect(self, name):
        self._own.editor.setActiveEffect(name or None)

    def cursorOn(self, view_widget):
        pass

    def cursorOff(self, view_widget):
        pass

    def scheduleRender(self, view_widget):
        pass

    def forceRender(self, view_widget):
        pass

    def viewNode(self, view_widget):
        return view_widget.mrmlSliceNode()

    def confirmCurrentSegmentVisible(self):
        segmentation, segment_id = self._own.node.GetSegmentationNode(), self._own.node.GetSelectedSegmentID()
        display = segmentation.GetDisplayNode() if segmentation else None
        if display is None or not segment_id or display.GetSegmentVisibility(segment_id):
            return self.ConfirmedWithoutDialog
        question = "The currently selected segment is hidden. Would you like to make it visible?"
        display.SetSegmentVisibility(segment_id, slicer.util.confirmYesNoDisplay(question))
        return self.ConfirmedWithDialog

    # Voxels

    def saveStateForUndo(self):
        self._own.editor.logic.SaveStateForUndo()

    def modifySelectedSegmentByLabelmap(self, modifier, mode, *rest):
        node = self._own.node
        self.modifySegmentByLabelmap(node.GetSegmentationNode(), node.GetSelectedSegmentID(), modifier, mode, *rest)

    def modifySegmentByLabelmap(self, segmentation, segment_id, modifier, mode, *rest):
        """As in Slicer, the rest is [extent as list of 6] and [bypassMasking]."""
        extent = [list(rest[0])] if rest and isinstance(rest[0], (list, tuple)) else []
        bypass = bool(rest[len(extent)]) if len(rest) > len(extent) else False
        if len(rest) > len(extent) + 1 or any(len(e) != 6 for e in extent):
            raise ValueError(f"{rest} is not [extent of 6 numbers] and [bypassMasking]")
        arguments = [segmentation, segment_id or "", modifier, mode, *extent, self.perSegment, bypass]
        self._own.editor.logic.ModifySegmentByLabelmap(*arguments)

    def defaultModifierLabelmap(self):
        return self._image("ResetModifierLabelmapToDefault", "GetModifierLabelmap")

    def modifierLabelmap(self):
        return self._own.editor.logic.GetModifierLabelmap()

    def selectedSegmentLabelmap(self):
        return self._image("UpdateSelectedSegmentLabelmap", "GetSelectedSegmentLabelmap")

    def maskLabelmap(self):
        return self._image("UpdateMaskLabelmap", "GetMaskLabelmap")

    def referenceGeometryImage(self):
        return self._image("UpdateReferenceGeometryImage", "GetReferenceGeometryImage")

    def sourceVolumeImageData(self):
        return self._image("UpdateAlignedSourceVolume", "GetAlignedSourceVolume")

    def _image(self, update, get):
        logic = self._own.editor.logic
        return getattr(logic, get)() if getattr(logic, update)() else None


@implements
class qSlicerSegmentEditorScriptedEffect(qSlicerSegmentEditorAbstractEffect):
    def setPythonSource(self, path):
        """Load an effect's file as Slicer does: its folder's name becomes the module's, its own name the class's."""
        if "\\" in path or not path.endswith(".py"):
            raise ValueError(f"{path!r} is no Python file with forward slashes")
        module_name, class_name = Path(path).parent.name, Path(path).stem
        class_name += "" if class_name.endswith("Effect") else "Effect"
        module = sys.modules.get(module_name)
        if not hasattr(module, class_name):
            spec = importlib.util.spec_from_file_location(module_name, path)
            module = importlib.util.module_from_spec(spec)
            running[-1].set_module(module_name, module)
            spec.loader.exec_module(module)
        self._own.source, self._own.python = path, getattr(module, class_name)(self)
        running[-1].set_attribute(slicer, module_name, self._own.python)
        return True

    def pythonSource(self):
        return getattr(self._own, "source", "")

    def self(self):
        return self._own.python

    def helpText(self):
        return self._call("helpText") or ""

    def activate(self):
        super().activate()
        self._call("activate")

    def deactivate(self):
        super().deactivate()
        self._call("deactivate")

    def createCursor(self, view_widget):
        return self._call("createCursor", view_widget)

    def updateGUIFromMRML(self):
        if self.active():
            self._call("updateGUIFromMRML")

    def updateMRMLFromGUI(self):
        self._call("updateMRMLFromGUI")

    def cleanup(self):
        self._call("cleanup")

    def _call(self, method, *args):
        """Call a method of the Python object if it has it; Slicer prints exceptions and goes on."""
        function = getattr(self._own.python, method, None)
        return None if function is None else as_slot(function)(*args)


class AbstractScriptedSegmentEditorEffect:
    """Slicer's base class of scripted effects."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect

    def register(self):
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self):
        pass
