"""Files and folders are whole or not there: failures, interruptions, killed processes, read-only and open files."""

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from context_propagation.core.storage import whole_file as storage
from context_propagation.core.storage.whole_file import claim_folder, whole_file, whole_folder

FAILURES = [KeyboardInterrupt, OSError(28, "No space left on device"), ValueError("no")]


def everything_below(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def model(tmp_path):
    """A folder with a file and a folder in it."""
    (tmp_path / "model" / "fold_0").mkdir(parents=True)
    (tmp_path / "model" / "fold_0" / "weights").write_bytes(b"old")
    (tmp_path / "model" / "plans.json").write_bytes(b"old plans")
    return tmp_path / "model"


def write_model(path):
    with whole_folder(path) as partial:
        (partial / "fold_1").mkdir()
        (partial / "fold_1" / "weights").write_bytes(b"new")


def is_new(folder):
    return {path.as_posix(): content for path, content in everything_below(folder).items()} == {
        "fold_1/weights": b"new"
    }


# ---- files


def test_a_file_appears_when_it_is_whole_under_a_name_with_its_ending_until_then(tmp_path):
    path = tmp_path / "image.nii.gz"
    with whole_file(path) as partial:
        partial.write_bytes(b"first half, ")
        assert not path.exists()
        assert partial.parent == tmp_path
        assert partial.name.endswith("image.nii.gz")
        with open(partial, "ab") as file:
            file.write(b"second half")
    assert everything_below(tmp_path) == {path.relative_to(tmp_path): b"first half, second half"}


def test_a_path_may_be_text_and_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with whole_file("list.json") as partial:
        partial.write_text("[]")
    assert (tmp_path / "list.json").read_text() == "[]"


def test_an_older_file_is_there_until_the_new_one_is_whole(tmp_path):
    (path := tmp_path / "list.json").write_text("old")
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("older", [True, False])
def test_a_write_that_fails_leaves_the_older_file_and_nothing_else(tmp_path, failure, older):
    path = tmp_path / "list.json"
    if older:
        path.write_text("old")
    before = everything_below(tmp_path)

    def write():
        with whole_file(path) as partial:
            partial.write_text("half of")
            raise failure

    with pytest.raises(failure if isinstance(failure, type) else type(failure)):
        write()
    assert everything_below(tmp_path) == before


def test_a_file_that_was_never_written_is_an_error_and_leaves_the_older_one(tmp_path):
    (path := tmp_path / "list.json").write_text("old")

    def write():
        with whole_file(path):
            pass

    with pytest.raises(FileNotFoundError):
        write()
    assert everything_below(tmp_path) == {path.relative_to(tmp_path): b"old"}


def test_a_folder_that_is_missing_or_takes_the_place_is_an_error(tmp_path):
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "nowhere" / "list.json", tmp_path / "taken"):
        with pytest.raises(OSError, match=path.name), whole_file(path) as partial:
            partial.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_that_others_may_only_read_is_moved_to_its_place(tmp_path):
    with whole_file(tmp_path / "list.json") as partial:
        partial.write_text("new")
        partial.chmod(stat.S_IREAD)
    assert (tmp_path / "list.json").read_text() == "new"


def test_content_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    steps = []
    replace, sync = os.replace, os.fsync
    monkeypatch.setattr(storage.os, "fsync", lambda number: (steps.append("content"), sync(number)))
    monkeypatch.setattr(storage.os, "replace", lambda *paths: (steps.append("name"), replace(*paths)))
    with whole_file(tmp_path / "list.json") as partial:
        partial.write_text("new")
    assert steps == ["content", "name"]


KILLED = """
import os, signal, sys
from pathlib import Path
from context_propagation.core.storage.whole_file import claim_folder, whole_file, whole_folder
with (whole_file if sys.argv[2] == "file" else whole_folder)(Path(sys.argv[1])) as partial:
    (partial if sys.argv[2] == "file" else partial / "half").write_text("half of")
    os.kill(os.getpid(), signal.SIGTERM)
"""


def kill_while_writing(path, kind):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), kind], env=environment, check=False)
    assert done.returncode in (-signal.SIGTERM, signal.SIGTERM)  # the latter on Windows


def test_what_a_killed_process_left_of_a_file_is_gone_after_the_next_write(tmp_path):
    (path := tmp_path / "list.json").write_text("old")
    kill_while_writing(path, "file")
    assert path.read_text() == "old"
    with whole_file(path) as partial:
        partial.write_text("new")
    assert everything_below(tmp_path) == {path.relative_to(tmp_path): b"new"}


# ---- folders


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "model") as partial:
        assert list(partial.iterdir()) == []
        (partial / "weights").write_bytes(b"new")
        assert not (tmp_path / "model").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_bytes() == b"new"


def test_all_of_an_older_folder_is_replaced(model):
    write_model(model)
    assert is_new(model)
    assert list(model.parent.iterdir()) == [model]


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    write_model(tmp_path / "model")
    assert is_new(tmp_path / "model")


def test_a_folder_with_read_only_files_is_replaced(model):
    for path in (model / "fold_0" / "weights", model / "fold_0", model):
        path.chmod(stat.S_IREAD | stat.S_IXUSR)
    write_model(model)
    assert is_new(model)
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("older", [True, False])
def test_a_folder_that_fails_leaves_the_older_one_and_nothing_else(tmp_path, model, failure, older):
    path = model if older else tmp_path / "other"
    before = everything_below(tmp_path)

    def write():
        with whole_folder(path) as partial:
            (partial / "weights").write_bytes(b"half of")
            raise failure

    with pytest.raises(failure if isinstance(failure, type) else type(failure)):
        write()
    assert everything_below(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_where_the_last_move_fails_the_older_folder_is_put_back(model, monkeypatch, failure):
    before, rename = everything_below(model.parent), os.rename

    def fail_for_the_new_one(source, destination):
        if storage.PARTIAL in str(source):
            raise failure
        rename(source, destination)

    monkeypatch.setattr(storage.os, "rename", fail_for_the_new_one)
    with pytest.raises(type(failure)):
        write_model(model)
    assert everything_below(model.parent) == before
    assert list(model.parent.iterdir()) == [model]


def test_what_a_killed_process_left_of_a_folder_is_gone_after_the_next_write(model):
    before = everything_below(model)
    kill_while_writing(model, "folder")
    assert everything_below(model) == before
    assert len(list(model.parent.iterdir())) == 2
    write_model(model)
    assert is_new(model)
    assert list(model.parent.iterdir()) == [model]


def test_an_older_folder_that_a_killed_process_had_moved_aside_comes_back(model):
    before = everything_below(model)
    model.rename(model.with_name(storage.REPLACED + model.name))

    def write():
        with whole_folder(model):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert everything_below(model) == before
    assert list(model.parent.iterdir()) == [model]


def test_a_link_in_an_older_folder_loses_nothing_of_what_it_leads_to(model, tmp_path):
    (elsewhere := tmp_path / "elsewhere").write_text("mine")
    elsewhere.chmod(stat.S_IREAD)
    mode = elsewhere.stat().st_mode
    try:
        (model / "link").symlink_to(elsewhere)
    except OSError:
        pytest.skip("no links on this system")
    write_model(model)
    assert (elsewhere.read_text(), elsewhere.stat().st_mode) == ("mine", mode)


def test_of_many_who_claim_a_folder_at_once_one_makes_it_and_all_read_whose_it_is(tmp_path):
    folder, together = tmp_path / "bundle.work", Barrier(8)

    def claim(number):
        together.wait()
        claim_folder(folder, "whose", f"of {number}")
        return (folder / "whose").read_text()

    with ThreadPoolExecutor(8) as threads:
        said = set(threads.map(claim, range(8)))

    assert len(said) == 1
    assert everything_below(tmp_path).keys() == {(folder / "whose").relative_to(tmp_path)}


def test_a_folder_that_is_there_is_not_claimed(model):
    before = everything_below(model)
    claim_folder(model, "whose", "mine")
    assert everything_below(model) == before
