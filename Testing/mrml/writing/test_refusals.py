"""What masks would refuse, held against what Slicer's own writing then refuses."""

import numpy as np
import pytest
import slicer

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.nodes.volume_nodes import volume_array
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.foreseen_losses import count_refused
from context_propagation.mrml.writing.segment_writer import write_changed_voxels

NODE = slicer.vtkMRMLSegmentationNode
MODES = [
    NODE.EditAllowedEverywhere,
    NODE.EditAllowedInsideAllSegments,
    NODE.EditAllowedInsideVisibleSegments,
    NODE.EditAllowedOutsideAllSegments,
    NODE.EditAllowedOutsideVisibleSegments,
    NODE.EditAllowedInsideSingleSegment,
]


@pytest.fixture
def editor(case):
    """Three segments: the target, one beside it, and a hidden one."""
    case.gtv = case.add(case.target)
    cord = case.add(np.roll(case.target, 3, axis=2), "cord")
    hidden = case.add(np.roll(case.target, -3, axis=1), "hidden")
    case.segmentation.GetDisplayNode().SetSegmentVisibility(hidden, False)
    node = case.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(case.segmentation)
    node.SetAndObserveSourceVolumeNode(case.volume)
    node.SetSelectedSegmentID(case.gtv)
    node.SetMaskSegmentID(cord)
    return node


def foreseen_and_refused(case, editor):
    wanted = np.roll(case.target, (1, 2, 2), axis=(0, 1, 2))
    changed = wanted ^ case.target
    foreseen = count_refused(editor, case.segmentation, case.gtv, case.volume, BoxedMask.of(changed))
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)
    report = write_changed_voxels(writer, case.segmentation, case.gtv, case.volume, wanted, changed)
    return foreseen, report.refused, int(changed.sum())


@pytest.mark.parametrize("mode", MODES)
def test_what_is_foreseen_is_what_is_refused_under_each_editable_area(case, editor, mode):
    editor.SetMaskMode(mode)

    foreseen, refused, changed = foreseen_and_refused(case, editor)

    assert foreseen == refused
    assert (refused == 0) == (mode == NODE.EditAllowedEverywhere)
    assert refused < changed


def test_the_intensity_range_is_foreseen_as_well(case, editor):
    editor.SetMaskMode(NODE.EditAllowedOutsideAllSegments)
    without, _, _ = foreseen_and_refused(case, editor)
    case.paint(case.gtv, case.target)
    editor.SetSourceVolumeIntensityMask(True)
    editor.SetSourceVolumeIntensityMaskRange(0.0, float(volume_array(case.volume).max()))

    foreseen, refused, changed = foreseen_and_refused(case, editor)

    assert without < foreseen == refused < changed


def test_under_transforms_what_is_foreseen_is_what_is_refused(case, editor, rotate):
    together = case.transform(rotate(30, (1, 2, 0)))
    case.volume.SetAndObserveTransformNodeID(together.GetID())
    case.segmentation.SetAndObserveTransformNodeID(together.GetID())
    editor.SetMaskMode(NODE.EditAllowedOutsideAllSegments)

    foreseen, refused, _ = foreseen_and_refused(case, editor)

    assert 0 < foreseen == refused


def test_inside_a_segment_that_is_gone_all_is_refused(case, editor):
    editor.SetMaskMode(NODE.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID("gone")

    assert (
        count_refused(editor, case.segmentation, case.gtv, case.volume, BoxedMask.of(case.target)) == case.target.sum()
    )


def test_nothing_is_refused_where_nothing_changes(case, editor):
    editor.SetMaskMode(NODE.EditAllowedInsideSingleSegment)
    nothing = np.zeros(case.shape, bool)
    assert count_refused(editor, case.segmentation, case.gtv, case.volume, BoxedMask.of(nothing)) == 0
