"""Undo and redo take one propagation after the other back and bring it again, and never what someone else drew."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.segments import segment_labelmap
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from propagation_steps import SHAPE, propagate, set_image
from segment_editors import SegmentEditor


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
