"""A session on a real nnU-Net folder: windows, edits, undo, and what is never touched."""

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder

SHAPE = (24, 22, 20)
QUICK = UpdateSettings(iterations=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))


@pytest.fixture(scope="module")
def model(folder):
    return NnunetModel.load(folder, device="cpu")


def smooth_noise(shape, seed=0):
    """Low-frequency noise, so that a network's answer varies over the image."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfftn(rng.normal(size=shape))
    spectrum[4:-3] = 0
    return np.fft.irfftn(spectrum, s=shape, axes=(0, 1, 2)).astype(np.float32)


def volume(shape=SHAPE, ijk_to_lps=None):
    return SourceVolume(smooth_noise(shape)[None], np.eye(4) if ijk_to_lps is None else ijk_to_lps)


def ball(shape=SHAPE, centre=None, radius=6):
    centre = centre or tuple(n // 2 for n in shape)
    grid = np.indices(shape)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def started(model, initial=None, **settings):
    session = Session(model, SessionSettings(update=QUICK, **settings))
    session.set_image(volume(), ball() if initial is None else initial)
    return session


def redrawn(session, axis=0, index=12):
    """The current slice moved by two voxels and grown by a corner: an edit that says something new."""
    mask = np.roll(session.window_prediction.take(index, axis), 2, axis=0)
    mask[2:6, 2:6] = ~mask[2:6, 2:6]
    return SliceEdit(axis, index, mask)


def encoder_runs(model):
    """A list that grows by one with each encoder pass, and the hooks to remove."""
    runs = []
    heads = [split.cut(level).head for split in model.splits for level in (1, 2)]
    return runs, [head.register_forward_hook(lambda *_: runs.append(1)) for head in heads]


def test_the_window_decodes_what_the_network_predicts_when_it_covers_the_image(tmp_path):
    """A window as large as the patch is nnU-Net's single tile; nnU-Net sums tiles in half precision, hence .999."""
    one_tile = NnunetModel.load(write_nnunet_folder(tmp_path, patch_size=(24, 24, 24), convolutions=2), device="cpu")
    session = Session(one_tile)
    session.set_image(volume())
    assert session.initial.any()
    assert not session.initial.all()
    assert (session.window_prediction == session.initial).mean() >= 0.999


def test_an_edit_inside_the_window_never_runs_the_encoder(model):
    session = started(model)
    runs, hooks = encoder_runs(model)
    result = session.propagate([redrawn(session)])
    for hook in hooks:
        hook.remove()
    assert runs == []
    assert result.changed.any()


def test_an_edit_outside_the_window_encodes_only_what_is_new_and_says_so(model):
    session = Session(model, SessionSettings(update=QUICK, window_border=0))
    session.set_image(volume((64, 20, 20)), ball((64, 20, 20), (8, 10, 10), 5))
    first = session.cache.window_boxes
    untouched = session.window_prediction
    runs, hooks = encoder_runs(model)
    drawn = np.zeros((20, 20), bool)
    drawn[8:14, 8:14] = True
    result = session.propagate([SliceEdit(0, 55, drawn)])
    for hook in hooks:
        hook.remove()
    assert session.cache.window_boxes[: len(first)] == first
    assert len(runs) == len(session.cache.window_boxes) - len(first) >= 1
    assert all(box[0][0] >= 30 for box in session.cache.window_boxes[len(first) :])
    assert "outside the cached part of the image" in result.messages[0]
    decoded_before = np.zeros((64, 20, 20), bool)
    decoded_before[: first[0][0][1]] = True
    assert np.array_equal(session.window_prediction[decoded_before], untouched[decoded_before])


def test_with_an_empty_segmentation_the_edit_places_the_window(model):
    session = started(model, initial=np.zeros(SHAPE, bool))
    assert session.cache.window_boxes == ()
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[8:12, 8:12] = True
    session.propagate([SliceEdit(0, 5, drawn)])
    assert len(session.cache.window_boxes) == 1
    assert np.array_equal(session.segmentation[5], drawn)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_propagation_changes_near_slices_only_and_reports_them(model, axis, neighbours):
    session = started(model, neighbours=neighbours)
    before = session.segmentation.copy()
    edit = redrawn(session, axis, 10)
    result = session.propagate([edit])
    near = set(range(10 - neighbours, 11 + neighbours)) - {10}
    assert set(result.changed_per_slice) <= near
    assert bool(near) == result.changed.any()
    assert result.scope == NEAR_SLICES_ONLY
    untouched = np.ones(SHAPE, bool)
    np.moveaxis(untouched, axis, 0)[10 - neighbours : 11 + neighbours] = False
    assert np.array_equal(result.segmentation[untouched], before[untouched])
    assert np.array_equal(result.segmentation.take(10, axis), edit.mask)
    assert sum(result.changed_per_slice.values()) == result.changed.sum()


def test_the_update_brings_the_decode_closer_to_the_drawing(model):
    session = started(model)
    result = session.propagate([redrawn(session)])
    assert all(update.loss_after < update.loss_before for update in result.updates)


def test_an_edit_that_equals_the_window_prediction_changes_nothing(model):
    session = started(model)
    edit = SliceEdit(0, 12, session.window_prediction[12])
    result = session.propagate([edit])
    assert not result.changed.any()
    assert result.updates[0].stop_reason == "already satisfied"


def test_a_segmentation_from_elsewhere_is_kept_where_the_edit_changed_no_label(model):
    foreign = ball(radius=9)
    session = started(model, initial=foreign)
    untouched = session.window_prediction
    result = session.propagate([redrawn(session)])
    kept = ~result.changed
    kept[12] = False
    assert np.array_equal(result.segmentation[kept], foreign[kept])
    assert np.array_equal(result.segmentation[result.changed], ~untouched[result.changed])


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


def test_several_slices_are_optimised_jointly(model):
    session = started(model)
    edits = [redrawn(session, 0, 9), redrawn(session, 0, 13)]
    result = session.propagate(edits)
    assert len(result.updates) == 1
    assert result.edited_slices == (9, 13)
    for edit in edits:
        assert np.array_equal(result.segmentation[edit.index], edit.mask)


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


def test_voxels_that_an_edit_must_spare_are_not_written_by_it(model):
    reference, session = started(model, tidy=False), started(model, tidy=False)
    edit = redrawn(reference)
    changed = reference.propagate([edit]).changed
    spared = np.zeros(SHAPE, bool)
    spared[11] = True
    result = session.propagate([edit], spared=spared)
    assert changed[11].any()
    assert np.array_equal(result.changed, changed & ~spared)


def test_cancelling_changes_nothing(model):
    session = started(model)
    before, windows = session.segmentation.copy(), session.cache.window_boxes
    calls = []
    with pytest.raises(Cancelled):
        session.propagate([redrawn(session)], cancelled=lambda: calls.append(1) or len(calls) > 2)
    assert np.array_equal(session.segmentation, before)
    assert session.cache.window_boxes == windows
    assert session.records == ()
    assert not session.undo()


def test_what_is_enough_is_propagated_with_the_best_so_far_and_said(model):
    whole, short = started(model), started(model)
    edit = redrawn(whole)
    usual = whole.propagate([edit])

    result = short.propagate([edit], enough=lambda: True)

    (report,) = result.updates
    assert report.stop_reason == "stopped"
    assert report.evaluations < usual.updates[0].evaluations
    assert report.loss_after < report.loss_before
    assert np.array_equal(result.segmentation[edit.index], edit.mask)
    assert result.changed.any()
    assert [message for message in result.messages if message.startswith("Stopped early")]
    assert not [message for message in usual.messages if message.startswith("Stopped early")]


def test_cancelling_set_image_keeps_the_image_that_was_set(model):
    session = started(model)
    before = session.segmentation.copy()
    with pytest.raises(Cancelled):
        session.set_image(volume((30, 30, 30)), cancelled=lambda: True)
    assert session.volume.shape_kji == SHAPE
    assert np.array_equal(session.segmentation, before)


def test_progress_names_its_stages(model):
    stages = []
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(volume(), progress=lambda stage, fraction: stages.append(stage))
    session.propagate([redrawn(session)], progress=lambda stage, fraction: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["preprocess", "predict", "encode", "update", "decode"]


def test_a_small_memory_budget_tiles_the_target_and_says_so(model):
    need = Session(model)
    plan = need.set_image(volume((16, 16, 64)), ball((16, 16, 64), radius=30))
    session = Session(model, SessionSettings(update=QUICK, memory_budget_bytes=int(plan.peak_bytes * 0.99)))
    tiled = session.set_image(volume((16, 16, 64)), ball((16, 16, 64), radius=30))
    assert len(tiled.boxes) > 1
    assert "tiles" in tiled.messages[0]
    result = session.propagate([redrawn(session, 0, 8)])
    assert len(result.updates) > 1
    assert result.changed.any()
    assert np.array_equal(result.segmentation[8], session.records[0].edits[0].mask)


def test_several_folds_are_updated_each_and_averaged(tmp_path):
    folds = NnunetModel.load(write_nnunet_folder(tmp_path, folds=(0, 1), features=(4, 8, 8)), device="cpu")
    session = started(folds)
    result = session.propagate([redrawn(session)])
    assert len(result.updates) == 2
    assert result.changed.any()


@pytest.mark.quick(flips=((True, False, True),), order=((2, 0, 1),))
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True)])
def test_flipped_and_permuted_arrays_refine_the_same_anatomy_where_the_orientation_is_known(folder, order, flips):
    known = NnunetModel.load(folder, device="cpu", orientation="LPS")
    straight = Session(known, SessionSettings(update=QUICK))
    straight.set_image(volume(), ball())
    edit = redrawn(straight, 0, 10)
    expected = straight.propagate([edit]).segmentation
    # the same patient stored with other axes: new axis n runs along old axis order[n], backwards where flipped
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[2 - old, 2 - new] = -1 if flip else 1
        if flip:
            matrix[2 - old, 3] = SHAPE[old] - 1
    stored = tuple(slice(None, None, -1 if flip else None) for flip in flips)

    def store(array):
        return array.transpose(order)[stored]

    session = Session(known, SessionSettings(update=QUICK))
    session.set_image(SourceVolume(store(volume().channels[0])[None].copy(), matrix), store(ball()))
    drawn = np.zeros(SHAPE, bool)
    drawn[10] = edit.mask
    axis = order.index(0)
    index = SHAPE[0] - 1 - 10 if flips[axis] else 10
    result = session.propagate([SliceEdit(axis, index, store(drawn).take(index, axis))])
    assert np.array_equal(result.segmentation, store(expected))


def test_a_level_beyond_the_decoder_is_refused_before_anything_runs(model):
    with pytest.raises(UserInputError, match="level 3 .* 2 stages"):
        Session(model, SessionSettings(level=3))


def test_a_wrong_number_of_channels_is_refused(model):
    with pytest.raises(UserInputError, match="2 channel.* expects 1"):
        Session(model).set_image(SourceVolume(np.zeros((2, *SHAPE), np.float32), np.eye(4)))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([], "No edited slice"),
        ([SliceEdit(0, 24, np.zeros(SHAPE[1:], bool))], "Slice 24 is outside"),
        ([SliceEdit(0, 1, np.zeros((3, 3), bool))], r"shape \(3, 3\)"),
        ([SliceEdit(3, 1, np.zeros(SHAPE[1:], bool))], "Axis 3"),
        ([SliceEdit(0, 1, np.zeros(SHAPE[1:], bool)), SliceEdit(1, 1, np.zeros((24, 20), bool))], "several planes"),
        ([SliceEdit(0, 1, np.zeros(SHAPE[1:], bool))] * 2, "given twice"),
    ],
)
def test_edits_that_do_not_fit_are_refused_and_nothing_changes(model, edits, message):
    session = started(model)
    before = session.segmentation.copy()
    with pytest.raises(UserInputError, match=message):
        session.propagate(edits)
    assert np.array_equal(session.segmentation, before)
    assert session.records == ()


def test_propagating_before_an_image_is_set_says_what_to_do(model):
    with pytest.raises(UserInputError, match="set_image first"):
        Session(model).propagate([SliceEdit(0, 1, np.zeros(SHAPE[1:], bool))])


@pytest.mark.parametrize("spacing_k_mm", [1.0, 3.0, 5.0])
def test_near_slices_are_image_slices_whatever_the_spacing_of_the_network(model, spacing_k_mm):
    """The network's grid is 1 mm: at 3 and 5 mm an edit touches many network slices, N(s) is still s - 2 ... s + 2."""
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(volume(ijk_to_lps=np.diag([1.0, 1.0, spacing_k_mm, 1.0])), ball())
    edit = redrawn(session, 0, 10)
    result = session.propagate([edit])
    assert result.updates[0].loss_after < result.updates[0].loss_before
    assert result.changed.any()
    assert set(result.changed_per_slice) <= {8, 9, 11, 12}
    assert np.array_equal(result.segmentation[10], edit.mask)


def test_a_network_that_sees_transposed_axes_refines_the_slice_that_was_drawn(tmp_path):
    transposed = NnunetModel.load(
        write_nnunet_folder(tmp_path, transpose_forward=(2, 0, 1), features=(4, 8, 8)), device="cpu"
    )
    session = started(transposed)
    edit = redrawn(session, 1, 9)
    result = session.propagate([edit])
    assert result.updates[0].loss_after < result.updates[0].loss_before
    assert set(result.changed_per_slice) <= {7, 8, 10, 11}
    assert np.array_equal(result.segmentation[:, 9], edit.mask)


@pytest.mark.parametrize(
    ("labels", "order", "target"),
    [
        ({"background": 0, "node": 1, "GTV": 2}, None, "GTV"),
        ({"background": 0, "whole": [1, 2], "core": [2]}, [1, 2], "core"),
    ],
)
def test_one_label_of_several_and_one_region_are_refined(tmp_path, labels, order, target):
    folder = write_nnunet_folder(tmp_path, labels=labels, regions_class_order=order, features=(4, 8, 8))
    session = started(NnunetModel.load(folder, label=target, device="cpu"))
    edit = redrawn(session)
    result = session.propagate([edit])
    assert result.updates[0].loss_after < result.updates[0].loss_before
    assert np.array_equal(result.segmentation[12], edit.mask)


def test_live_statistics_change_near_slices_only_as_well(model):
    live = UpdateSettings(iterations=4, frozen_statistics=False)
    session = Session(model, SessionSettings(update=live))
    session.set_image(volume(), ball())
    result = session.propagate([redrawn(session)])
    assert result.changed.any()
    assert set(result.changed_per_slice) <= {10, 11, 13, 14}


def test_a_drawing_where_the_image_is_zero_is_kept_though_the_network_never_sees_it(model):
    """nnU-Net crops an image to its non-zero part."""
    channels = volume().channels
    channels[:, :6] = 0
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(SourceVolume(channels, np.eye(4)), ball())
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[8:14, 8:14] = True
    result = session.propagate([SliceEdit(0, 2, drawn)])
    assert np.array_equal(result.segmentation[2], drawn)
    assert not result.changed.any()


@pytest.fixture
def long_session(model):
    """A window around the target at low k, and a long image beyond it."""
    session = Session(model, SessionSettings(update=QUICK, window_border=0))
    session.set_image(volume((90, 24, 24)), ball((90, 24, 24), (16, 12, 12), 9))
    return session


def an_edit(index, shape=(24, 24)):
    drawn = np.zeros(shape, bool)
    drawn[6:18, 6:18] = True
    return SliceEdit(0, index, drawn)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_an_edit_at_the_border_of_a_window_reaches_the_near_slices_on_both_sides(long_session, beyond):
    border = long_session.cache.window_boxes[0][0][1]
    index = border + beyond
    result = long_session.propagate([an_edit(index)])
    assert set(result.changed_per_slice) == {index - 2, index - 1, index + 1, index + 2}


def test_a_second_edit_at_the_same_place_encodes_nothing_more(model, long_session):
    index = long_session.cache.window_boxes[0][0][1]
    long_session.propagate([an_edit(index)])
    runs, hooks = encoder_runs(model)
    smaller = an_edit(index).mask
    smaller[6:9] = False
    result = long_session.propagate([SliceEdit(0, index, smaller)])
    for hook in hooks:
        hook.remove()
    assert runs == []
    assert result.messages == ()


def test_an_extension_that_fails_leaves_the_session_as_it_was(folder, long_session, monkeypatch):
    clean = long_session.window_prediction
    boxes = long_session.cache.window_boxes

    def out_of_memory(fold_logits):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(long_session.model, "margin_of_deciding", out_of_memory)
        with pytest.raises(UserInputError, match="needs more memory than there is, and nothing was changed"):
            long_session.propagate([an_edit(60)])
    assert long_session.cache.window_boxes == boxes
    assert np.array_equal(long_session.window_prediction, clean)
    assert long_session.propagate([an_edit(60)]).changed.any()


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


def test_the_session_keeps_its_own_copy_of_a_drawing(model):
    session = started(model)
    edit = redrawn(session)
    drawn = edit.mask.copy()
    session.propagate([edit])
    edit.mask[:] = False
    session.propagate([redrawn(session, 0, 5)])
    assert np.array_equal(session.segmentation[12], drawn)


def test_a_drawing_beyond_what_the_model_sees_is_said(model):
    channels = volume().channels
    channels[:, :6] = 0
    session = Session(model, SessionSettings(update=QUICK))
    session.set_image(SourceVolume(channels, np.eye(4)), ball())
    result = session.propagate([an_edit(2, SHAPE[1:])])
    assert "does not see" in result.messages[0]


def test_undo_before_an_image_is_set_has_nothing_to_do(model):
    assert not Session(model).undo()
    with pytest.raises(UserInputError, match="set_image first"):
        _ = Session(model).window_prediction


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
