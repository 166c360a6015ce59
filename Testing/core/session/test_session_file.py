"""A saved session comes back as it was, goes on as if never saved, and refuses what it does not belong to."""

import copy
import json
import signal
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (20, 24, 40)
SETTINGS = SessionSettings(
    level=1, neighbours=1, update=UpdateSettings(iterations=2, proximal_weight=0.5), window_border=2
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(
        write_nnunet_folder(tmp_path_factory.mktemp("m"), folds=(0, 1), convolutions=2), device="cpu"
    )


def an_image(seed=0) -> SourceVolume:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return SourceVolume((100 * noise / noise.std()).astype(np.float32)[None], np.diag([1.0, 1.0, 2.0, 1.0]))


def a_box(k, j, i) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return mask


def square_drawn(index, j, i) -> SliceEdit:
    return SliceEdit(0, index, a_box((index, index + 1), j, i)[index])


HAND = (12, slice(3, 14), slice(3, 12))  # beside the slice of FURTHER, and no earlier edit is near to it
FURTHER = square_drawn(11, (3, 13), (4, 12))


def worked_session(model) -> Session:
    """Three propagations, the second outside the first window and of another axis, one undone; a change by hand."""
    session = Session(model, SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    session.propagate([square_drawn(8, (4, 13), (3, 12)), square_drawn(9, (4, 12), (3, 12))])
    by_hand = session.segmentation.copy()
    by_hand[HAND] ^= True
    session.accept_manual_changes(by_hand)
    session.propagate([SliceEdit(2, 32, a_box((4, 12), (6, 16), (32, 33))[:, :, 32])])
    session.propagate([square_drawn(6, (5, 11), (4, 11))])
    session.undo()
    return session


@pytest.fixture(scope="module")
def made(model):
    return worked_session(model)


def copied(session, *shared):
    """A session to work on, so that the one it is copied from can be copied again; networks are shared."""
    return copy.deepcopy(session, {id(one): one for one in shared})


@pytest.fixture
def worked(made, model):
    return copied(made, model)


@pytest.fixture(scope="module")
def text(made, tmp_path_factory):
    """What is saved of a worked session."""
    path = tmp_path_factory.mktemp("saved") / "case.session.json"
    save_session(made, path)
    return path.read_text("utf-8")


@pytest.fixture
def file(text, tmp_path):
    path = tmp_path / "case.session.json"
    path.write_text(text, "utf-8")
    return path


def test_it_says_when_each_edit_was_made_and_what_it_changed_also_after_it_was_restored(file, model, worked, tmp_path):
    def said(path):
        return [(one["made_at"], one["changed_per_slice"]) for one in json.loads(path.read_text())["propagations"]]

    content = json.loads(file.read_text())
    assert all(datetime.fromisoformat(time).tzinfo == timezone.utc for time, _ in said(file))
    first, _ = worked.done
    flipped = np.zeros(SHAPE, bool)
    flipped.reshape(-1)[first.flipped] = True
    counts = {str(k): int(n) for k, n in enumerate(flipped.sum(axis=(1, 2))) if n and k not in (8, 9)}
    assert said(file)[0][1] == counts != {}

    for one, time in zip(content["propagations"], ("2026-11-29T10:00:00+00:00", ""), strict=True):
        one["made_at"] = time
    file.write_text(json.dumps(content))
    save_session(restore_session(file, model, an_image()), tmp_path / "again.session.json")
    assert [time for time, _ in said(tmp_path / "again.session.json")] == ["2026-11-29T10:00:00+00:00", ""]


def records_as_lists(records):
    return [
        (
            [(edit.axis, edit.index, edit.mask.tolist()) for edit in record.edits],
            record.neighbours,
            [(near.index, near.box, near.labels.tolist(), near.changed.tolist()) for near in record.near],
            record.updates,
            record.drawn_at,
            [(piece.window, piece.fold, piece.box, piece.values.tolist()) for piece in record.features],
            None if record.far is None else (record.far.box, record.far.values.tobytes()),
        )
        for record in records
    ]


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


def test_a_restored_session_saves_the_same_content_again(file, model, tmp_path):
    save_session(restore_session(file, model, an_image()), tmp_path / "again.session.json")

    assert (tmp_path / "again.session.json").read_text("utf-8") == file.read_text("utf-8")


def test_where_the_image_lies_does_not_matter(file, model, worked):
    moved = SourceVolume(an_image().channels, np.diag([1.0, 1.0, 2.0, 1.0]) + np.eye(4, k=3) * 50)

    assert np.array_equal(restore_session(file, model, moved).segmentation, worked.segmentation)


# ---- with a fusion network, in both modes


@pytest.fixture(scope="module", params=["joint", "one at a time"])
def made_fused(request, model):
    """Edits of two axes, one undone; the cache was extended between them."""
    fusion = random_fusion(model, level=1)
    session = Session(model, replace(SETTINGS, several_edits=request.param), fusion)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    session.propagate([square_drawn(8, (4, 13), (3, 12))])
    session.propagate([SliceEdit(2, 32, a_box((4, 12), (6, 16), (32, 33))[:, :, 32])])
    session.propagate([square_drawn(6, (5, 11), (4, 11))])
    session.undo()
    return session, fusion


@pytest.fixture
def fused(made_fused, model):
    session, fusion = made_fused
    return copied(session, model, fusion), fusion


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


def test_a_session_made_without_a_fusion_network_is_refused_with_one(file, model):
    fusion = random_fusion(model, level=1)
    with pytest.raises(
        UserInputError,
        match="made without a network for far slices, and 0{12} decides them now; choose the model's own folder",
    ):
        restore_session(file, model, an_image(), fusion=fusion)


def test_a_session_made_with_a_fusion_network_is_refused_without_it_or_with_another(fused, model, tmp_path):
    session, _ = fused
    path = tmp_path / "fused.session.json"
    save_session(session, path)
    with pytest.raises(
        UserInputError,
        match="the fusion networks 0{12} for far slices, and nothing decides them now; load the bundle",
    ):
        restore_session(path, model, an_image())
    other = replace(random_fusion(model, level=1), content_hash="f" * 64)
    with pytest.raises(UserInputError, match="networks 0{12} for far slices, and f{12} decides them now; load"):
        restore_session(path, model, an_image(), fusion=other)


# ---- refusals


def test_another_model_is_refused(file, tmp_path):
    other = NnunetModel.load(write_nnunet_folder(tmp_path / "other", seed=7), device="cpu")

    with pytest.raises(
        UserInputError, match=rf"made with the model .*this one is {other.content_hash[:12]}; load that model"
    ):
        restore_session(file, other, an_image())


def test_fewer_folds_of_the_same_model_are_refused(file, tmp_path, model):
    folder = write_nnunet_folder(tmp_path / "same", folds=(0, 1), convolutions=2)
    assert NnunetModel.load(folder, device="cpu").content_hash == model.content_hash

    with pytest.raises(UserInputError, match="load that model to go on with them"):
        restore_session(file, NnunetModel.load(folder, device="cpu", folds=[0]), an_image())


def test_another_image_is_refused(file, model):
    with pytest.raises(UserInputError, match="another image, spacing or orientation; choose the one"):
        restore_session(file, model, an_image(seed=1))


def test_one_different_voxel_makes_another_image(file, model):
    channels = an_image().channels.copy()
    channels[0, 3, 4, 5] += 0.5

    with pytest.raises(UserInputError, match="another image"):
        restore_session(file, model, SourceVolume(channels, an_image().ijk_to_lps))


def test_an_image_of_another_shape_is_refused(file, model):
    channels = an_image().channels.reshape(1, 24, 20, 40)

    with pytest.raises(UserInputError, match="data differ"):
        restore_session(file, model, SourceVolume(channels, an_image().ijk_to_lps))


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, -1])
def test_a_truncated_file_is_refused(file, model, kept):
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else kept])

    with pytest.raises(UserInputError, match="holds no session that can be restored"):
        restore_session(file, model, an_image())


def test_files_that_are_no_session_are_refused(tmp_path, model):
    (tmp_path / "notes.txt").write_text("a note", "utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    for name, expected in (
        ("picture.png", "not a saved"),
        ("", "not a saved"),
        ("gone", "not a saved"),
        ("notes.txt", "no session"),
    ):
        with pytest.raises(UserInputError, match=expected):
            restore_session(tmp_path / name, model, an_image())


@pytest.mark.parametrize("version", [1, 99])
def test_a_session_of_another_format_version_is_refused(tmp_path, model, version):
    path = tmp_path / "other.session.json"
    path.write_text(f'{{"format": "context-propagation session {version}"}}', "utf-8")

    with pytest.raises(UserInputError, match=f"session {version}', not 'context-propagation session 6'"):
        restore_session(path, model, an_image())


@pytest.mark.parametrize("text", ["{", "[]", "null", '"text"', "[" * 200_000])
def test_json_that_is_no_session_is_refused(tmp_path, model, text):
    path = tmp_path / "odd.session.json"
    path.write_text(text, "utf-8")

    with pytest.raises(UserInputError, match="holds no session that can be restored"):
        restore_session(path, model, an_image())


def test_restoring_can_be_cancelled(file, model):
    with pytest.raises(Cancelled):
        restore_session(file, model, an_image(), cancelled=lambda: True)


# ---- saving


def test_saving_needs_an_image(model, tmp_path):
    with pytest.raises(UserInputError, match="call set_image first"):
        save_session(Session(model, SETTINGS), tmp_path / "s.session.json")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(worked, tmp_path):
    with pytest.raises(UserInputError, match="Cannot write .*nowhere.*choose another place"):
        save_session(worked, tmp_path / "nowhere" / "s.session.json")


def test_a_folder_cannot_be_written_over(worked, tmp_path):
    (tmp_path / "taken").mkdir()

    with pytest.raises(UserInputError, match=r"Cannot write .*taken"):
        save_session(worked, tmp_path / "taken")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@contextmanager
def files_stay_below_512_bytes():
    """As on a full disk: the system refuses to write more. Around the save alone: pytest may write to a file, too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_failed_save_leaves_the_old_file(worked, file, tmp_path):
    old = file.read_bytes()
    worked.propagate([FURTHER])

    with pytest.raises(UserInputError, match="Cannot write .*choose another place"), files_stay_below_512_bytes():
        save_session(worked, file)

    assert file.read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_saving_again_replaces_the_file(worked, file, model):
    worked.propagate([FURTHER])
    save_session(worked, file)

    assert np.array_equal(restore_session(file, model, an_image()).segmentation, worked.segmentation)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_same_voxels_at_another_spacing_are_another_image(file, model):
    image = an_image()
    stretched = SourceVolume(image.channels, image.ijk_to_lps @ np.diag([1.0, 1.0, 2.0, 1.0]))
    with pytest.raises(UserInputError, match="another image, spacing or orientation"):
        restore_session(file, model, stretched)


def test_a_model_loaded_for_another_label_is_refused(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m", labels={"background": 0, "GTV": 1, "node": 2})
    session = Session(NnunetModel.load(folder, label="GTV", device="cpu"), SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    save_session(session, tmp_path / "s.session.json")
    with pytest.raises(UserInputError, match="refine the label 'GTV', and the model is loaded for 'node'"):
        restore_session(tmp_path / "s.session.json", NnunetModel.load(folder, label="node", device="cpu"), an_image())


def test_a_model_loaded_for_another_orientation_is_refused(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m")
    session = Session(NnunetModel.load(folder, device="cpu", orientation="LPS"), SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    save_session(session, tmp_path / "s.session.json")
    with pytest.raises(UserInputError, match="made with images turned to LPS, and the model is loaded for none; load"):
        restore_session(tmp_path / "s.session.json", NnunetModel.load(folder, device="cpu"), an_image())


# ---- damaged and hostile files


@pytest.mark.parametrize("loss", [None, "dice", "dice and cross-entropy"])
def test_the_loss_is_the_models_own_unless_the_file_names_one(file, model, loss):
    content = json.loads(file.read_text("utf-8"))
    assert content["settings"]["update"]["loss"] is None
    content["settings"]["update"]["loss"] = loss
    file.write_text(json.dumps(content), "utf-8")

    assert restore_session(file, model, an_image()).settings.update.loss == loss


def put(content, keys, value):
    """Change one entry."""
    for key in keys[:-1]:
        content = content[key]
    content[keys[-1]] = value


EDIT = ("propagations", 0, "edits", 0)


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("model",), 5, "holds no session"),
        (("model", "sha256"), 5, "made with the model 'unknown' (SHA-256 5)"),
        (("model", "fusion_sha256"), [], "made with the fusion networks []"),
        (("settings",), None, "holds no session"),
        (("settings", "level"), 4, "'settings.level' is 4, not a whole number from 1 to 3"),
        (("settings", "window_border"), "wide", "'settings.window_border' is 'wide', not a whole number"),
        (("settings", "memory_budget_bytes"), 1.5, "'settings.memory_budget_bytes' is 1.5"),
        (("settings", "several_edits"), "any", "'settings.several_edits' is 'any', not one of joint, one at a time"),
        (("settings", "colour"), "red", "unknown entry 'settings.colour'"),
        (("settings", "update", "optimizer"), "sgd", "'settings.update.optimizer' is 'sgd', not one of lbfgs, adam"),
        (("settings", "update", "loss"), "l2", "'settings.update.loss' is 'l2', not one of"),
        (("settings", "update", "iterations"), 0, "'settings.update.iterations' is 0"),
        (("settings", "update", "learning_rate"), float("nan"), "'settings.update.learning_rate' is nan"),
        (("settings", "update", "proximal_weight"), float("inf"), "'settings.update.proximal_weight' is inf"),
        (("settings", "update", "loss_threshold"), float("nan"), "'settings.update.loss_threshold' is nan"),
        (("settings", "update", "frozen_statistics"), 1, "'settings.update.frozen_statistics' is 1, not true or false"),
        (("image_sha256",), ["0" * 64], "made on another image"),
        (("image_sha256",), [], "does not say on which image"),
        (("image_sha256",), "0" * 64, "does not say on which image"),
        (("initial",), {}, "damaged"),
        (("known", "bits"), "AAAA", "damaged"),
        (("protected", "shape"), [1, 2, 3], "data differ"),
        (("propagations",), 3, "holds no session"),
        (("propagations", 0, "edits"), [], "has no drawn slice"),
        ((*EDIT, "axis"), 3, "slice 8 of axis 3, outside the volume"),
        ((*EDIT, "index"), 20, "slice 20 of axis 0, outside the volume"),
        ((*EDIT, "index"), -1, "slice -1 of axis 0, outside the volume"),
        ((*EDIT, "mask"), "initial", "damaged"),
        (("propagations", 0, "edits", 1, "axis"), 1, "data differ"),
        (("propagations", 0, "changed_per_slice"), {"a": 1}, "holds no session"),
        (("kept",), [7], "holds no session"),
        (("place",), [1, 2], "holds no session"),
    ],
)  # fmt: skip
def test_an_entry_of_the_wrong_kind_or_range_is_refused(file, model, keys, value, expected):
    content = json.loads(file.read_text("utf-8"))
    put(content, keys, value)
    file.write_text(json.dumps(content), "utf-8")

    with pytest.raises(UserInputError) as caught:
        restore_session(file, model, an_image())

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (eval, (f"open({str(self.path)!r}, 'w').close()",))


@pytest.mark.parametrize("save", [torch.save, lambda payload, path: np.save(path.open("wb"), [payload])])
def test_a_pickle_is_not_read(tmp_path, model, save):
    path = tmp_path / "pickle.session.json"
    save(Payload(tmp_path / "it-ran"), path)

    with pytest.raises(UserInputError, match="not a saved session|holds no session"):
        restore_session(path, model, an_image())
    assert not (tmp_path / "it-ran").exists()
