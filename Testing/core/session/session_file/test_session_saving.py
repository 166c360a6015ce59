"""What a session's file says, and that a save which fails leaves the older file."""

import json
import signal
from contextlib import contextmanager
from datetime import datetime, timezone

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session
from saved_sessions import FURTHER, SETTINGS, SHAPE, an_image

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_a_restored_session_saves_the_same_content_again(file, model, tmp_path):
    save_session(restore_session(file, model, an_image()), tmp_path / "again.session.json")

    assert (tmp_path / "again.session.json").read_text("utf-8") == file.read_text("utf-8")


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
