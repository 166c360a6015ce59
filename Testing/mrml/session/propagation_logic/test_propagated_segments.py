"""What was drawn is found, propagated and written, and nothing else of the scene is."""

import numpy as np
import pytest
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from fusion_networks import random_fusion
from propagation_steps import SHAPE, propagate, set_image


def test_what_was_drawn_is_found_and_propagated_and_stays_as_drawn(case, session, logic, segment_id, drawn, target):
    case.paint(segment_id, drawn)

    done = propagate(logic)

    result = case.read(segment_id)
    assert [(edit.axis, edit.index) for edit in done.edits] == [(0, 7)]
    assert np.array_equal(result, session.segmentation)
    assert np.array_equal(result[7], drawn[7])
    assert done.report.written == done.result.changed.sum() > 0
    assert np.array_equal(result[:5], target[:5])
    assert np.array_equal(result[10:], target[10:])


def test_far_slices_that_a_fusion_network_changes_are_written_and_taken_back(
    case, make_session, model, segment_id, drawn, target
):
    session = make_session(random_fusion(model, channels=6))
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    set_image(logic)
    case.paint(segment_id, drawn)

    done = propagate(logic)

    assert done.result.scope == "whole volume (trained for this model)"
    assert set(done.result.changed_per_slice) - {5, 6, 7, 8, 9}
    assert np.array_equal(case.read(segment_id), session.segmentation)
    assert np.array_equal(session.segmentation[7], drawn[7])
    logic.undo()
    assert np.array_equal(case.read(segment_id), drawn)
    assert np.array_equal(session.segmentation, target)


@pytest.mark.parametrize("both", [False, True])
def test_a_sagittal_drawing_that_waits_is_not_written_where_axial_slices_are_named(
    case, make_session, model, segment_id, drawn, target, both
):
    logic = PropagationLogic(
        case.scene, make_session(random_fusion(model, channels=6)), [case.volume], case.segmentation, segment_id
    )
    set_image(logic)
    waiting = drawn.copy() if both else target.copy()
    waiting[6:11, 4:12, 11] = ~target[6:11, 4:12, 11]
    case.paint(segment_id, waiting)

    done = propagate(logic, axis=0)

    assert np.array_equal(case.read(segment_id)[:, :, 11], waiting[:, :, 11])
    again = case.read(segment_id)
    assert (again != waiting).any()
    assert done.report.written == done.result.changed.sum() == (again != waiting).sum()
    again[13] = np.roll(target[8], 1, 0)
    case.paint(segment_id, again)
    propagate(logic, axis=0)
    assert np.array_equal(np.delete(case.read(segment_id)[:, :, 11], 13, 0), np.delete(waiting[:, :, 11], 13, 0))


def test_the_plane_may_be_named(case, logic, segment_id, drawn):
    case.paint(segment_id, drawn)

    assert propagate(logic, plane=case.source.plane_of_axis[0]).result.edited_slices == (7,)


def test_a_second_edit_is_compared_with_the_first_result(case, logic, segment_id, drawn):
    case.paint(segment_id, drawn)
    propagate(logic)
    again = case.read(segment_id)
    again[10, 6:9, 6:9] ^= True
    case.paint(segment_id, again)

    assert propagate(logic).result.edited_slices == (10,)


def test_refused_voxels_are_reported_and_are_no_edit_later(case, make_session, segment_id, drawn):
    area = np.zeros(SHAPE, bool)
    area[:8] = True
    editor = case.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID(case.add(area, "Area"))
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)
    logic = PropagationLogic(case.scene, make_session(tidy=False), [case.volume], case.segmentation, segment_id, writer)
    set_image(logic)
    case.paint(segment_id, drawn)

    done = propagate(logic)

    assert done.report.refused == (done.result.changed & ~area).sum() > 0
    with pytest.raises(UserInputError, match="redraw at least one slice"):
        propagate(logic)


def test_other_segments_stay_as_they_are(case, logic, segment_id, drawn):
    organ = np.ones(SHAPE, bool)
    other = case.add(organ, "Body")
    case.paint(segment_id, drawn)

    propagate(logic)

    assert np.array_equal(case.read(other), organ)


def test_an_empty_segment_is_filled_with_the_prediction(case, session):
    empty = case.segmentation.GetSegmentation().AddEmptySegment("", "Empty")

    set_image(PropagationLogic(case.scene, session, [case.volume], case.segmentation, empty))

    assert session.segmentation.any()
    assert np.array_equal(case.read(empty), session.segmentation)


def test_a_session_that_holds_an_image_is_resumed(case, session, logic, segment_id, drawn):
    again = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    case.paint(segment_id, drawn)

    again.resume()

    assert propagate(again).result.edited_slices == (7,)


@pytest.mark.parametrize("again", ["propagate", "undo"])
def test_a_missed_lesion_with_a_confirmed_empty_slice_may_be_drawn_on_a_finer_grid(
    case, session, draw_ellipsoid, again
):
    segment_id = case.add(np.zeros(SHAPE, bool), "missed")
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    logic.image_operation(fill=False).run()
    logic.confirm(0, [9])
    logic.confirm(0, [3])
    logic.undo()
    fine = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] = -1 / 3
    ball = draw_ellipsoid(SHAPE, (7, 6, 7), (0.5, 3, 4))
    finer = case.add_on_grid(fine, tuple(3 * n for n in SHAPE), case.nearest(ball), "finer")
    segmentation = case.segmentation.GetSegmentation()
    segmentation.GetSegment(segment_id).DeepCopy(segmentation.GetSegment(finer))

    assert [edit.index for edit in logic.edits()] == [7]

    if again == "propagate":
        done = propagate(logic)
        assert done.result.changed.any()
        assert done.report.written > 0
        assert not case.read(segment_id)[9].any()
        logic.undo()
        assert np.array_equal(case.read(segment_id), ball)
    logic.undo()
    assert not session.records
    logic.redo()
    assert [edit.index for edit in session.records[0].edits] == [9]
    assert [edit.index for edit in logic.edits()] == [7]
