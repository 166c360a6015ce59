"""What was drawn or changed by hand stays, through later edits, undo and redo."""

import numpy as np

from context_propagation.core.image.slices import SliceEdit
from small_sessions import SHAPE, ball, redrawn, started


def test_drawn_slices_stay_exactly_as_drawn_through_later_edits_undo_and_redo(model):
    session = started(model)
    first = redrawn(session, 0, 10)
    session.propagate([first])
    second = redrawn(session, 0, 11)
    session.propagate([second])
    assert np.array_equal(session.segmentation[10], first.mask)
    assert np.array_equal(session.segmentation[11], second.mask)
    session.undo()
    assert np.array_equal(session.segmentation[10], first.mask)
    session.redo()
    assert np.array_equal(session.segmentation[10], first.mask)
    assert np.array_equal(session.segmentation[11], second.mask)


def test_undo_and_redo_walk_the_same_states(model):
    session = started(model)
    states = [session.segmentation.copy()]
    for index in (6, 12, 12, 15):
        session.propagate([redrawn(session, 0, index)])
        states.append(session.segmentation.copy())
    for state in reversed(states[:-1]):
        assert session.undo()
        assert np.array_equal(session.segmentation, state)
    assert not session.undo()
    for state in states[1:]:
        assert session.redo()
        assert np.array_equal(session.segmentation, state)
    assert not session.redo()


def test_redrawing_a_slice_replaces_its_earlier_drawing(model):
    edit = redrawn(started(model))
    once = started(model)
    once.propagate([edit])
    twice = started(model)
    twice.propagate([SliceEdit(0, 12, ~edit.mask)])
    twice.propagate([edit])
    assert np.array_equal(once.segmentation, twice.segmentation)


def test_voxels_changed_by_hand_are_never_written(model):
    reference = started(model)
    edit = redrawn(reference)
    changed = reference.propagate([edit]).changed
    session = started(model)
    by_hand = session.segmentation.copy()
    by_hand[11] = ~by_hand[11]
    session.accept_manual_changes(by_hand)
    result = session.propagate([edit])
    assert changed[11].any()
    assert np.array_equal(result.segmentation[11], by_hand[11])


def test_undo_keeps_what_was_changed_by_hand_since(model):
    session = started(model)
    result = session.propagate([redrawn(session)])
    voxel = tuple(np.argwhere(result.changed)[0])
    later = session.segmentation.copy()
    later[voxel] = ~later[voxel]
    session.accept_manual_changes(later)
    session.undo()
    assert session.segmentation[voxel] == later[voxel]


def test_undo_keeps_a_voxel_that_was_changed_by_hand_and_changed_back(model):
    session = started(model)
    before = session.segmentation.copy()
    result = session.propagate([redrawn(session)])
    voxel = tuple(np.argwhere(result.changed)[0])
    for _ in range(2):
        by_hand = session.segmentation.copy()
        by_hand[voxel] = ~by_hand[voxel]
        session.accept_manual_changes(by_hand)
    session.undo()
    expected = before.copy()
    expected[voxel] = result.segmentation[voxel]
    assert np.array_equal(session.segmentation, expected)


def test_redo_keeps_what_was_changed_by_hand_before_the_undo(model):
    session = started(model)
    result = session.propagate([redrawn(session)])
    voxel = tuple(np.argwhere(result.changed)[0])
    by_hand = session.segmentation.copy()
    by_hand[voxel] = ~by_hand[voxel]
    session.accept_manual_changes(by_hand)
    session.undo()
    session.redo()
    assert session.segmentation[voxel] == by_hand[voxel]


def test_voxels_that_an_edit_must_spare_are_not_written_by_it(model):
    reference, session = started(model, tidy=False), started(model, tidy=False)
    edit = redrawn(reference)
    changed = reference.propagate([edit]).changed
    spared = np.zeros(SHAPE, bool)
    spared[11] = True
    result = session.propagate([edit], spared=spared)
    assert changed[11].any()
    assert np.array_equal(result.changed, changed & ~spared)


def test_protected_voxels_are_never_written_by_propagation(model):
    free, kept = started(model), started(model)
    edit = redrawn(free)
    written = free.propagate([edit]).changed
    protected = np.zeros(SHAPE, bool)
    protected[13] = True
    assert written[13].any()

    kept.protect(protected)
    result = kept.propagate([edit])

    assert not result.changed[13].any()
    assert np.array_equal(result.segmentation[13], ball()[13])
    assert result.changed[11].any() == written[11].any()


def test_the_session_keeps_its_own_copy_of_a_drawing(model):
    session = started(model)
    edit = redrawn(session)
    drawn = edit.mask.copy()
    session.propagate([edit])
    edit.mask[:] = False
    session.propagate([redrawn(session, 0, 5)])
    assert np.array_equal(session.segmentation[12], drawn)


def test_what_a_preview_gives_is_taken_over_without_a_copy_and_read_only(model):
    session = started(model)
    before = session.segmentation.copy()
    preview = session.preview([redrawn(session)])
    given = preview.segmentation

    session.add(preview.step, given)

    assert session.segmentation is given
    assert not given.flags.writeable
    after = given.copy()
    assert session.undo()
    assert np.array_equal(session.segmentation, before)
    assert session.redo()
    assert np.array_equal(session.segmentation, after)
    assert np.array_equal(given, after)


def test_a_preview_that_is_added_is_a_propagation_and_one_that_is_not_leaves_what_can_be_redone(model):
    session, other = started(model), started(model)
    first, second = redrawn(session), redrawn(session, 0, 9)
    result = session.propagate([first])
    session.undo()

    preview = session.preview([second])
    assert session.redo()
    assert np.array_equal(session.segmentation, result.segmentation)
    session.undo()
    session.add(preview.step)

    assert np.array_equal(session.segmentation, other.propagate([second]).segmentation)
    assert not session.redo()
