"""Writing through an effect: a real editor logic behind the few calls that are asked of Slicer's effect."""

import numpy as np
import pytest
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.volume_nodes import volume_array
from context_propagation.mrml.writing.effect_writer import EffectWriter
from context_propagation.mrml.writing.segment_writer import write_changed_voxels

LOGIC = slicer.vtkSlicerSegmentEditorLogic


class Effect:
    """What Slicer's scripted effect does for the writer."""

    def __init__(self, case, segment_id):
        self.logic, self.states = LOGIC(), 0
        self.logic.SetMRMLScene(case.scene)
        self.node = case.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.node.SetAndObserveSegmentationNode(case.segmentation)
        self.node.SetAndObserveSourceVolumeNode(case.volume)
        self.node.SetOverwriteMode(self.node.OverwriteNone)
        self.node.SetSelectedSegmentID(segment_id)
        self.logic.SetSegmentEditorNode(self.node)

    def parameterSetNode(self):  # noqa: N802
        return self.node

    def saveStateForUndo(self):  # noqa: N802
        self.states += 1
        self.logic.SaveStateForUndo()

    def modifySelectedSegmentByLabelmap(self, labelmap, mode, extent, bypass_masking):  # noqa: N802
        node, selected = self.node.GetSegmentationNode(), self.node.GetSelectedSegmentID()
        self.logic.ModifySegmentByLabelmap(node, selected, labelmap, mode, extent, True, bypass_masking)


@pytest.fixture
def target(case):
    return case.add(case.target)


@pytest.fixture
def effect(case, target):
    return Effect(case, target)


@pytest.fixture
def write(case, target, effect):
    def write(wanted):
        writer = EffectWriter(
            effect,
            effect.parameterSetNode().GetSegmentationNode(),
            LOGIC.ModificationModeAdd,
            LOGIC.ModificationModeRemove,
        )
        changed = np.ones(case.shape, bool)
        return write_changed_voxels(writer, case.segmentation, target, case.volume, wanted, changed)

    return write


def test_voxels_are_added_and_removed_in_one_undo_step(case, target, effect, write):
    wanted = np.roll(case.target, 3, axis=2)

    report = write(wanted)

    assert np.array_equal(case.read(target), wanted)
    assert (report.written, report.refused) == ((wanted ^ case.target).sum(), 0)
    assert effect.states == 1
    effect.logic.Undo()
    assert np.array_equal(case.read(target), case.target)


def test_another_selected_segment_is_not_written(case, target, effect, write):
    other = case.add(np.zeros(case.shape, bool), "Other")
    effect.node.SetSelectedSegmentID(other)

    with pytest.raises(UserInputError, match="Another segment was selected"):
        write(np.roll(case.target, 3, axis=2))

    assert np.array_equal(case.read(target), case.target)
    assert not case.read(other).any()


def test_erasing_inside_one_segment_leaves_that_segment_and_what_is_outside(case, target, effect, write):
    area = np.zeros(case.shape, bool)
    area[:, :, :8] = True
    area_id = case.add(area, "Area")
    effect.node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    effect.node.SetMaskSegmentID(area_id)

    report = write(np.zeros(case.shape, bool))

    assert np.array_equal(case.read(target), case.target & ~area)
    assert np.array_equal(case.read(area_id), area)
    assert report.refused == (case.target & ~area).sum()


@pytest.mark.parametrize("on", [False, True])
def test_an_intensity_range_is_obeyed_and_stays_as_the_user_set_it(case, target, effect, write, on):
    told = []
    effect.node.SetSourceVolumeIntensityMask(on)
    effect.node.SetSourceVolumeIntensityMaskRange(-0.5, 0.5)
    effect.node.AddObserver("ModifiedEvent", lambda node, _: told.append(bool(node.GetSourceVolumeIntensityMask())))
    ct = volume_array(case.volume)
    inside = (ct >= -0.5) & (ct <= 0.5) if on else np.ones(case.shape, bool)
    wanted = np.roll(case.target, 3, axis=2)

    write(wanted)

    assert np.array_equal(case.read(target), np.where(inside, wanted, case.target))
    assert bool(effect.node.GetSourceVolumeIntensityMask()) is on
    assert all(told)  # nobody is told while it is off, and each write ends with telling that it is on
    assert bool(told) is on
