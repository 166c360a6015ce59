"""Edits through the logic that module, effect and console share: drawn, propagated, undone, measured."""

import numpy as np
import pytest
import slicer

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segmentation_storage import load_segmentation
from context_propagation.mrml.session.session_node import (
    find_session_node,
    read_session,
)
from loaded_models import quick_model

SHAPE = (16, 16, 16)


def test_an_empty_segment_is_made_named_after_the_label_and_filled_with_the_prediction(logic, case, base):
    logic.load_model(base, device="cpu")
    selection = logic.select([case.volume])

    report = logic.predict()

    assert selection.segmentation_node.GetSegmentation().GetSegment(selection.segment_id).GetName() == "GTV"
    assert report.written == logic.segment_mask().sum() > 0
    assert np.array_equal(logic.segment_mask(), logic.session.segmentation)


def test_a_slice_drawn_from_a_script_is_propagated_and_kept(ready, case, target, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    assert np.array_equal(np.delete(ready.segment_mask(), 7, 0), np.delete(target, 7, 0))

    done = ready.propagate()

    result = ready.segment_mask()
    assert [edit.index for edit in done.edits] == [7]
    assert np.array_equal(result[7], redrawn)
    assert done.result.scope == "whole volume (trained for this model)"
    assert done.report.written == (result ^ target)[np.arange(16) != 7].sum() > 0


def test_slices_of_other_planes_are_drawn_in_the_volumes_own_order(ready, case, target):
    mask = target[:, 5].copy()
    mask[3, 2:5] = True

    ready.edit_slice(5, mask, case.plane(1))

    assert np.array_equal(ready.segment_mask()[:, 5], mask)
    assert [(edit.axis, edit.index) for edit in ready.edits(case.plane(1))] == [(1, 5)]


@pytest.mark.parametrize(("index", "shape"), [(16, (16, 16)), (-1, (16, 16)), (3, (16, 15))])
def test_a_slice_that_does_not_fit_is_refused_and_nothing_is_written(ready, case, target, index, shape):
    expected = f"Slice {index} .* does not fit 'CT', which has 16 {case.plane()} slices"
    with pytest.raises(UserInputError, match=expected):
        ready.edit_slice(index, np.ones(shape, bool), case.plane())
    assert np.array_equal(ready.segment_mask(), target)


def test_undo_and_redo_keep_the_history_and_the_saved_session_in_step(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    result = ready.segment_mask()
    node = find_session_node(case.scene, case.segmentation, ready.selection.segment_id)

    ready.undo()
    assert ready.history == []
    assert read_session(node, SHAPE).propagations == ()
    assert np.array_equal(ready.segment_mask()[7], redrawn)

    ready.redo()
    assert len(ready.history) == 1
    assert np.array_equal(ready.segment_mask(), result)
    assert np.array_equal(read_session(node, SHAPE).known.mask, result)


def test_discarding_leaves_no_trace_in_the_history(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())

    ready.discard(ready.propagate_operation().run())

    assert ready.history == []
    assert np.array_equal(ready.segment_mask()[7], redrawn)
    assert len(ready.propagate().edits) == 1


def test_a_new_propagation_after_an_undo_takes_the_place_of_the_undone_one(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.undo()
    again = redrawn.copy()
    again[4:6, 4:6] = True
    ready.edit_slice(7, again, case.plane())
    ready.propagate()

    assert [np.array_equal(done.edits[0].mask, again) for done in ready.history] == [True]


@pytest.mark.parametrize(("index", "nearest"), [(6, 5), (8, 9)])
def test_a_slice_between_those_of_a_coarser_segment_is_refused_and_the_nearest_named(
    logic, case, bundle, target, redrawn, index, nearest
):
    thick = np.diag([1.0, 1.0, 4.0, 1.0])
    thick[2, 3] = 1.0  # slices of the segment on 1, 5, 9 and 13 of the volume's
    segment_id = case.add_on_grid(thick, (4, 16, 16), case.nearest(target))
    logic.loaded = quick_model(bundle)
    logic.select([case.volume], case.segmentation, segment_id)
    logic.predict()
    before = logic.segment_mask()

    expected = f"Segment 'GTV' has no voxel on {case.plane()} slice {index} of 'CT': .*; draw slice {nearest}, or give"
    with pytest.raises(UserInputError, match=expected):
        logic.edit_slice(index, redrawn, case.plane())
    assert np.array_equal(logic.segment_mask(), before)
    assert logic.edit_slice(nearest, redrawn, case.plane()).written > 0


def test_the_suggested_slice_is_the_one_with_most_doubt_away_from_those_drawn(ready, case, redrawn):
    first = ready.suggested_slice()
    assert first == int(np.argmax(ready.doubt.per_slice_mm2))

    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()

    assert ready.doubt.axis == 0
    assert (ready.doubt.per_slice_mm2[5:10] == 0).all()
    assert ready.suggested_slice() not in range(5, 10)


def test_the_volume_and_the_comparison_with_a_reference_are_measured_on_the_volumes_grid(ready, case, target):
    grown = target.copy()
    grown[8] |= np.roll(target[8], 1, axis=0)
    case.add(grown, name="expert")

    measured = ready.measure((case.segmentation, "expert"))

    voxel_ml = 0.8 * 1.1 * 2.5 / 1000
    assert measured.volume_ml == pytest.approx(target.sum() * voxel_ml)
    assert measured.reference_ml == pytest.approx(grown.sum() * voxel_ml)
    assert measured.comparison.dsc == pytest.approx(2 * target.sum() / (target.sum() + grown.sum()))
    assert [name for name, _ in measured.rows] == [
        "Volume",
        "Volume of 'expert'",
        "DSC",
        "Hausdorff distance, 95 %",
        "Surface DSC at 2 mm",
        "Added path length, axial",
    ]
    assert [name for name, _ in ready.measure().rows] == ["Volume"]


def test_the_saved_file_holds_all_segments(ready, case, target, tmp_path):
    case.add(np.roll(target, 2, axis=0), name="cord")

    ready.save(tmp_path / "all.seg.nrrd")

    loaded = load_segmentation(new_scene(), tmp_path / "all.seg.nrrd").GetSegmentation()
    assert [loaded.GetSegment(s).GetName() for s in loaded.GetSegmentIDs()] == ["GTV", "cord"]


@pytest.mark.parametrize("opened_first", [True, False])
def test_the_masks_of_the_module_segment_editor_are_obeyed_whenever_it_was_opened(
    logic, case, bundle, target, redrawn, opened_first
):
    allowed = np.zeros(SHAPE, bool)
    allowed[7] = True  # the drawn slice alone
    mask_id = case.add(allowed, name="editable")

    def open_editor():
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag("SegmentEditor")
        node = case.scene.AddNode(node)
        node.SetAndObserveSegmentationNode(case.segmentation)
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        node.SetMaskSegmentID(mask_id)
        return node

    editor = open_editor() if opened_first else None
    logic.load_model(bundle, device="cpu")
    logic.select([case.volume], case.segmentation, case.add(target))
    logic.predict()
    editor = editor or open_editor()
    logic.edit_slice(7, redrawn, case.plane())
    drawn = logic.segment_mask()

    done = logic.propagate()

    assert done.report.refused == done.result.changed.sum() > 0
    assert done.report.written == 0
    assert np.array_equal(logic.segment_mask(), drawn)
    assert np.array_equal(case.read(mask_id), allowed)
    editor.SetAndObserveSegmentationNode(None)  # it edits something else now
    logic.undo()
    assert logic.propagate().report.refused == 0


def test_a_drawing_after_a_propagation_makes_undo_refuse_and_nothing_is_lost(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.edit_slice(10, redrawn, case.plane())
    drawn = ready.segment_mask()

    with pytest.raises(UserInputError, match="undo that edit first"):
        ready.undo()

    assert np.array_equal(ready.segment_mask(), drawn)
    assert [edit.index for edit in ready.edits()] == [10]


def test_a_kept_slice_is_not_suggested(ready, case):
    index = ready.suggested_slice()
    mask = ready.segment_mask()[index].copy()
    mask[2:5, 2:5] ^= True
    ready.edit_slice(index, mask, case.plane(ready.doubt.axis))
    ready.propagate()

    ready.predict()

    assert [kept.index for kept in ready.kept] == [index]
    assert abs(ready.suggested_slice() - index) > ready.session.settings.neighbours


@pytest.mark.parametrize("stage", ["encode", "look for undecided slices"])
def test_a_cancel_forgets_nothing_that_was_undone(ready, case, redrawn, stage):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.undo()
    stages = ["encode"]  # what is cached needs none

    with pytest.raises(Cancelled):
        ready.propagate_operation().run(lambda name, fraction: stages.append(name), lambda: stages[-1] == stage)

    assert ready.propagation.can_redo
