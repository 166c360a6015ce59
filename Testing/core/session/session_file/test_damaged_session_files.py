"""A file that is damaged, hostile or no session is refused."""

import json

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.session_file import restore_session
from saved_sessions import an_image

pytestmark = pytest.mark.usefixtures("one_thread")


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
