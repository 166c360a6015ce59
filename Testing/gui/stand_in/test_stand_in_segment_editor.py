"""The stand-in for the Segment Editor: real voxels, masks and undo, and effects that live as in Slicer."""

import sys

import numpy as np
import pytest
from vtk.util.numpy_support import vtk_to_numpy

from as_a_user import click

EFFECT = """
import qt
import qSlicerSegmentationsEditorEffectsPythonQt as effects
import slicer
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Demo"
        super().__init__(scriptedEffect)
        self.calls = []

    def clone(self):
        clone = effects.qSlicerSegmentEditorScriptedEffect(None)
        clone.setPythonSource(__file__.replace("\\\\", "/"))
        return clone

    def setupOptionsFrame(self):
        self.box = qt.QSpinBox()
        self.box.connect("valueChanged(int)", lambda value: self.scriptedEffect.setParameter("margin", value))
        self.scriptedEffect.addLabeledOptionsWidget("Margin:", self.box)
        self.button = qt.QPushButton("Clear")
        self.button.connect("clicked()", self.onClear)
        self.scriptedEffect.addOptionsWidget(self.button)

    def onClear(self):
        self.scriptedEffect.saveStateForUndo()
        labelmap = self.scriptedEffect.selectedSegmentLabelmap()
        mode = slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeRemove
        self.scriptedEffect.modifySelectedSegmentByLabelmap(labelmap, mode, list(labelmap.GetExtent()), False)

    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault("margin", 3)

    def activate(self):
        self.calls.append("activate")

    def deactivate(self):
        self.calls.append("deactivate")

    def createCursor(self, widget):
        self.calls.append("createCursor")
        return slicer.util.mainWindow().cursor

    def sourceVolumeNodeChanged(self):
        self.calls.append("sourceVolumeNodeChanged")

    def updateGUIFromMRML(self):
        self.calls.append("updateGUIFromMRML")
        self.box.value = self.scriptedEffect.integerParameter("margin")

    def cleanup(self):
        self.calls.append("cleanup")
"""
SHAPE = (4, 5, 6)
BOX = ((1, 3), (1, 4), (2, 5))


@pytest.fixture
def volume(application):
    import slicer

    node = application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, np.zeros(SHAPE, np.int16))
    return node


@pytest.fixture
def segmentation(application, volume):
    node = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("gtv", "GTV")
    return node


@pytest.fixture
def editor(application, segmentation, volume):
    editor = application.segment_editor()
    editor.setSegmentation(segmentation)
    editor.setVolume(volume)
    editor.selectSegment("gtv")
    return editor


@pytest.fixture
def effect(application, editor, tmp_path):
    import slicer

    folder = tmp_path / "SegmentEditorStandInDemoLib"
    folder.mkdir()
    (folder / "SegmentEditorEffect.py").write_text(EFFECT, "utf-8")
    registered = slicer.qSlicerSegmentEditorScriptedEffect(None)
    registered.setPythonSource((folder / "SegmentEditorEffect.py").as_posix())
    registered.self().register()
    return editor.effects["Demo"].self()


def voxels(segmentation):
    import slicer

    image = slicer.vtkOrientedImageData()
    segmentation.GetBinaryLabelmapRepresentation("gtv", image)
    mask = np.zeros(SHAPE, bool)
    if not image.IsEmpty():
        i0, i1, j0, j1, k0, k1 = image.GetExtent()
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
        mask[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = values > 0
    return mask


def box_mask():
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*side) for side in BOX)] = True
    return mask


def test_painted_voxels_are_there_and_undo_takes_them_away(editor, segmentation):
    editor.paint(BOX)
    assert np.array_equal(voxels(segmentation), box_mask())

    editor.undo()
    assert not voxels(segmentation).any()
    editor.redo()
    assert np.array_equal(voxels(segmentation), box_mask())


def test_a_mask_erases_what_it_covers(editor, segmentation):
    half = box_mask()
    half[:, :, 3:] = False
    editor.paint(BOX)

    editor.paint(half, erase=True)

    assert np.array_equal(voxels(segmentation), box_mask() & ~half)


def test_a_mask_of_another_shape_fails(editor):
    with pytest.raises(ValueError, match="does not fit"):
        editor.paint(np.ones((2, 2, 2), bool))


def test_painting_without_a_segment_fails(editor):
    editor.selectSegment("")

    with pytest.raises(RuntimeError, match="no segment"):
        editor.paint(BOX)


def test_an_effect_is_activated_with_its_cursor_and_deactivated(editor, effect):
    editor.setActiveEffect("Demo")
    assert effect.calls == ["updateGUIFromMRML", "activate"]
    assert effect.box.value == 3

    effect.calls.clear()
    editor.setActiveEffect(None)
    effect.scriptedEffect.showEffectCursorInSliceView = True
    editor.setActiveEffect("Demo")

    assert effect.calls == ["deactivate", "updateGUIFromMRML", "activate", *["createCursor"] * 3]


def test_an_effects_folder_is_its_module(effect):
    import slicer

    assert sys.modules["SegmentEditorStandInDemoLib"].SegmentEditorEffect is type(effect)
    assert slicer.SegmentEditorStandInDemoLib is effect


def test_a_parameter_is_kept_in_the_editor_node(editor, effect):
    editor.setActiveEffect("Demo")

    effect.box.value = 8

    assert editor.node.GetAttribute("Demo.margin") == "8"
    assert effect.scriptedEffect.doubleParameter("margin") == 8.0


def test_an_unknown_parameter_fails(effect):
    with pytest.raises(LookupError, match="no parameter 'margins'"):
        effect.scriptedEffect.parameter("margins")


def test_a_change_of_the_volume_reaches_the_effect(application, editor, effect):
    other = application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "PET")

    editor.setVolume(other)

    assert "sourceVolumeNodeChanged" in effect.calls


def test_another_segmentation_deactivates_the_effect(application, editor, effect):
    editor.setActiveEffect("Demo")

    editor.setSegmentation(application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode"))

    assert editor.effect is None
    assert effect.calls[-1] == "deactivate"


def test_what_an_effect_writes_is_one_step_of_the_editors_undo(editor, effect, segmentation):
    editor.paint(BOX)
    editor.setActiveEffect("Demo")

    click(effect.button)
    assert not voxels(segmentation).any()

    editor.undo()
    assert np.array_equal(voxels(segmentation), box_mask())


def test_an_effect_cannot_call_what_python_cannot(effect):
    with pytest.raises(AttributeError, match="no attribute named 'icon'"):
        effect.scriptedEffect.icon()


def test_an_exception_in_an_effect_fails_the_test(editor, effect):
    effect.activate = lambda: 1 / 0

    with pytest.raises(ZeroDivisionError):
        editor.setActiveEffect("Demo")


def test_the_editor_widget_works_on_the_scene(application, segmentation, volume):
    import slicer

    widget = slicer.qMRMLSegmentEditorWidget()
    widget.setMRMLScene(application.scene)
    widget.setMRMLSegmentEditorNode(application.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    widget.setSegmentationNode(segmentation)
    widget.setSourceVolumeNode(volume)

    assert widget.currentSegmentID() == "gtv"
    assert widget.sourceVolumeNode() is volume
    assert widget.activeEffect() is None


def test_painting_obeys_the_mask_and_takes_voxels_from_other_segments_as_told(editor, segmentation):
    segmentation.GetSegmentation().AddEmptySegment("organ", "Organ")
    editor.paint(BOX)
    editor.selectSegment("organ")
    editor.node.SetMaskMode(segmentation.EditAllowedInsideSingleSegment)
    editor.node.SetMaskSegmentID("gtv")

    editor.paint(((0, 4), (0, 5), (0, 6)))
    assert not voxels(segmentation).any()  # all of GTV went to the organ, and nothing else

    editor.undo()
    assert np.array_equal(voxels(segmentation), box_mask())
