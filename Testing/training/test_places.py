"""Parts of a job array: together they do each job once, one after the other of what depends on another, as one call."""

from functools import partial

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.storage.whole_file import PARTIAL, whole_file
from context_propagation.training.places import (
    AGAIN,
    Part,
    PartEnds,
    are_there,
    each,
    leave_the_rest_to_who_gathers,
    this_call_gathers,
)
from context_propagation.training.processes import Here, run_in_parallel


def written_once(file, text):
    """A job that leaves a file, and says so where it is run a second time."""
    if file.is_file():
        return file.read_text()
    with open(file.with_suffix(".runs"), "a") as runs:
        runs.write("x")
    file.write_text(text)
    return text


def two_stages(folder):
    """Seven jobs, and three that read all of their files."""
    first = [folder / f"first-{number}" for number in range(7)]
    jobs = [partial(written_once, file, str(number)) for number, file in enumerate(first)]
    found = run_in_parallel(jobs, "first", 1, (), first)
    second = [folder / f"second-{number}" for number in range(3)]
    jobs = [partial(written_once, file, "".join(found) + str(number)) for number, file in enumerate(second)]
    return run_in_parallel(jobs, "second", 1, [f"case {number}" for number in range(3)], second)


def as_part(number, parts, call):
    """What a part says at its end."""
    try:
        with Part(number, parts, Here()).entered():
            call()
            leave_the_rest_to_who_gathers()
    except PartEnds as ended:
        return str(ended)
    raise AssertionError("a part ends without a word")


def test_parts_do_each_job_once_and_together_what_one_call_does(tmp_path):
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    for folder in (whole, shared):
        folder.mkdir()
    expected = two_stages(whole)

    said = [[as_part(number, 3, partial(two_stages, shared)) for number in (1, 2, 3)] for _ in range(3)]

    assert expected == ["01234560", "01234561", "01234562"]
    assert [line.partition(" waits")[0] for line in said[0]] == ["'first'", "'first'", "'second'"]
    assert said[2] == ["all jobs are done; the same command without --part gathers"] * 3
    runs = {file.name: file.read_text() for file in shared.glob("*.runs")}
    assert len(runs) == 10
    assert set(runs.values()) == {"x"}
    assert two_stages(shared) == expected


def pair(folder, number):
    return folder / f"{number}.image", folder / f"{number}.outcome"


def written_in_two_files(folder, number):
    """As `written_once`, for a job whose result is two files."""
    if not are_there(pair(folder, number)):
        with open(folder / "runs", "a") as runs:
            runs.write(str(number))
        for file in pair(folder, number):
            file.touch()


def test_a_job_that_lost_one_of_its_files_is_done_again_by_its_own_part_alone(tmp_path):
    def call():
        jobs = [partial(written_in_two_files, tmp_path, number) for number in range(4)]
        run_in_parallel(jobs, "pairs", 1, (), [pair(tmp_path, number) for number in range(4)])

    as_part(1, 1, call)
    (tmp_path / "2.image").unlink()
    (tmp_path / "runs").unlink()

    waited = []
    for number in (1, 2, 3, 4):
        said = as_part(number, 4, call)
        waited.append(said == f"'pairs' waits for 1 job of other parts; {AGAIN}")
        assert (tmp_path / "runs").exists() != waited[-1]

    assert (tmp_path / "runs").read_text() == "2"
    assert waited == [True, True, True, False], "it is part 4's"


def test_a_part_says_for_how_many_jobs_of_others_it_waits(tmp_path):
    said = as_part(1, 7, partial(two_stages, tmp_path))

    assert said == f"'first' waits for 6 jobs of other parts; {AGAIN}"
    assert len(list(tmp_path.glob("first-?"))) == 1


def test_a_part_goes_on_with_what_needs_nothing_of_what_it_waits_for(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()

    said = as_part(1, 7, lambda: list(each([partial(two_stages, folder) for folder in folders])))

    assert said == f"'first' waits for 6 jobs of other parts; {AGAIN}"

    assert [len(list(folder.glob("first-?"))) for folder in folders] == [1, 1]


def test_a_job_of_its_own_that_left_no_file_is_named_and_left_to_the_call_that_gathers(tmp_path):
    def call():
        run_in_parallel([int], "cases", 1, ["case_7"], [tmp_path / "missing"])

    assert as_part(1, 1, call) == f"'cases': 'case_7' failed; without --part you see why; {AGAIN}"


def test_a_part_gathers_nothing_and_writes_beside_others_under_a_name_of_its_own(tmp_path):
    assert this_call_gathers()
    with Part(2, 3, Here()).entered():
        assert not this_call_gathers()
        with whole_file(tmp_path / "record.json") as partial_file:
            partial_file.touch()
    assert partial_file.name == f"{PARTIAL}part-2-record.json"
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("number", "parts", "said"), [(0, 3, "--part 0; give 1 to 3"), (4, 3, "--part 4; give 1 to 3"), (1, 0, "--parts 0")]
)
def test_a_part_that_there_is_not_is_refused(number, parts, said):
    with pytest.raises(UserInputError, match=said):
        Part(number, parts, Here())
