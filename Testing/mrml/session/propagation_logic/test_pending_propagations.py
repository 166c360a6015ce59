"""A propagation that computes or waits to be applied holds up all else; one that was only made holds up nothing."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from propagation_steps import SHAPE, propagate


def test_what_is_pending_writes_nothing_until_it_is_applied(case, session, logic, segment_id, drawn):
    case.paint(segment_id, drawn)

    pending = logic.propagation_operation().run()
    assert np.array_equal(case.read(segment_id), drawn)

    logic.apply(pending)
    assert np.array_equal(case.read(segment_id), pending.result.segmentation)
    with pytest.raises(UserInputError, match="applied or discarded before"):
        logic.apply(pending)


def test_discarding_takes_the_engine_back_and_leaves_the_drawing(case, session, logic, segment_id, drawn, target):
    case.paint(segment_id, drawn)

    logic.discard(logic.propagation_operation().run())

    assert np.array_equal(case.read(segment_id), drawn)
    assert np.array_equal(session.segmentation, target)
    assert [edit.index for edit in logic.edits()] == [7]
    with pytest.raises(UserInputError, match="Nothing to undo"):
        logic.undo()


ACTS = ["propagation_operation", "undo", "redo", "follow_segment", "image_operation"]


@pytest.mark.parametrize("act", ACTS)
def test_nothing_else_is_done_while_a_propagation_is_pending(case, logic, segment_id, drawn, act):
    case.paint(segment_id, drawn)
    pending = logic.propagation_operation().run()

    with pytest.raises(UserInputError, match="applied or discarded"):
        getattr(logic, act)()
    logic.discard(pending)


@pytest.mark.parametrize("act", ACTS)
def test_nothing_else_is_done_while_it_computes(case, session, logic, segment_id, drawn, act):
    case.paint(segment_id, drawn)
    refusals = []

    def meddle(stage, fraction):
        try:
            getattr(logic, act)()
        except UserInputError as error:
            refusals.append(str(error))

    logic.propagation_operation().run(progress=meddle)

    assert set(refusals) == {"A computation is running; wait for it or cancel it"}


def test_a_drawing_that_went_on_after_propagating_is_kept_and_the_propagation_dropped(
    case, session, logic, segment_id, drawn, target
):
    case.paint(segment_id, drawn)
    pending = logic.propagation_operation().run()
    drawn[7, 2, 2] ^= True
    case.paint(segment_id, drawn)

    with pytest.raises(UserInputError, match="propagate again"):
        logic.apply(pending)

    assert np.array_equal(case.read(segment_id), drawn)
    assert np.array_equal(session.segmentation, target)
    assert propagate(logic).result.edited_slices == (7,)


@pytest.mark.parametrize("deleted", ["segmentation", "volume"])
def test_a_node_deleted_during_the_run_is_named_and_the_engine_is_as_before(
    case, session, logic, segment_id, drawn, target, deleted
):
    case.paint(segment_id, drawn)
    operation = logic.propagation_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    node = getattr(case, deleted)
    case.scene.RemoveNode(node)

    with pytest.raises(UserInputError, match=f"'{node.GetName()}' was deleted"):
        logic.apply(operation.finish(computed))
    assert np.array_equal(session.segmentation, target)


def test_a_propagation_abandoned_after_it_was_computed_leaves_the_engine_as_before(
    case, session, logic, segment_id, drawn, target
):
    case.paint(segment_id, drawn)
    operation = logic.propagation_operation()
    operation.begin()
    operation.compute(lambda stage, fraction: None, lambda: False)

    operation.abandon()

    assert np.array_equal(session.segmentation, target)
    assert [edit.index for edit in logic.edits()] == [7]


def test_a_segment_drawn_in_while_it_was_predicted_is_not_overwritten(case, session, drawn):
    segment_id = case.add(np.zeros(SHAPE, bool), name="empty")
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    operation = logic.image_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    case.paint(segment_id, drawn)

    with pytest.raises(UserInputError, match="changed during the prediction"):
        operation.finish(computed)
    assert np.array_equal(case.read(segment_id), drawn)


def test_an_operation_that_is_never_begun_stops_nothing(case, logic, segment_id, drawn):
    case.paint(segment_id, drawn)
    logic.image_operation()
    logic.propagation_operation()

    assert not logic.busy
    propagate(logic)
    logic.undo()


def test_of_two_operations_the_second_is_refused_while_the_first_runs_and_where_it_was_applied(
    case, session, logic, segment_id, drawn
):
    case.paint(segment_id, drawn)
    first, second = logic.propagation_operation(), logic.propagation_operation()
    first.begin()
    with pytest.raises(UserInputError, match="A computation is running"):
        second.begin()
    logic.apply(first.finish(first.compute(lambda stage, fraction: None, lambda: False)))

    with pytest.raises(UserInputError, match="propagated or undone meanwhile; propagate again"):
        second.run()
    assert not logic.busy
    assert len(session.done) == 1


def test_an_image_operation_is_refused_where_the_segment_was_drawn_in_since_it_was_made(case, logic, segment_id, drawn):
    operation = logic.image_operation()
    case.paint(segment_id, drawn)

    with pytest.raises(UserInputError, match="changed meanwhile; press Predict or Start again"):
        operation.run()
    assert propagate(logic).result.edited_slices == (7,)
