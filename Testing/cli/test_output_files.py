"""Outputs appear together, or not at all."""

import os

import pytest

from context_propagation.cli import demo, evaluate
from context_propagation.cli.main import main
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


# ---- what an output may replace


def refusal(*paths, **given) -> str:
    with pytest.raises(UserInputError) as refused:
        OutputFiles(paths, **given)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plans.json", b'{"dataset_name": "x"}'),
        ("notes.json", b"no JSON"),
        ("slice.dcm", b"\0" * 128 + b"DICM"),
        ("letter.pdf", b"a letter"),
        ("photo.png", b"\xff\xd8\xff"),
        ("scan.nrrd", b"no volume at all"),
        ("scene.seg.nrrd", b"a text"),
        ("weights.h5", b"PK\3\4"),
    ],
)
def test_a_file_of_another_kind_is_not_replaced(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    assert "exists and is no" in refusal(tmp_path / name)
    assert (tmp_path / name).read_bytes() == content


def test_a_report_and_an_empty_file_are_replaced(tmp_path):
    (tmp_path / "report.json").write_text('{"stages": [], "versions": {}, "settings": {}, "plane": "axial"}')
    (tmp_path / "empty.json").touch()

    OutputFiles([tmp_path / "report.json", tmp_path / "empty.json"])


def test_links_and_what_is_no_regular_file_are_not_replaced(tmp_path):
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "link.txt").symlink_to(tmp_path / "file.txt")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere.txt")
    os.mkfifo(tmp_path / "pipe.txt")

    assert "is a link" in refusal(tmp_path / "link.txt")
    assert "is a link" in refusal(tmp_path / "broken.txt")
    assert "is no regular file" in refusal(tmp_path / "pipe.txt")


def test_another_name_of_an_input_is_not_replaced(tmp_path):
    (tmp_path / "input.txt").write_text("x")
    os.link(tmp_path / "input.txt", tmp_path / "same.txt")

    assert "is also another file of this run" in refusal(tmp_path / "same.txt", inputs=[tmp_path / "input.txt"])


def test_no_file_of_the_model_is_replaced_and_a_new_one_beside_them_may_appear(tmp_path):
    model = tmp_path / "model"
    (model / "fold_0").mkdir(parents=True)
    (model / "fold_0" / "progress.png").write_bytes(b"\x89PNG")

    assert f"is a file of the model '{model}'" in refusal(model / "fold_0" / "progress.png", model=model)
    OutputFiles([model / "new.png"], model=model)


# ---- folders of results

FIRST = {"demo": f"truth/{demo.UNSEEN.name}.json", "evaluate": "protocol.json"}
"""What a run writes before its results."""


@pytest.fixture
def results_refused(tmp_path, capsys):
    """Run a command that writes a folder; its line on stderr. It stops before it computes anything."""
    protocol = tmp_path / "protocol.toml"
    protocol.write_text("nothing = true")

    def refused(command) -> str:
        options = ["--protocol", str(protocol)] if command == "evaluate" else []
        assert main([command, "--output", str(tmp_path / "out"), *options]) == 2
        return capsys.readouterr().err

    return refused


@pytest.mark.parametrize("command", FIRST)
@pytest.mark.parametrize("number", range(6))
def test_a_file_that_is_no_result_is_not_replaced_by_one(tmp_path, results_refused, command, number):
    name = {"demo": demo.RESULTS, "evaluate": evaluate.RESULTS}[command][number]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("a clinician's")

    assert f"{name}' exists and is no result of this command; choose another folder" in results_refused(command)
    assert (tmp_path / "out" / name).read_text() == "a clinician's"


@pytest.mark.parametrize("command", FIRST)
def test_a_link_among_earlier_results_is_not_written_through(tmp_path, results_refused, command):
    first = tmp_path / "out" / FIRST[command]
    first.parent.mkdir(parents=True)
    first.write_text("{}")
    name = {"demo": "report.json", "evaluate": "summary.md"}[command]
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")

    assert f"{name}' is a link or no regular file; choose another folder" in results_refused(command)
    assert (tmp_path / "elsewhere").read_text() == "kept"


@pytest.mark.parametrize("command", FIRST)
def test_a_file_in_the_folder_s_place_is_refused(tmp_path, results_refused, command):
    (tmp_path / "out").write_text("kept")

    assert f"Output '{tmp_path / 'out'}' is no folder" in results_refused(command)
    assert (tmp_path / "out").read_text() == "kept"


def test_the_demo_does_not_write_into_the_bundle_that_ships(capsys):
    assert main(["demo", "--output", str(demo.shipped_bundle() / "out")]) == 2
    assert "lies in the bundle that ships; choose another folder" in capsys.readouterr().err
