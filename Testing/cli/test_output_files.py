"""Outputs appear together, or not at all."""

import pytest

from context_propagation.cli.output_files import OutputFiles
from context_propagation.core.errors import UserInputError


def test_nothing_appears_before_publishing_and_everything_after_it(tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    with OutputFiles([first, None, second]) as outputs:
        outputs.staged(first).write_text("1")
        outputs.staged(second).write_text("2")
        assert not first.exists()
        outputs.publish()

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"first.txt": "1", "second.txt": "2"}


def test_where_one_output_fails_the_others_are_as_before(tmp_path):
    replaced, new, never_written = tmp_path / "replaced.txt", tmp_path / "new.txt", tmp_path / "never.txt"
    replaced.write_text("older")
    with OutputFiles([replaced, new, never_written]) as outputs:
        outputs.staged(replaced).write_text("newer")
        outputs.staged(new).write_text("new")
        with pytest.raises(UserInputError, match=r"never\.txt' cannot be written"):
            outputs.publish()

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"replaced.txt": "older"}


@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_block_leaves_nothing(tmp_path, reason):
    output = tmp_path / "out.txt"

    def work():
        with OutputFiles([output]) as outputs:
            outputs.staged(output).write_text("half")
            raise reason

    with pytest.raises(reason):
        work()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanished_is_refused_and_other_folders_stay_clean(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    outputs = OutputFiles([tmp_path / "here.txt", gone / "there.txt"])
    gone.rmdir()

    with pytest.raises(UserInputError, match=r"there\.txt' cannot be written"), outputs:
        pass
    assert list(tmp_path.iterdir()) == []
