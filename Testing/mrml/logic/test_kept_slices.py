"""Slices that were drawn before a session began, and are left alone in it."""

import numpy as np
import pytest

from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.session.earlier_edits import Earlier


@pytest.mark.parametrize("orientation", ["RAS", "LPS", None])
def test_slices_drawn_on_this_image_are_kept_for_a_model_of_another_orientation(ready, case, redrawn, orientation):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.close_session()
    ready.loaded.model.orientation = orientation

    assert [edit.index for edit in ready.check().earlier.drawn] == [7]
    ready.predict()
    assert [edit.index for edit in ready.kept] == [7]


def test_slices_drawn_on_a_ct_are_kept_where_a_pet_joins_it_and_a_replay_needs_both():
    ct, pet = np.random.default_rng(0).normal(size=(2, 1, 4, 5, 6)).astype(np.float32)
    one = image_sha256(SourceVolume(ct, np.eye(4)))
    both = image_sha256(SourceVolume(np.concatenate([ct, pet]), np.eye(4)))

    assert both[:1] == one
    assert both[1] != one[0]
    earlier = Earlier(trouble="kept", image_sha256=one[0])
    assert earlier.on(both[0]) is earlier
    assert "another image" in earlier.on(both[1]).trouble


def test_slices_drawn_on_this_image_are_kept_by_a_new_start(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.close_session()

    assert [edit.index for edit in ready.check().earlier.drawn] == [7]
    ready.predict()
    assert [edit.index for edit in ready.kept] == [7]


def test_a_new_start_keeps_the_record_of_earlier_edits(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()

    ready.predict()

    assert ready.saved_session().propagations == ()
    earlier = [name for name in case.node_names if name.endswith("(earlier)")]
    assert len(earlier) == 1


def test_slices_drawn_before_a_new_start_are_left_alone_by_what_is_propagated_then(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.edit_slice(10, np.roll(ready.segment_mask()[10], 2, 0), case.plane())
    before = ready.segment_mask()

    ready.predict()
    assert [(kept.axis, kept.index) for kept in ready.kept] == [(0, 7), (0, 10)]
    ready.edit_slice(8, np.roll(before[8], 3, 1), case.plane())
    done = ready.propagate()

    after = ready.segment_mask()
    assert np.array_equal(after[7], before[7])
    assert np.array_equal(after[10], before[10])
    assert done.result.changed[9].any()


def test_slices_drawn_before_may_be_given_up_at_a_new_start(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    before = ready.segment_mask()

    ready.predict(keep_drawn=False)
    ready.edit_slice(8, np.roll(before[8], 3, 1), case.plane())
    done = ready.propagate()

    assert ready.kept == ()
    assert done.result.changed[7].any()


def start_and_kept(logic):
    logic.predict()
    return [(kept.axis, kept.index) for kept in logic.kept]


def test_a_segment_corrected_on_every_slice_keeps_them_all(ready, case, target, redrawn):
    for index in np.flatnonzero(target.any(axis=(1, 2))):
        ready.edit_slice(int(index), np.roll(target[index], 1, 0), case.plane())
    ready.plane = case.plane()

    assert start_and_kept(ready) == [(0, int(index)) for index in np.flatnonzero(target.any(axis=(1, 2)))]


@pytest.mark.parametrize("propagated_before", [True, False])
def test_what_was_redrawn_before_the_session_was_closed_is_kept(ready, case, bundle, redrawn, propagated_before):
    if propagated_before:
        ready.edit_slice(7, redrawn, case.plane())
        ready.propagate()
    stroke = ready.segment_mask()[10].copy()
    stroke[2:5, 2:5] ^= True
    ready.edit_slice(10, stroke, case.plane())

    ready.load_model(bundle, device="cpu")

    assert [kept.index for kept in ready.check().earlier.drawn] == ([7, 10] if propagated_before else [10])


def test_a_start_that_fails_at_its_end_leaves_the_record_of_the_earlier_one(ready, case, redrawn, monkeypatch):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()

    def fail(*args):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("context_propagation.mrml.session.live_session.write_session", fail)
        with pytest.raises(MemoryError):
            ready.predict()

    assert len(ready.saved_session().propagations) == 1
    assert [kept.index for kept in ready.check().earlier.drawn] == [7]


def test_a_segmentation_turned_a_little_is_told_to_lie_otherwise(ready, case, redrawn, rotate):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.close_session()
    case.segmentation.SetAndObserveTransformNodeID(case.transform(rotate(0.4, (0, 0, 1))).GetID())

    assert "were moved relative to each other" in ready.check().warnings[-1]


def test_in_a_segment_that_was_emptied_nothing_is_kept(ready, case, target, redrawn):
    ready.edit_slice(7, np.zeros_like(redrawn), case.plane())
    ready.propagate()
    case.paint(ready.selection.segment_id, np.zeros_like(target))

    assert ready.check().earlier.drawn == ()


def test_a_propagation_that_was_undone_in_the_editor_keeps_its_drawing_alone(ready, case, target, redrawn):
    ready.plane = case.plane()
    ready.edit_slice(7, redrawn, case.plane())
    drawn = ready.segment_mask()
    ready.propagate()
    case.paint(ready.selection.segment_id, drawn)  # as the editor's Undo does, which tells no one

    assert start_and_kept(ready) == [(0, 7)]


@pytest.mark.parametrize("undone_after_the_end", [False, True])
def test_a_session_that_is_closed_knows_of_an_undo_before_and_keeps_the_drawing_after_one(
    ready, case, redrawn, undone_after_the_end
):
    ready.plane = case.plane()
    ready.edit_slice(7, redrawn, case.plane())
    drawn = ready.segment_mask()
    ready.propagate()
    if undone_after_the_end:
        ready.close_session()
    case.paint(ready.selection.segment_id, drawn)
    if not undone_after_the_end:
        ready.close_session()
        assert ready.saved_session().propagations == ()
        return

    assert start_and_kept(ready) == [(0, 7)]


def test_a_slice_stays_kept_where_one_of_another_plane_was_drawn_across_it(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    across = ready.segment_mask()[:, 8].copy()
    across[5:9, 3:6] ^= True
    ready.edit_slice(8, across, case.plane(1))

    assert start_and_kept(ready) == [(0, 7), (1, 8)]
    assert np.array_equal(ready.segment_mask()[:, 8], across)


def test_strokes_in_two_planes_are_told_to_be_lost_and_the_drawn_slice_is_kept(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    mask = ready.segment_mask()
    mask[11, 2:5, 2:5] ^= True
    mask[2:5, 8, 10:13] ^= True
    case.paint(ready.selection.segment_id, mask)

    check = ready.check()

    assert "What was redrawn since the last propagation is not kept" in check.warnings[-1]
    assert [(kept.axis, kept.index) for kept in check.earlier.drawn] == [(0, 7)]


def test_kept_slices_are_kept_over_further_starts_and_in_a_restored_scene(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    ready.predict()
    ready.edit_slice(10, np.roll(ready.segment_mask()[10], 2, 0), case.plane())
    ready.propagate()
    ready.close_session()

    ready.restore()
    assert [kept.index for kept in ready.kept] == [7]
    before = ready.segment_mask()
    ready.edit_slice(8, np.roll(before[8], 3, 1), case.plane())
    assert not ready.propagate().result.changed[[7, 10]].any()

    ready.predict()
    assert [kept.index for kept in ready.kept] == [7, 8, 10]
