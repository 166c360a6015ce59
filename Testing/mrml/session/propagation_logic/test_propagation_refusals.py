"""A propagation that is refused, cancelled or cannot be written changes nothing."""

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from propagation_steps import propagate, set_image


def test_cancelling_changes_nothing(case, session, logic, segment_id, drawn, target):
    case.paint(segment_id, drawn)

    with pytest.raises(Cancelled):
        propagate(logic, cancelled=lambda: True)
    assert np.array_equal(case.read(segment_id), drawn)
    assert np.array_equal(session.segmentation, target)


def test_propagating_without_an_image_or_an_edit_is_refused(case, session, segment_id):
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    with pytest.raises(UserInputError, match="No image is set"):
        propagate(logic)
    set_image(logic)
    with pytest.raises(UserInputError, match="redraw at least one slice"):
        propagate(logic)
    with pytest.raises(UserInputError, match="Nothing to undo"):
        logic.undo()
    with pytest.raises(UserInputError, match="Nothing to redo"):
        logic.redo()


def test_nodes_moved_against_each_other_are_refused_and_moved_together_are_not(case, logic, segment_id, drawn, rotate):
    case.paint(segment_id, drawn)
    transform = case.transform(rotate(30, (0, 1, 0)))
    case.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(
        UserInputError, match="moved relative to each other; press Predict, or Start again in the Segment Editor"
    ):
        propagate(logic)

    case.volume.SetAndObserveTransformNodeID(transform.GetID())

    assert [edit.index for edit in logic.edits()] == [7]


def test_a_changed_image_is_refused(case, logic, segment_id, drawn):
    case.paint(segment_id, drawn)
    case.volume.GetImageData().Modified()

    with pytest.raises(UserInputError, match="changed since the last Predict or Start; press it again"):
        propagate(logic)


def test_a_write_that_fails_leaves_the_engine_as_it_was(case, session, segment_id, drawn, target):
    class FullDisk(EditorLogicWriter):
        def modify(self, *_):
            raise UserInputError("no room")

    writer = FullDisk(case.scene, case.segmentation, case.volume)
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id, writer)
    set_image(logic)
    case.paint(segment_id, drawn)

    with pytest.raises(UserInputError, match="no room"):
        propagate(logic)
    assert np.array_equal(session.segmentation, target)
    assert np.array_equal(case.read(segment_id), drawn)
    assert [edit.index for edit in logic.edits()] == [7]


def test_a_session_of_another_image_is_not_resumed(case, make_case, session, logic, target):
    other = make_case(shape=(16, 16, 17))
    segment_id = other.add(np.zeros(other.shape, bool))

    with pytest.raises(UserInputError, match="select the volume that the session was saved with"):
        PropagationLogic(other.scene, session, [other.volume], other.segmentation, segment_id).resume()
