"""A saved session comes back as it was, goes on as if never saved, and refuses what it does not belong to."""

import json
import signal
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.ndimage import gaussian_filter

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.activation_update import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (20, 24, 40)
SETTINGS = SessionSettings(
    level=1, neighbours=1, update=UpdateSettings(iterations=4, proximal_weight=0.5), window_border=2
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("m"), folds=(0, 1)), device="cpu")


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


@pytest.fixture
def worked(model):
    return worked_session(model)


@pytest.fixture
def file(worked, tmp_path):
    save_session(worked, tmp_path / "case.safetensors")
    return tmp_path / "case.safetensors"


def records_as_lists(records):
    return [
        (
            [(edit.axis, edit.index, edit.mask.tolist()) for edit in record.edits],
            record.neighbours,
            [(near.index, near.box, near.labels.tolist(), near.changed.tolist()) for near in record.near],
            record.updates,
            record.drawn_at,
            [(piece.window, piece.fold, piece.box, piece.values.tolist()) for piece in record.features],
            None if record.far is None else (record.far.box, record.far.margins.tobytes()),
        )
        for record in records
    ]


def test_the_worked_session_holds_something_worth_saving(worked):
    assert len(worked.cache.window_groups) == 2  # the second edit extended the cache
    assert [len(record.near) > 0 for record in worked.records] == [True, True]
    assert (len(worked.done), len(worked.undone)) == (2, 1)
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

    for step in ("redo", "redo", "undo", "undo", "undo", "undo", "redo"):
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
    control.restore_state(control.segmentation, np.zeros(SHAPE, bool), control.records, control.done, control.undone)
    before = restored.segmentation.copy()

    restored.propagate([square_drawn(11, (0, 0), (0, 0))])
    control.propagate([square_drawn(11, (0, 0), (0, 0))])

    assert np.array_equal(restored.segmentation[HAND], before[HAND])
    assert (control.segmentation[HAND] != before[HAND]).any()  # so something was there to protect


def test_a_session_without_edits_comes_back(model, tmp_path):
    session = Session(model, SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    save_session(session, tmp_path / "s.safetensors")

    restored = restore_session(tmp_path / "s.safetensors", model, an_image())

    assert np.array_equal(restored.segmentation, session.segmentation)
    assert restored.records == ()
    assert restored.undo() is False


def test_a_session_whose_target_was_empty_comes_back(model, tmp_path):
    session = Session(model, SETTINGS)
    session.set_image(an_image(), np.zeros(SHAPE, bool))
    session.propagate([FURTHER])
    save_session(session, tmp_path / "s.safetensors")

    restored = restore_session(tmp_path / "s.safetensors", model, an_image())

    assert restored.cache.window_groups == session.cache.window_groups
    assert np.array_equal(restored.segmentation, session.segmentation)


def test_a_restored_session_saves_the_same_content_again(file, model, tmp_path):
    save_session(restore_session(file, model, an_image()), tmp_path / "again.safetensors")

    with safe_open(file, "numpy") as first, safe_open(tmp_path / "again.safetensors", "numpy") as second:
        assert first.metadata() == second.metadata()
        assert sorted(first.keys()) == sorted(second.keys())
        assert all(np.array_equal(first.get_tensor(name), second.get_tensor(name)) for name in list(first.keys()))


def test_where_the_image_lies_does_not_matter(file, model, worked):
    moved = SourceVolume(an_image().channels, np.diag([1.0, 1.0, 2.0, 1.0]) + np.eye(4, k=3) * 50)

    assert np.array_equal(restore_session(file, model, moved).segmentation, worked.segmentation)


# ---- with a fusion network, in both modes


@pytest.fixture(params=["joint", "one at a time"])
def fused(request, model):
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
def restored(fused, model, tmp_path):
    session, fusion = fused
    save_session(session, tmp_path / "fused.safetensors")
    return restore_session(tmp_path / "fused.safetensors", model, an_image(), fusion=fusion)


def test_fused_margins_and_updated_features_come_back(fused, restored):
    session, _ = fused
    assert records_as_lists(restored.records) == records_as_lists(session.records)
    assert all(record.far is not None for record in restored.records)
    joint = session.settings.several_edits == "joint"
    assert [bool(record.features) for record in restored.records] == [joint, joint]
    assert restored.settings == session.settings


@pytest.mark.parametrize("steps", [(), ("redo",), ("undo",), ("undo", "undo", "redo"), ("undo", "redo", "redo")])
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


def test_what_records_share_is_saved_once(fused, tmp_path):
    session, _ = fused
    save_session(session, tmp_path / "s.safetensors")
    with safe_open(tmp_path / "s.safetensors", "numpy") as saved:
        margins = [name for name in list(saved.keys()) if saved.get_tensor(name).dtype == np.float16]
    assert len(margins) == 3  # one per propagation, though the history holds each several times


def test_a_session_made_without_a_fusion_network_is_refused_with_one(file, model):
    fusion = random_fusion(model, level=1)
    with pytest.raises(UserInputError, match="made without a fusion network and 0{12} is given; leave it out"):
        restore_session(file, model, an_image(), fusion=fusion)


def test_a_session_made_with_a_fusion_network_is_refused_without_it_or_with_another(fused, model, tmp_path):
    session, _ = fused
    path = tmp_path / "fused.safetensors"
    save_session(session, path)
    with pytest.raises(UserInputError, match="made with fusion network 0{12} and none is given; load the one"):
        restore_session(path, model, an_image())
    other = replace(random_fusion(model, level=1), content_hash="f" * 64)
    with pytest.raises(UserInputError, match="made with fusion network 0{12} and f{12} is given; load the one"):
        restore_session(path, model, an_image(), fusion=other)


# ---- refusals


def test_another_model_is_refused(file, tmp_path):
    other = NnunetModel.load(write_nnunet_folder(tmp_path / "other", seed=7), device="cpu")

    with pytest.raises(UserInputError, match=rf"made with model .*this is {other.content_hash[:12]}; load the model"):
        restore_session(file, other, an_image())


def test_fewer_folds_of_the_same_model_are_refused(file, tmp_path, model):
    folder = write_nnunet_folder(tmp_path / "same", folds=(0, 1))
    assert NnunetModel.load(folder, device="cpu").content_hash == model.content_hash

    with pytest.raises(UserInputError, match="load the model that it was made with"):
        restore_session(file, NnunetModel.load(folder, device="cpu", folds=[0]), an_image())


def test_another_image_is_refused(file, model):
    with pytest.raises(UserInputError, match="another image, spacing or orientation; load the image"):
        restore_session(file, model, an_image(seed=1))


def test_one_different_voxel_makes_another_image(file, model):
    channels = an_image().channels.copy()
    channels[0, 3, 4, 5] += 0.5

    with pytest.raises(UserInputError, match="another image"):
        restore_session(file, model, SourceVolume(channels, an_image().ijk_to_lps))


def test_the_same_voxels_in_another_shape_are_another_image(file, model):
    channels = an_image().channels.reshape(1, 24, 20, 40)

    with pytest.raises(UserInputError, match="another image"):
        restore_session(file, model, SourceVolume(channels, an_image().ijk_to_lps))


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, -1])
def test_a_truncated_file_is_refused(file, model, kept):
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else kept])

    with pytest.raises(UserInputError, match="not a saved session"):
        restore_session(file, model, an_image())


def test_files_that_are_no_session_are_refused(tmp_path, model):
    text, weights = tmp_path / "notes.txt", tmp_path / "weights.safetensors"
    text.write_text("a note, long enough to be read as a header " * 10)
    save_file({"weight": np.zeros(3, np.float32)}, weights)

    for path in (text, tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(UserInputError, match="not a saved session"):
            restore_session(path, model, an_image())
    with pytest.raises(UserInputError, match="has format None"):
        restore_session(weights, model, an_image())


@pytest.mark.parametrize("version", [1, 99])
def test_a_session_of_another_format_version_is_refused(tmp_path, model, version):
    path = tmp_path / "other.safetensors"
    header = f'{{"format": "context-propagation session {version}"}}'
    save_file({"initial": np.zeros(3)}, path, metadata={"session": header})

    with pytest.raises(UserInputError, match=f"session {version}', not 'context-propagation session 2'"):
        restore_session(path, model, an_image())


@pytest.mark.parametrize("header", ["{", "[]", "null", '"text"'])
def test_a_header_that_is_no_session_s_is_refused(tmp_path, model, header):
    path = tmp_path / "odd.safetensors"
    save_file({"initial": np.zeros(3)}, path, metadata={"session": header})

    with pytest.raises(UserInputError, match="choose"):
        restore_session(path, model, an_image())


def test_restoring_can_be_cancelled(file, model):
    with pytest.raises(Cancelled):
        restore_session(file, model, an_image(), cancelled=lambda: True)


# ---- saving


def test_saving_needs_an_image(model, tmp_path):
    with pytest.raises(UserInputError, match="call set_image first"):
        save_session(Session(model, SETTINGS), tmp_path / "s.safetensors")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(worked, tmp_path):
    with pytest.raises(UserInputError, match="Cannot write .*nowhere.*choose another place"):
        save_session(worked, tmp_path / "nowhere" / "s.safetensors")


def test_a_folder_cannot_be_written_over(worked, tmp_path):
    (tmp_path / "taken").mkdir()

    with pytest.raises(UserInputError, match=r"Cannot write .*taken"):
        save_session(worked, tmp_path / "taken")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@contextmanager
def files_stay_below_4_kib():
    """As on a full disk: the system refuses to write more. Around the save alone: pytest may write to a file, too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_failed_save_leaves_the_old_file(worked, file, tmp_path):
    old = file.read_bytes()
    worked.propagate([FURTHER])

    with pytest.raises(UserInputError, match="Cannot write .*choose another place"), files_stay_below_4_kib():
        save_session(worked, file)

    assert file.read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_saving_again_replaces_the_file(worked, file, model):
    worked.propagate([FURTHER])
    save_session(worked, file)

    assert np.array_equal(restore_session(file, model, an_image()).segmentation, worked.segmentation)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_that_lacks_an_array_is_refused_by_its_name(file, model, tmp_path):
    with safe_open(file, framework="numpy") as saved:
        metadata = saved.metadata()
        arrays = {name: saved.get_tensor(name) for name in saved.keys() if name != "manual"}  # noqa: SIM118
    damaged = tmp_path / "damaged.safetensors"
    save_file(arrays, damaged, metadata=metadata)
    with pytest.raises(UserInputError, match="damaged: it lacks 'manual'"):
        restore_session(damaged, model, an_image())


def test_the_same_voxels_at_another_spacing_are_another_image(file, model):
    image = an_image()
    stretched = SourceVolume(image.channels, image.ijk_to_lps @ np.diag([1.0, 1.0, 2.0, 1.0]))
    with pytest.raises(UserInputError, match="another image, spacing or orientation"):
        restore_session(file, model, stretched)


def test_a_model_loaded_for_another_label_is_refused(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m", labels={"background": 0, "GTV": 1, "node": 2})
    session = Session(NnunetModel.load(folder, label="GTV", device="cpu"), SETTINGS)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    save_session(session, tmp_path / "s.safetensors")
    with pytest.raises(UserInputError, match="refines the label 'GTV' and the model is loaded for 'node'"):
        restore_session(tmp_path / "s.safetensors", NnunetModel.load(folder, label="node", device="cpu"), an_image())


# ---- damaged and hostile files


@pytest.fixture(scope="module")
def joint_fusion(model):
    return random_fusion(model, level=1)


@pytest.fixture(scope="module")
def whole_file(model, joint_fusion, tmp_path_factory):
    """Header and arrays of a session with features, margins and a history."""
    session = Session(model, SETTINGS, joint_fusion)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    session.propagate([square_drawn(8, (4, 13), (3, 12))])
    path = tmp_path_factory.mktemp("whole") / "s.safetensors"
    save_session(session, path)
    with safe_open(path, framework="numpy") as saved:
        arrays = {name: saved.get_tensor(name) for name in list(saved.keys())}
        return saved.metadata()["session"], arrays


@pytest.mark.parametrize(("saved", "read"), [(None, None), ("dice", "dice"), ("dice+ce", "dice and cross-entropy")])
def test_the_loss_is_the_models_own_unless_the_file_names_one(whole_file, model, joint_fusion, tmp_path, saved, read):
    header = json.loads(whole_file[0])
    assert header["settings"]["update"]["loss"] is None
    header["settings"]["update"]["loss"] = saved
    save_file(dict(whole_file[1]), tmp_path / "s.safetensors", metadata={"session": json.dumps(header)})

    restored = restore_session(tmp_path / "s.safetensors", model, an_image(), fusion=joint_fusion)

    assert restored.settings.update.loss == read


@pytest.fixture
def refusal(whole_file, model, joint_fusion, tmp_path):
    """The message with which a changed file is refused."""

    def refused(change) -> str:
        header, arrays = json.loads(whole_file[0]), dict(whole_file[1])
        change(header, arrays)
        path = tmp_path / "changed.safetensors"
        save_file(arrays, path, metadata={"session": json.dumps(header)})
        with pytest.raises(UserInputError) as caught:
            restore_session(path, model, an_image(), fusion=joint_fusion)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        return message

    return refused


def put(*keys, value):
    """A change of one entry of the header."""

    def change(header, arrays):
        inner = header
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


RECORD = ("records", 0)
BOX_BEYOND = [[0, 21], [0, 24], [0, 40]]
HUGE_BOX = [[0, 1 << 20], [0, 1 << 20], [0, 1 << 20]]


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("model_hash",), 5, "'model_hash' is 5, not text"),
        (("fusion_hash",), [], "'fusion_hash' is [], not text"),
        (("settings",), None, "holds None at 'settings'"),
        (("settings", "level"), 4, "'settings.level' is 4, not a whole number from 1 to 3"),
        (("settings", "level"), 2, "decoder level 1 and the session uses level 2"),
        (("settings", "window_border"), "wide", "'settings.window_border' is 'wide', not a whole number"),
        (("settings", "memory_budget_bytes"), 1.5, "'settings.memory_budget_bytes' is 1.5"),
        (("settings", "several_edits"), "any", "'settings.several_edits' is 'any', not one of joint, one at a time"),
        (("settings", "colour"), "red", "unknown entry 'settings.colour'"),
        (("settings", "update", "optimizer"), "sgd", "'settings.update.optimizer' is 'sgd', not one of lbfgs, adam"),
        (
            ("settings", "update", "loss"),
            "l2",
            "'settings.update.loss' is 'l2', not one of dice+ce, dice and",
        ),
        (("settings", "update", "iterations"), 0, "'settings.update.iterations' is 0"),
        (("settings", "update", "learning_rate"), float("nan"), "'settings.update.learning_rate' is nan"),
        (("settings", "update", "proximal_weight"), float("inf"), "'settings.update.proximal_weight' is inf"),
        (("settings", "update", "loss_threshold"), float("nan"), "'settings.update.loss_threshold' is nan"),
        (("settings", "update", "frozen_statistics"), 1, "'settings.update.frozen_statistics' is 1, not true or false"),
        (("window_groups",), {}, "'window_groups' is {}, not a list"),
        (("window_groups",), [[]], "'window_groups' is [[]], not lists of different boxes"),
        (("window_groups",), [[[[0, 4]]]], "not lists of different boxes"),
        (("window_groups",), [[HUGE_BOX]], "does not fit the network's grid of (40, 24, 40) voxels"),
        (("window_groups",), [[[[1, 17], [0, 16], [30, 46]]]], "does not fit the network's grid"),
        (("window_groups",), [[[[1, 16], [0, 16], [0, 16]]]], "does not fit the network's grid"),
        (("done",), 2, "'done' is 2, not a whole number from 0 to 1"),
        (("done",), -1, "'done' is -1"),
        (("steps",), 3, "'steps' is 3, not a list"),
        (("steps", 0, "after"), "x", "'steps[0].after' is 'x', not a list"),
        (("records",), [7], "holds 7 at 'records[0]', not an object"),
        ((*RECORD, "edits"), [], "'records[0].edits' is [], not different slices of one axis"),
        ((*RECORD, "edits", 0, "axis"), 3, "'records[0].edits[0].axis' is 3, not a whole number from 0 to 2"),
        ((*RECORD, "edits", 0, "index"), 20, "'records[0].edits[0].index' is 20, not a whole number from 0 to 19"),
        ((*RECORD, "edits", 0, "index"), -1, "'records[0].edits[0].index' is -1"),
        ((*RECORD, "edits", 0, "mask"), "initial", "array 'initial' is bool (20, 24, 40), not bool (24, 40)"),
        ((*RECORD, "edits", 0, "mask"), "array.99", "it lacks 'array.99'"),
        ((*RECORD, "neighbours"), -1, "'records[0].neighbours' is -1"),
        ((*RECORD, "drawn_at"), [1, 2], "'records[0].drawn_at' is [1, 2], not 1 whole number(s)"),
        ((*RECORD, "drawn_at"), ["x"], "'records[0].drawn_at' is ['x']"),
        ((*RECORD, "near", 0, "index"), 20, "'records[0].near[0].index' is 20"),
        ((*RECORD, "near", 0, "box"), BOX_BEYOND, "'records[0].near[0].box' is [[0, 21]"),
        ((*RECORD, "near", 0, "box"), [[0, 2], [0, 2], [0, 2]], "not a box on slice"),
        ((*RECORD, "near", 0, "box"), [[2, 2], [0, 2], [0, 2]], "not a box inside"),
        ((*RECORD, "near", 0, "box"), [[0.0, 2], [0, 2], [0, 2]], "not a box inside"),
        ((*RECORD, "near", 0, "labels"), "manual", "array 'manual' is bool (20, 24, 40), not bool (1, "),
        ((*RECORD, "updates", 0, "loss_before"), "small", "'records[0].updates[0].loss_before' is 'small'"),
        ((*RECORD, "updates", 0, "stop_reason"), "tired", "'records[0].updates[0].stop_reason' is 'tired'"),
        ((*RECORD, "features", 0, "window"), 1, "'records[0].features[0].window' is 1, not a whole number from 0 to 0"),
        ((*RECORD, "features", 0, "fold"), 2, "'records[0].features[0].fold' is 2, not a whole number from 0 to 1"),
        ((*RECORD, "features", 0, "box"), BOX_BEYOND, "'records[0].features[0].box' is"),
        ((*RECORD, "features", 0, "values"), "initial", "array 'initial' is bool (20, 24, 40), not float32 (8, "),
        ((*RECORD, "far", "box"), BOX_BEYOND, "'records[0].far.box' is"),
        ((*RECORD, "far", "margins"), "initial", "not float16 ("),
    ],
)
def test_an_entry_of_the_wrong_kind_or_range_is_refused_by_its_name(refusal, keys, value, expected):
    assert expected in refusal(put(*keys, value=value))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("initial", np.zeros((2, 2, 2), bool), "array 'initial' is bool (2, 2, 2), not bool (20, 24, 40)"),
        ("segmentation", np.zeros(SHAPE, np.float32), "array 'segmentation' is float32 (20, 24, 40), not bool"),
        ("manual", np.zeros(SHAPE, np.uint8), "array 'manual' has the type U8, not one of BOOL, I64, F16, F32"),
        ("manual", np.full(SHAPE, 2, np.uint8).view(bool), "array 'manual' holds values that are neither true nor"),
        ("step.0.flipped", np.array([0, 20 * 24 * 40]), "lie outside the image's 19200 voxels"),
        ("step.0.flipped", np.array([-1, 3]), "array 'step.0.flipped' holds indices that do not rise, or lie outside"),
        ("step.0.flipped", np.array([3, 3]), "array 'step.0.flipped' holds indices that do not rise"),
        ("step.0.flipped", np.array([[3]]), "array 'step.0.flipped' is int64 (1, 1), not int64 (1,)"),
        ("step.0.values", np.zeros(1, bool), "array 'step.0.values' is bool (1,), not bool ("),
    ],
)
def test_an_array_of_the_wrong_kind_shape_or_range_is_refused_by_its_name(refusal, name, value, expected):
    assert expected in refusal(lambda header, arrays: arrays.update({name: value}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_updated_features_that_are_not_finite_are_refused(refusal, value):
    def change(header, arrays):
        name = header["records"][0]["features"][0]["values"]
        arrays[name] = np.full_like(arrays[name], value)

    assert "holds NaN or infinite values" in refusal(change)


@pytest.mark.parametrize("value", [np.inf, 1.5])
def test_margins_that_are_no_margins_are_refused(refusal, value):
    def change(header, arrays):
        name = header["records"][0]["far"]["margins"]
        arrays[name] = np.full_like(arrays[name], value)

    assert "holds margins beyond -1 and 1" in refusal(change)


def test_a_loss_that_was_not_a_number_does_not_keep_a_session_from_coming_back(
    whole_file, model, joint_fusion, tmp_path
):
    header = json.loads(whole_file[0])
    put(*RECORD, "updates", 0, "loss_before", value=float("nan"))(header, None)
    save_file(whole_file[1], tmp_path / "s.safetensors", metadata={"session": json.dumps(header)})

    restored = restore_session(tmp_path / "s.safetensors", model, an_image(), fusion=joint_fusion)

    assert np.isnan(restored.records[0].updates[0].loss_before)


def test_a_header_too_deep_to_read_is_refused(tmp_path, model):
    path = tmp_path / "deep.safetensors"
    save_file({"initial": np.zeros(3)}, path, metadata={"session": "[" * 200_000})

    with pytest.raises(UserInputError, match="choose another file"):
        restore_session(path, model, an_image())


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (eval, (f"open({str(self.path)!r}, 'w').close()",))


@pytest.mark.parametrize("save", [torch.save, lambda payload, path: np.save(path.open("wb"), [payload])])
def test_a_pickle_is_not_read(tmp_path, model, save):
    path = tmp_path / "pickle.safetensors"
    save(Payload(tmp_path / "it-ran"), path)

    with pytest.raises(UserInputError, match="not a saved session"):
        restore_session(path, model, an_image())
    assert not (tmp_path / "it-ran").exists()
