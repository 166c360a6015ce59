import numpy as np
import pytest
import slicer

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.nodes.segments import segment_labelmap
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from fusion_networks import random_fusion
from segment_editors import SegmentEditor

SHAPE = (16, 16, 16)


def set_image(logic):
    return logic.image_operation().run()


def propagate(logic, *, cancelled=lambda: False, **where):
    return logic.apply(logic.propagation_operation(**where).run(cancelled=cancelled))


@pytest.fixture
def case(make_case):
    return make_case(shape=SHAPE)


@pytest.fixture
def target(draw_ellipsoid):
    return draw_ellipsoid(SHAPE, (8, 8, 8), (4, 5, 5))


@pytest.fixture
def drawn(target, draw_ellipsoid):
    """The target with slice k = 7 redrawn."""
    result = target.copy()
    result[7] = draw_ellipsoid(SHAPE, (7, 9, 6), (1, 4, 3))[7]
    return result


@pytest.fixture
def segment_id(case, target):
    return case.add(target)


@pytest.fixture
def session(make_session):
    return make_session()


@pytest.fixture
def logic(case, session, segment_id):
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    set_image(logic)
    return logic


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


def test_a_confirmation_that_goes_with_the_editors_undo_comes_back_with_its_redo(case, logic, segment_id, drawn):
    editor = SegmentEditor(case.scene, case.segmentation, case.volume)
    editor.node.SetSelectedSegmentID(segment_id)
    logic.writer = editor.writer()
    case.paint(segment_id, drawn)
    propagate(logic)
    logic.confirm(0, [12])

    editor.logic.Undo()
    logic.follow_segment()
    assert logic.done_count == 0
    editor.logic.Redo()
    logic.follow_segment()

    assert [[one.index for one in step.confirmed] for step in logic.steps] == [[], [12]]


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


def test_undo_takes_the_propagation_back_and_keeps_the_drawing(case, session, logic, segment_id, drawn, target):
    case.paint(segment_id, drawn)
    propagate(logic)
    result = case.read(segment_id)

    logic.undo()
    assert np.array_equal(case.read(segment_id), drawn)
    assert np.array_equal(session.segmentation, target)
    assert [edit.index for edit in logic.edits()] == [7]

    logic.redo()
    assert np.array_equal(case.read(segment_id), result)
    assert np.array_equal(session.segmentation, result)


def test_undo_is_refused_for_both_where_someone_else_painted_since(case, session, logic, segment_id, drawn):
    case.paint(segment_id, drawn)
    propagate(logic)
    result = session.segmentation.copy()
    painted = case.read(segment_id)
    painted[0, 0, 0] = True
    case.paint(segment_id, painted)

    with pytest.raises(UserInputError, match="undo that edit first"):
        logic.undo()
    assert np.array_equal(session.segmentation, result)
    assert np.array_equal(case.read(segment_id), painted)


def test_redo_is_refused_where_someone_else_painted_since(case, logic, segment_id, drawn):
    case.paint(segment_id, drawn)
    propagate(logic)
    logic.undo()
    painted = redraw(case, segment_id, 10)

    with pytest.raises(UserInputError, match="undo that edit first"):
        logic.redo()
    assert np.array_equal(case.read(segment_id), painted)


def test_an_undo_and_redo_in_the_segment_editor_are_followed(case, session, segment_id, drawn, target):
    editor = SegmentEditor(case.scene, case.segmentation, case.volume, segment_id)
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id, editor.writer())
    set_image(logic)
    case.paint(segment_id, drawn)
    propagate(logic)
    result = session.segmentation.copy()

    with pytest.raises(UserInputError, match="use Undo of the Segment Editor"):
        logic.undo()
    editor.logic.Undo()
    logic.follow_segment()
    assert np.array_equal(session.segmentation, target)
    editor.logic.Redo()
    logic.follow_segment()
    assert np.array_equal(session.segmentation, result)
    editor.logic.Undo()
    assert propagate(logic).result.edited_slices == (7,)
    assert len(session.done) == 1


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


def test_a_session_that_holds_an_image_is_resumed(case, session, logic, segment_id, drawn):
    again = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    case.paint(segment_id, drawn)

    again.resume()

    assert propagate(again).result.edited_slices == (7,)


def test_a_session_of_another_image_is_not_resumed(case, make_case, session, logic, target):
    other = make_case(shape=(16, 16, 17))
    segment_id = other.add(np.zeros(other.shape, bool))

    with pytest.raises(UserInputError, match="select the volume that the session was saved with"):
        PropagationLogic(other.scene, session, [other.volume], other.segmentation, segment_id).resume()


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


# -- a history of several steps


def redraw(case, segment_id, index):
    """Invert a square on a slice."""
    mask = case.read(segment_id)
    mask[index, 6:9, 6:9] ^= True
    case.paint(segment_id, mask)
    return mask


@pytest.fixture
def six(case, logic, segment_id):
    """Slices redrawn and propagated one after the other: the segment after each, and each drawing."""
    after, drawings = [case.read(segment_id)], []
    for index in (7, 10, 5, 9, 6, 8):
        drawings.append(redraw(case, segment_id, index))
        propagate(logic)
        after.append(case.read(segment_id))
    return after, drawings


def test_undo_takes_back_every_propagation_and_redo_brings_each_again(case, session, logic, segment_id, six, target):
    after, drawings = six
    strokes = [before ^ drawn for before, drawn in zip(after, drawings, strict=False)]

    for number in range(6, 0, -1):
        before = case.read(segment_id)
        logic.undo()
        now = case.read(segment_id)
        taken_back = (after[number] ^ drawings[number - 1]) & (before == after[number])
        drawn_since = np.logical_or.reduce([np.zeros(SHAPE, bool), *strokes[number:]])
        assert np.array_equal(now ^ before, taken_back & ~drawn_since)
    assert not logic.can_undo
    assert np.array_equal(session.segmentation, target)
    assert {edit.index for edit in logic.edits(axis=0)} <= {5, 6, 7, 8, 9, 10}
    with pytest.raises(UserInputError, match="Nothing to undo"):
        logic.undo()

    for _ in range(6):
        logic.redo()
    assert np.array_equal(case.read(segment_id), after[-1])
    assert not logic.can_redo


def test_a_voxel_that_was_erased_again_by_hand_stays_erased_through_undo_and_redo(case, logic, segment_id, drawn):
    case.paint(segment_id, drawn)
    changed = propagate(logic).result.changed
    voxel = tuple(np.argwhere(changed)[0])
    case.paint(segment_id, by_hand := flipped(case.read(segment_id), voxel))
    propagate(logic, axis=0)
    result = case.read(segment_id)

    logic.undo()
    assert np.array_equal(case.read(segment_id), by_hand)
    logic.undo()
    assert case.read(segment_id)[voxel] == by_hand[voxel]
    logic.redo()
    assert np.array_equal(case.read(segment_id), by_hand)
    logic.redo()
    assert np.array_equal(case.read(segment_id), result)


def flipped(mask, voxel):
    mask = mask.copy()
    mask[voxel] ^= True
    return mask


def test_after_an_undo_a_stroke_that_the_segment_editor_took_back_stops_no_further_undo(
    case, session, logic, segment_id, drawn
):
    case.paint(segment_id, drawn)
    propagate(logic)
    after = case.read(segment_id)
    redraw(case, segment_id, 10)
    propagate(logic)
    logic.undo()
    case.paint(segment_id, after)  # as the editor's Undo does with the stroke

    logic.undo()

    assert np.array_equal(case.read(segment_id), drawn)
    assert session.done == []


def test_undo_leaves_what_someone_painted_in_another_segment_since(case, logic, segment_id, drawn):
    organ = np.zeros(SHAPE, bool)
    organ[2:12, 2:12, 2:12] = True
    other = case.add(organ, "Organ")
    case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    case.paint(segment_id, drawn)
    propagate(logic)
    organ[12] = True
    case.paint(other, organ)

    logic.undo()

    assert np.array_equal(case.read(segment_id), drawn)
    assert np.array_equal(case.read(other), organ)
    logic.redo()
    assert np.array_equal(case.read(other), organ)


def test_undo_gives_a_finer_drawing_back_voxel_by_voxel(case, session, drawn, target):
    fine = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] = -1 / 3
    segment_id = case.add_on_grid(fine, tuple(3 * n for n in SHAPE), case.nearest(target))
    logic = PropagationLogic(case.scene, session, [case.volume], case.segmentation, segment_id)
    set_image(logic)
    case.paint(segment_id, drawn)
    before = segment_labelmap(case.segmentation, segment_id).voxels.copy()

    propagate(logic)
    assert not np.array_equal(segment_labelmap(case.segmentation, segment_id).voxels, before)
    logic.undo()

    assert np.array_equal(segment_labelmap(case.segmentation, segment_id).voxels, before)


def test_undo_is_refused_where_the_segment_was_put_on_another_grid(case, logic, segment_id, drawn):
    case.paint(segment_id, drawn)
    propagate(logic)
    fine = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] = -1 / 3
    shape = tuple(3 * n for n in SHAPE)
    finer = case.add_on_grid(fine, shape, case.nearest(case.read(segment_id)), "finer")
    segmentation = case.segmentation.GetSegmentation()
    segmentation.GetSegment(segment_id).DeepCopy(segmentation.GetSegment(finer))

    with pytest.raises(UserInputError, match="put on another voxel grid since the last"):
        logic.undo()


# -- making an operation holds nothing up


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
