"""A saved session comes back as it was, and goes on as if never saved."""

import json
from dataclasses import replace

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from saved_sessions import FURTHER, HAND, SETTINGS, SHAPE, a_box, an_image, records_as_lists, square_drawn

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_worked_session_holds_something_worth_saving(worked):
    assert len(worked.cache.window_groups) == 2  # the second edit extended the cache
    assert [len(record.near) > 0 for record in worked.records] == [True, True]
    assert (len(worked.done), len(worked.undone)) == (2, 1)
    assert worked.protected.any()
    assert all(step.flipped.size for step in [*worked.done, *worked.undone])


def test_segmentation_edits_windows_and_settings_come_back(worked, file, model):
    restored = restore_session(file, model, an_image())

    assert np.array_equal(restored.segmentation, worked.segmentation)
    assert np.array_equal(restored.initial, worked.initial)
    assert np.array_equal(restored.window_prediction, worked.window_prediction)
    assert restored.cache.window_groups == worked.cache.window_groups
    assert restored.settings == worked.settings
    assert records_as_lists(restored.records) == records_as_lists(worked.records)


def test_undo_and_redo_go_on_from_where_they_were(worked, file, model):
    restored = restore_session(file, model, an_image())
    worked.undone.clear()  # what was undone is not saved

    for step in ("redo", "undo", "undo", "undo", "redo", "redo"):
        assert getattr(restored, step)() == getattr(worked, step)(), step
        assert np.array_equal(restored.segmentation, worked.segmentation), step
        assert records_as_lists(restored.records) == records_as_lists(worked.records), step


def test_a_further_edit_gives_what_the_unsaved_session_gives(worked, file, model):
    restored = restore_session(file, model, an_image())

    expected = worked.propagate([FURTHER])
    result = restored.propagate([FURTHER])

    assert expected.changed.any()
    assert np.array_equal(result.segmentation, expected.segmentation)
    assert np.array_equal(result.changed, expected.changed)
    assert result.updates == expected.updates
    assert result.messages == expected.messages


def test_voxels_changed_by_hand_stay_protected_after_restoring(worked, file, model):
    restored, control = (restore_session(file, model, an_image()) for _ in range(2))
    for session in (restored, control):  # without training nearly all that flips is stray
        session.settings = replace(session.settings, tidy=False)
    control.protected[...] = False
    before = restored.segmentation.copy()

    restored.propagate([square_drawn(11, (0, 0), (0, 0))])
    control.propagate([square_drawn(11, (0, 0), (0, 0))])

    assert np.array_equal(restored.segmentation[HAND], before[HAND])
    assert (control.segmentation[HAND] != before[HAND]).any()  # so something was there to protect


def test_a_session_without_edits_comes_back(model, tmp_path):
    session = Session(model, SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    save_session(session, tmp_path / "s.session.json")

    restored = restore_session(tmp_path / "s.session.json", model, an_image())

    assert np.array_equal(restored.segmentation, session.segmentation)
    assert restored.records == ()
    assert restored.undo() is False


def test_a_session_whose_target_was_empty_comes_back(model, tmp_path):
    session = Session(model, SETTINGS)
    session.set_image(an_image(), np.zeros(SHAPE, bool))
    session.propagate([FURTHER])
    save_session(session, tmp_path / "s.session.json")

    restored = restore_session(tmp_path / "s.session.json", model, an_image())

    assert restored.cache.window_groups == session.cache.window_groups
    assert np.array_equal(restored.segmentation, session.segmentation)


def test_where_the_image_lies_does_not_matter(file, model, worked):
    moved = SourceVolume(an_image().channels, np.diag([1.0, 1.0, 2.0, 1.0]) + np.eye(4, k=3) * 50)

    assert np.array_equal(restore_session(file, model, moved).segmentation, worked.segmentation)


# ---- with a fusion network, in both modes


@pytest.fixture
def restored(fused, model, tmp_path):
    session, fusion = fused
    save_session(session, tmp_path / "fused.session.json")
    session.undone.clear()
    return restore_session(tmp_path / "fused.session.json", model, an_image(), fusion=fusion)


@pytest.mark.quick(made_fused="joint")
def test_fused_margins_and_updated_features_come_back(fused, restored):
    session, _ = fused
    assert records_as_lists(restored.records) == records_as_lists(session.records)
    assert all(record.far is not None for record in restored.records)
    joint = session.settings.several_edits == "joint"
    assert [bool(record.features) for record in restored.records] == [joint, joint]
    assert restored.settings == session.settings


@pytest.mark.quick(made_fused="one at a time", steps=(("undo", "undo", "redo"),))
@pytest.mark.parametrize("steps", [(), ("undo",), ("undo", "undo", "redo"), ("undo", "redo", "redo")])
def test_a_session_with_a_fusion_network_goes_on_as_if_never_saved(fused, restored, steps):
    session, _ = fused
    for step in steps:
        assert getattr(restored, step)() == getattr(session, step)()
        assert np.array_equal(restored.segmentation, session.segmentation)
    expected, result = session.propagate([FURTHER]), restored.propagate([FURTHER])
    assert expected.changed.any()
    assert np.array_equal(result.changed, expected.changed)
    assert np.array_equal(result.segmentation, expected.segmentation)
    assert result.updates == expected.updates
    assert records_as_lists(restored.records) == records_as_lists(session.records)
    assert session.undo()
    assert restored.undo()
    assert np.array_equal(restored.segmentation, session.segmentation)


@pytest.mark.parametrize("loss", [None, "dice", "dice and cross-entropy"])
def test_the_loss_is_the_models_own_unless_the_file_names_one(file, model, loss):
    content = json.loads(file.read_text("utf-8"))
    assert content["settings"]["update"]["loss"] is None
    content["settings"]["update"]["loss"] = loss
    file.write_text(json.dumps(content), "utf-8")

    assert restore_session(file, model, an_image()).settings.update.loss == loss


def test_restoring_can_be_cancelled(file, model):
    with pytest.raises(Cancelled):
        restore_session(file, model, an_image(), cancelled=lambda: True)
