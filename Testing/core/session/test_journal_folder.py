"""A folder in which each process keeps files, and what a process that died leaves there."""

import os
import shutil
import time

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.journal_folder import JournalFolder
from context_propagation.core.storage.whole_file import PARTIAL

DEAD = "0" * 32


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "settings" / "journal"


def left(folder, name=f"{DEAD}.1.journal.json", text="left"):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


def test_a_file_is_of_its_process_until_that_ends_and_then_it_is_gone(folder):
    own, other = JournalFolder(folder), JournalFolder(folder)
    file = own.write("first")
    assert own.write("second", file) == file
    assert own.read(file) == "second"
    assert own.left_behind() == [] == other.left_behind()

    own.close()

    assert not folder.exists()


def test_what_a_process_leaves_is_found_the_newest_first_and_can_be_taken_over(folder):
    old, new = left(folder), left(folder, f"{'1' * 32}.7.journal.json", "new")
    os.utime(old, (time.time() - 60,) * 2)
    one, other = JournalFolder(folder), JournalFolder(folder)
    assert one.left_behind() == [new, old]

    taken = one.take_over(new)

    assert taken.read_text() == "new"
    assert other.left_behind() == [old]
    with pytest.raises(FileNotFoundError):
        other.take_over(new)


def test_only_files_of_its_own_names_are_looked_at_or_removed(folder):
    names = ("notes.json", f"{DEAD}.journal.json", f"{DEAD}.1.json", f"x{DEAD}.1.journal.json")
    foreign = [left(folder, name) for name in names]
    one = JournalFolder(folder)
    assert one.left_behind() == []

    one.forget()
    one.write("own")
    one.close()

    assert sorted(folder.iterdir()) == sorted(foreign)


def test_what_a_process_was_killed_while_writing_is_not_offered_and_goes_with_the_rest(folder):
    half = left(folder, f"{PARTIAL}{DEAD}.1.journal.json")
    one = JournalFolder(folder)
    assert one.left_behind() == []

    one.forget()

    assert not half.exists()


@pytest.mark.parametrize("suffix", [".1.journal.json", ".lock"])
def test_after_thirty_days_all_that_is_left_is_removed_but_not_of_a_process_that_runs(folder, suffix):
    running = JournalFolder(folder)
    own = running.write("own")
    old = left(folder, f"{DEAD}{suffix}")
    for file in folder.iterdir():
        os.utime(file, (time.time() - 31 * 24 * 3600,) * 2)

    assert JournalFolder(folder).left_behind() == []

    assert not old.exists()
    assert own.exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_out_of_the_folder_and_a_pipe_are_not_read(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("elsewhere")
    folder.mkdir(parents=True)
    link, pipe = folder / f"{DEAD}.1.journal.json", folder / f"{DEAD}.2.journal.json"
    link.symlink_to(secret)
    os.mkfifo(pipe)
    one = JournalFolder(folder)

    assert set(one.left_behind()) == {link, pipe}
    for file in (link, pipe):
        with pytest.raises(UserInputError):
            one.read(file)
    one.forget()
    assert secret.exists()


def test_a_folder_that_somebody_removed_is_made_again(folder):
    one = JournalFolder(folder)
    file = one.write("first")
    shutil.rmtree(folder)

    assert one.write("second", file).read_text() == "second"
    assert JournalFolder(folder).left_behind() == []
