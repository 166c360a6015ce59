"""`propagate-cohort`: recorded edits over a table of cases, as `propagate` makes them; a failed case is a line."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.cli.cohort_memory import memory_of_cases
from context_propagation.cli.cohort_table import CohortCase, read_cohort
from context_propagation.cli.propagate_cohort import CohortRequest
from context_propagation.core.errors import UserInputError
from context_propagation.training.job_memory import COPIES, PROCESS_BYTES
from dicom_files import write_ct_series
from local_clusters import local_cluster
from other_processes import waited_for

pytestmark = pytest.mark.usefixtures("models_loaded_once")


def mask_in(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def write_table(folder, *lines, columns="case,image,initial,edited,session"):
    table = folder / "cases.csv"
    table.write_text("\n".join((columns, *lines)) + "\n", encoding="utf-8")
    return table


def outcomes(folder):
    with open(folder / "outcomes.csv", newline="", encoding="utf-8") as file:
        return {line["case"]: line for line in csv.DictReader(file)}


@pytest.fixture
def cohort(files, tmp_path):
    """Arguments of the command for a table with these lines."""

    def arguments(*lines, **changes):
        usual = {"cases": write_table(tmp_path, *lines), "output": tmp_path / "out", "model": files.model, "jobs": 1}
        return [
            "propagate-cohort",
            *(word for name, value in {**usual, **changes}.items() for word in (f"--{name}", value)),
        ]

    return arguments


def test_an_edited_segmentation_and_a_saved_session_give_what_propagate_gave(
    run, cohort, propagate_arguments, files, tmp_path
):
    alone, session = tmp_path / "alone.nii.gz", tmp_path / "a.session.json"
    assert run(*propagate_arguments(output=alone, **{"save-session": session})).code == 0
    lines = (f"edited,{files.image},{files.initial},{files.edited},", f"session,{files.image},,,{session}")

    done = run(*cohort(*lines))

    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'out' / 'outcomes.csv'}: 2 cases done\n"
    for name in ("edited", "session"):
        assert np.array_equal(mask_in(tmp_path / "out" / f"{name}.nii.gz"), mask_in(alone))
    figures = ("outcome", "edits", "changed_voxels", "changed_slices", "scope")
    first, second = ({name: line[name] for name in figures} for line in outcomes(tmp_path / "out").values())
    assert first == second
    assert first["outcome"] == "done"
    assert first["edits"] == "1"
    assert float(outcomes(tmp_path / "out")["edited"]["peak_memory_mib"]) > 100
    assert int(first["changed_voxels"]) > 0


def test_without_an_initial_segmentation_the_model_s_own_is_taken(
    run, cohort, propagate_arguments, predict_arguments, files, tmp_path
):
    predicted, alone = tmp_path / "predicted.nii.gz", tmp_path / "alone.nii.gz"
    assert run(*predict_arguments(output=predicted)).code == 0
    redrawn = mask_in(predicted)
    redrawn[10, 4:9, 4:9] ^= 1
    image = sitk.GetImageFromArray(redrawn)
    image.CopyInformation(sitk.ReadImage(str(predicted)))
    sitk.WriteImage(image, str(tmp_path / "redrawn.nii.gz"))
    assert run(*propagate_arguments(initial=predicted, edited=tmp_path / "redrawn.nii.gz", output=alone)).code == 0

    assert run(*cohort(f"a,{files.image},,redrawn.nii.gz,")).code == 0

    assert np.array_equal(mask_in(tmp_path / "out" / "a.nii.gz"), mask_in(alone))


def test_a_failed_case_is_a_line_with_its_sentence_and_the_only_one_that_is_tried_again(run, cohort, files, tmp_path):
    good = f"good,{files.image},{files.initial},{files.edited},"
    lines = (good, f"bad,{files.image},{files.initial},missing.nii.gz,")

    failed = run(*cohort(*lines))

    assert failed.code == 2
    assert "1 case done, 1 FAILED, first bad: " in failed.err
    assert "missing.nii.gz" in failed.err
    assert len(failed.error_lines) == 1
    found = outcomes(tmp_path / "out")
    assert [found["good"]["outcome"], found["bad"]["outcome"]] == ["done", "failed"]
    assert "missing.nii.gz" in found["bad"]["said"]
    written = (tmp_path / "out" / "good.nii.gz").stat().st_mtime_ns

    (tmp_path / "missing.nii.gz").write_bytes(files.edited.read_bytes())
    assert run(*cohort(*lines)).code == 0

    assert (tmp_path / "out" / "good.nii.gz").stat().st_mtime_ns == written
    assert outcomes(tmp_path / "out")["good"] == found["good"]
    assert outcomes(tmp_path / "out")["bad"]["outcome"] == "done"


def test_a_case_whose_edit_is_another_is_done_again(run, cohort, files, tmp_path):
    edited = tmp_path / "edited.nii.gz"
    edited.write_bytes(files.edited.read_bytes())
    line = f"a,{files.image},{files.initial},edited.nii.gz,"
    assert run(*cohort(line)).code == 0
    first = mask_in(tmp_path / "out" / "a.nii.gz")

    image = sitk.ReadImage(str(edited))
    image[12:16, 4:6, 10] = 1
    sitk.WriteImage(image, str(edited))
    assert run(*cohort(line)).code == 0

    assert not np.array_equal(mask_in(tmp_path / "out" / "a.nii.gz"), first)


def test_a_case_is_another_where_a_file_of_its_model_is_but_not_by_what_a_system_leaves_there(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "plans.json").write_text("{}")
    case = CohortCase("a", (tmp_path / "image.nii.gz",), tmp_path / "model")
    before = case.digest()

    (tmp_path / "model" / ".DS_Store").touch()
    assert case.digest() == before
    (tmp_path / "model" / "plans.json").write_text("{ }")
    assert case.digest() != before


def test_the_largest_case_that_can_be_read_says_how_much_memory_a_job_needs(cohort, files, tmp_path):
    """As its own session would, and as its image; with the prediction where there is no initial segmentation."""
    voxels = np.concatenate([sitk.GetArrayFromImage(sitk.ReadImage(str(files.image)))] * 2)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "large.nii.gz"))
    (tmp_path / "damaged.nii.gz").write_bytes(b"no image")
    small, large = f"small,{files.image},{files.initial},{files.edited},", "large,large.nii.gz,,,a.session.json"
    bad = f"bad,damaged.nii.gz,{files.initial},{files.edited},"

    def forecast(*lines):
        cohort(*lines)
        request = CohortRequest(tmp_path / "cases.csv", tmp_path / "out", files.model, device="cpu")
        return memory_of_cases(request.case_jobs())

    assert forecast(bad) == PROCESS_BYTES
    assert forecast(small) == forecast(small, bad) > PROCESS_BYTES + 4 * COPIES * voxels.size // 2
    assert forecast(small, large) == forecast(large) > forecast(small)


def test_files_that_are_no_slices_beside_those_of_a_dicom_folder_make_it_no_smaller(
    cohort, files, tmp_path, monkeypatch
):
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(folder.glob("*"))))  # in no order otherwise
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(files.image)))
    for name, count in (("small", 1), ("large", 2)):
        write_ct_series(tmp_path / name, np.concatenate([voxels] * count).astype(np.int16))
        (tmp_path / name / "0.txt").write_text("notes")

    def forecast(*names):
        cohort(*(f"{name},{name},,,a.session.json" for name in names))
        return memory_of_cases(CohortRequest(tmp_path / "cases.csv", tmp_path / "out", files.model).case_jobs())

    assert forecast("small", "large") == forecast("large") > forecast("small")


def test_parts_do_the_cases_and_the_call_without_writes_the_table(run, cohort, files, tmp_path):
    lines = [f"{name},{files.image},{files.initial},{files.edited}," for name in "ab"]

    first, second = (run(*cohort(*lines, part=number, parts=2)) for number in (1, 2))

    assert (first.code, second.code) == (0, 0)
    assert "part 1 of 2: 'cases' waits for 1 job of other parts; once all parts have ended, run the same" in first.out
    assert second.out.startswith("part 2 of 2: all jobs are done; ")
    assert not (tmp_path / "out" / "outcomes.csv").exists()
    assert run(*cohort(*lines)).code == 0
    assert [line["outcome"] for line in outcomes(tmp_path / "out").values()] == ["done", "done"]


@pytest.mark.long
def test_parts_that_start_at_the_same_moment_do_each_case_once_and_leave_no_unfinished_file(cohort, files, tmp_path):
    lines = [f"{name},{files.image},{files.initial},{files.edited}," for name in "abcd"]
    program = [sys.executable, "-m", "context_propagation.cli.main"]
    parts = [
        subprocess.Popen([*program, *map(str, cohort(*lines, part=number, parts=2))], stdout=subprocess.PIPE, text=True)
        for number in (1, 2)
    ]

    said = [part.communicate(timeout=300)[0] for part in parts]

    assert [part.returncode for part in parts] == [0, 0]
    assert any("all jobs are done" in line for line in said)
    names = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [name for name in names if name.endswith(".nii.gz")] == [f"{name}.nii.gz" for name in "abcd"]
    assert len(names) == 9, "four outcomes, and what the folder is of"


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C as a shell sends it")
def test_ctrl_c_on_a_cluster_leaves_whole_cases_alone_and_the_same_command_goes_on(run, cohort, files, tmp_path):
    pytest.importorskip("distributed")
    lines = [f"{number},{files.image},{files.initial},{files.edited}," for number in range(10)]
    with local_cluster(tmp_path) as cluster:
        words = [word for word in cohort(*lines) if word not in ("--jobs", 1)]
        words = [str(word) for word in (*words, "--device", "cpu", "--scheduler-file", cluster.file)]
        call = subprocess.Popen([sys.executable, "-c", INTERRUPTIBLE, *words], stderr=subprocess.PIPE, text=True)
        assert waited_for(lambda: written(tmp_path) or call.poll() is not None, 600)
        assert call.poll() is None, call.communicate()[1]
        call.send_signal(signal.SIGINT)
        said = call.communicate(timeout=120)[1]
        at_the_end = written(tmp_path)
        time.sleep(1.5)
        assert written(tmp_path) == at_the_end
        assert len(at_the_end) < 10
        assert run(*words).code == 0

    assert call.returncode == 130, said
    assert "interrupted; what is finished is kept" in said
    assert at_the_end.items() <= written(tmp_path).items(), "none is done twice"
    assert not list((tmp_path / "out").glob(".*"))
    assert {line["outcome"] for line in outcomes(tmp_path / "out").values()} == {"done"}


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from context_propagation.cli.main import main
if __name__ == "__main__": sys.exit(main())
"""


def written(folder):
    """Each outcome's time of writing."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "out" / "outcomes").glob("[!.]*.json")}


def test_what_killed_jobs_left_goes_with_the_call_that_gathers(run, cohort, files, tmp_path):
    left = tmp_path / "out" / f".context-propagation-{'0a' * 16}"
    line = f"a,{files.image},{files.initial},{files.edited},"
    assert run(*cohort(line, part=1, parts=1)).code == 0
    left.mkdir()
    (left / "a.nii.gz").write_bytes(b"half")

    assert run(*cohort(line)).code == 0

    assert not left.exists()


def test_a_case_whose_segmentation_is_gone_is_a_job_again_of_its_own_part_alone(run, cohort, files, tmp_path):
    lines = [f"{name},{files.image},{files.initial},{files.edited}," for name in "ab"]
    assert run(*cohort(*lines)).code == 0
    for name in "ab":
        (tmp_path / "out" / f"{name}.nii.gz").unlink()

    first = run(*cohort(*lines, part=1, parts=2))

    assert "'cases' waits for 1 job of other parts" in first.out
    assert len(list((tmp_path / "out").glob("?.nii.gz"))) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"part": 1}, "--part and --parts belong together"),
        ({"part": 3, "parts": 2}, "--part 3; give 1 to 2"),
        ({"part": 1, "parts": 2, "scheduler": "tcp://h:1"}, "--part is for jobs without a cluster"),
        ({"scheduler": "tcp://h:1"}, "--jobs 1 is for this computer; a cluster runs as many as it has workers"),
    ],
)
def test_places_that_contradict_each_other_are_refused(refused, cohort, files, changes, said):
    arguments = cohort(f"a,{files.image},{files.initial},{files.edited},", **changes)

    assert said in refused(*arguments)


@pytest.mark.parametrize(
    ("columns", "line", "said"),
    [
        ("case,image,edited,intial", "a,i,e,x", "has a column 'intial'; the columns are case, image, model, edited"),
        ("case,edited", "a,e", "has no column 'image'"),
        ("case,image,image,edited", "a,ct,pet,e", "has two columns 'image'; channels of an image go into one"),
        ("case;image;edited", "a;i;e", "has ';' between its columns; save it with commas"),
        ("case,image,edited", "../a,i,e", "Line 2 of --cases .* names case '../a'; use letters"),
        ("case,image,edited", "a,,e", "Line 2 of --cases .* names no image"),
        ("case,image,edited", "a,i,", "Line 2 of --cases .* has no recorded edit; give edited, or session"),
        ("case,image,edited", "a,i", "Line 2 of --cases .* has more or fewer entries"),
        ("case,image,edited", "a,i,e,f", "Line 2 of --cases .* has more or fewer entries"),
        ("case,image,session,edited", "a,i,s,e", "give both initial and edited, or neither"),
        ("case,image,edited", "a,i,e\nA,i,e", "names case 'A' twice"),
        ("case,image,edited", "", "names no case"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, columns, line, said):
    with pytest.raises(UserInputError, match=said):
        read_cohort(write_table(tmp_path, line, columns=columns), tmp_path)


def test_a_table_s_paths_begin_at_its_folder_and_channels_are_parted_by_semicolons(tmp_path):
    table = write_table(
        tmp_path, "a,ct.nii.gz; pet,e.nii.gz,/elsewhere/m,axial", columns="case,image,edited,model,plane"
    )

    (case,) = read_cohort(table, None)

    assert case.image == (tmp_path / "ct.nii.gz", tmp_path / "pet")
    assert (case.edited, str(case.model), case.plane) == (tmp_path / "e.nii.gz", "/elsewhere/m", "axial")
