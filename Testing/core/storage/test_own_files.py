"""What a folder of unknown origin may not make a reader open."""

import os

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.storage.own_files import refuse_foreign_file, refuse_links_out_of


def test_an_ordinary_file_and_a_link_inside_the_folder_pass(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").symlink_to("a")
    refuse_foreign_file(tmp_path, tmp_path / "a")
    refuse_foreign_file(tmp_path, tmp_path / "b")
    refuse_links_out_of(tmp_path)


def test_links_that_leave_the_folder_are_refused_at_any_depth(tmp_path):
    (tmp_path / "outside").write_text("x")
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UserInputError, match="link' is a link that leaves"):
        refuse_foreign_file(folder, folder / "deep" / "link")
    with pytest.raises(UserInputError, match="link' is a link that leaves"):
        refuse_links_out_of(folder)


def test_a_folder_that_is_reached_over_a_link_that_leaves_is_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.pt").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "models").symlink_to(tmp_path / "outside")
    with pytest.raises(UserInputError, match="leaves"):
        refuse_foreign_file(tmp_path / "folder", tmp_path / "folder" / "models" / "model.pt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_a_folder_and_a_missing_file_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, said in (("pipe", "no ordinary file"), ("folder", "no ordinary file"), ("nothing", "is missing")):
        with pytest.raises(UserInputError, match=said):
            refuse_foreign_file(tmp_path, tmp_path / name)
