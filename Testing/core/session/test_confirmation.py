"""Slices that are right as they are, and results that are taken in part: on a real nnU-Net folder."""

from dataclasses import replace

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.confirmation import confirming, unclaimed
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.session.slice_suggestion import suggested_slice
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (24, 22, 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8))
    return NnunetModel.load(folder, device="cpu")


def volume():
    spectrum = np.fft.rfftn(np.random.default_rng(0).normal(size=SHAPE))
    spectrum[4:-3] = 0
    return SourceVolume(np.fft.irfftn(spectrum, s=SHAPE, axes=(0, 1, 2)).astype(np.float32)[None], np.eye(4))


@pytest.fixture
def session(model):
    """Its fusion network changes far slices."""
    grid = np.indices(SHAPE)
    ball = sum((g - n // 2) ** 2 for g, n in zip(grid, SHAPE, strict=True)) <= 36
    session = Session(model, SessionSettings(update=UpdateSettings(iterations=2)), random_fusion(model, channels=8))
    session.set_image(volume(), ball)
    return session


def edit(session, index=12):
    mask = np.roll(session.window_prediction[index], 2, axis=0)
    mask[2:6, 2:6] = ~mask[2:6, 2:6]
    return SliceEdit(0, index, mask)


def twin(session):
    """The same session, without edits."""
    return session.restarted(session.settings, session.fusion)


def test_a_confirmed_slice_is_as_it_was_after_an_edit_and_the_other_slices_as_without_it(session):
    free = twin(session)
    changed = free.propagate([edit(free)]).changed_per_slice
    far = next(index for index in sorted(changed, key=changed.get, reverse=True) if abs(index - 12) > 2)
    before = session.segmentation[far].copy()

    assert session.confirm(0, [far]) == (far,)
    result = session.propagate([edit(session)])

    assert np.array_equal(result.segmentation[far], before)
    assert not np.array_equal(free.segmentation[far], before)
    assert far not in result.changed_per_slice
    away = [index for index in range(SHAPE[0]) if abs(index - far) > 1]  # strays are judged with their neighbours
    assert np.array_equal(result.segmentation[away], free.segmentation[away])


def test_a_confirmed_slice_is_no_drawing_that_the_features_are_moved_for(session):
    free = twin(session)
    session.confirm(0, [10])

    with_it, without = session.propagate([edit(session)]), free.propagate([edit(free)])

    assert with_it.updates == without.updates
    assert session.records[-1].features[0].values.equal(free.records[-1].features[0].values)


def test_a_confirmation_is_taken_back_and_made_again(session):
    session.confirm(0, [10, 11])

    assert session.undo()
    assert not session.records
    assert unclaimed(session.records, 0, [10, 11]) == [10, 11]
    assert session.redo()
    assert [e.index for e in session.records[0].edits] == [10, 11]


def test_drawn_and_confirmed_slices_are_not_confirmed_again(session):
    session.propagate([edit(session)])
    assert session.confirm(0, [12, 13]) == (13,)

    with pytest.raises(UserInputError, match="Slices to confirm: 12, 13; choose one"):
        session.confirm(0, [13, 12])
    with pytest.raises(UserInputError, match="Slice 24 is outside the image; slices along this axis run from 0 to 23"):
        session.confirm(0, [24])
    assert len(session.done) == 2


def test_a_confirmed_slice_that_is_redrawn_counts_as_drawn(session):
    session.confirm(0, [12])
    drawn = edit(session)

    session.propagate([drawn])

    assert np.array_equal(session.segmentation[12], drawn.mask)
    assert [record.confirmed for record in session.records] == [False]


def test_confirmed_slices_and_those_near_them_are_not_suggested(session):
    doubtful = suggested_slice(session.slice_uncertainty_mm2(0))

    session.confirm(0, [doubtful])

    left = session.slice_uncertainty_mm2(0)
    assert not left[doubtful - 2 : doubtful + 3].any()
    assert left.any()


def test_confirming_a_slice_makes_no_new_masks(session):
    """In a large image each takes long."""
    before = session.segmentation

    session.confirm(0, [12])
    assert session.segmentation is before
    session.undo()

    assert session.segmentation is before


def test_rejected_voxels_stay_as_they_were_now_and_after_the_next_edit(session):
    preview = session.preview([edit(session)])
    before, whole = session.segmentation, preview.result
    rejected = whole.changed.copy()
    rejected[:14] = False
    assert rejected.any()
    assert whole.changed[:14].any()

    result = whole.rejecting(rejected)
    session.add(preview.step.rejecting(rejected & whole.changed), result.segmentation)

    assert np.array_equal(result.changed, whole.changed & ~rejected)
    assert np.array_equal(result.segmentation, whole.segmentation ^ (whole.changed & rejected))
    assert result.changed_per_slice == {k: v for k, v in whole.changed_per_slice.items() if k < 14}
    assert result.changed_box_kji[0][1] <= 14
    assert np.array_equal(session.segmentation[rejected], before[rejected])
    session.propagate([edit(session, index=9)])
    assert np.array_equal(session.segmentation[rejected], before[rejected])


def test_what_was_rejected_is_free_again_once_the_propagation_is_undone(session):
    preview = session.preview([edit(session)])
    everything = np.ones(SHAPE, bool)
    before = session.segmentation

    session.add(preview.step.rejecting(preview.result.changed))
    assert np.array_equal(session.protected, preview.result.changed)
    assert not preview.result.rejecting(everything).changed_per_slice
    session.undo()

    assert not session.protected.any()
    assert np.array_equal(session.segmentation, before)
    assert np.array_equal(session.propagate([edit(session)]).changed, preview.result.changed)


def test_a_saved_session_has_its_confirmed_slices_and_rejected_voxels_again(session, model, tmp_path):
    preview = session.preview([edit(session)])
    half = preview.result.changed.copy()
    half[:, :11] = False
    assert half.any()
    kept = SliceEdit(0, 15, session.segmentation[15])
    session.add(confirming(preview.step.rejecting(half), [kept], 2))
    session.confirm(0, [8])
    session.propagate([edit(session, index=10)])
    file = tmp_path / "a.session.json"
    save_session(session, file)

    restored = restore_session(file, model, volume(), fusion=session.fusion)

    assert np.array_equal(restored.segmentation, session.segmentation)
    assert np.array_equal(restored.protected, session.protected)
    assert [(r.confirmed, [e.index for e in r.edits]) for r in restored.records] == [
        (r.confirmed, [e.index for e in r.edits]) for r in session.records
    ]
    drawn = [edit(one, index=17) for one in (session, restored)]
    assert np.array_equal(*[one.propagate([e]).segmentation for one, e in zip((session, restored), drawn, strict=True)])


def test_a_slice_confirmed_as_it_is_not_is_drawn_so_by_no_later_edit(session):
    """The mask of a confirmation says what to keep where the segment could not be written; it writes nothing itself."""
    other = replace(SliceEdit(0, 8, ~session.segmentation[8]))
    from context_propagation.core.session.confirmation import idle_step

    before = session.segmentation[8].copy()
    session.add(confirming(idle_step(session.records), [other], 2))
    session.propagate([edit(session)])

    assert np.array_equal(session.segmentation[8], before)


def test_indices_of_numpy_are_whole_numbers_too_and_nothing_else_is(session):
    assert session.confirm(0, np.array([10, 11])) == (10, 11)
    assert {type(one.index) for one in session.records[0].edits} == {int}

    with pytest.raises(UserInputError, match=r"Slices to confirm: \[2.5\]; give whole numbers"):
        session.confirm(0, [2.5])


def test_a_session_without_image_and_an_axis_that_is_none_are_refused_in_a_sentence(session, model):
    with pytest.raises(UserInputError, match="No image is set"):
        Session(model).confirm(0, [3])
    with pytest.raises(UserInputError, match="Axis 3; give 0"):
        session.confirm(3, [1])


def test_a_confirmed_slice_says_nothing_of_how_somebody_draws(session):
    assert session.drawn_offset_mm() is None
    session.confirm(2, [10])
    assert session.drawn_offset_mm() is None

    session.propagate([edit(session)])
    drawn = session.drawn_offset_mm()
    session.confirm(1, [11])

    assert session.drawn_offset_mm() == drawn


def test_what_was_rejected_was_not_changed_by_hand(session):
    preview = session.preview([edit(session)])
    session.add(preview.step.rejecting(preview.result.changed))

    assert session.protected.any()
    assert not session.changed_by_hand.any()
