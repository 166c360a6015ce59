"""The files that an evaluation leaves: cases, summaries, and plots of what was measured."""

import json

import numpy as np
import pytest

from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.report import COUNTS, Written, write_results
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.rows import NEEDED_NO_EDIT
from evaluation_lines import line
from evaluation_tables import table_lines

pandas = pytest.importorskip("pandas")

THRESHOLDS = {
    "fold 0, level 2, fusion": FarThresholds(add=0.2, remove=0.995, least_gain=0.08),
    "fold 2, level 2, fusion": FarThresholds(add=0.4, remove=0.5),
}


def written(folder, lines: list[dict], edits: int = 1, notes=(), curve=(), **plan) -> int:
    protocol = EvaluationPlan("balls", "balls", edits=edits, test_folds=(0, 2), other_levels=(), **plan)
    rows = [CaseRow(**one) for one in lines]
    return write_results(Written(protocol, "evaluate", ["abc"], list(notes), rows, THRESHOLDS, list(curve)), folder)


def test_counts_are_whole_numbers_in_the_csv_also_beside_a_failure_that_lacks_them(tmp_path):
    failure = {"fold": "0", "case": "broken", "pick": "worst", "level": 2, "edits": 1, "row": "fusion"}
    failure |= {"scope": "whole", "error": "why"}
    many = line(dsc=0.123456789, slice=17, far_voxels=123456789, far_voxels_changed=1234567, regressed_slices=0)
    assert written(tmp_path, [many, failure]) == 1

    text = pandas.read_csv(tmp_path / "cases.csv", dtype=str).fillna("")
    expected = {
        "level": ["2", "2"], "edits": ["1", "1"], "slice": ["17", ""], "regressed_slices": ["0", ""],
        "untouched_slices": ["10", ""], "far_voxels_changed": ["1234567", ""], "far_voxels": ["123456789", ""],
        "new_islands": ["0", ""],
    }  # fmt: skip
    assert {column: list(text[column]) for column in COUNTS} == expected
    assert list(text["dsc"]) == ["0.12346", ""]


def test_counts_read_back_from_json_as_floats_are_whole_numbers_too(tmp_path):
    written(tmp_path, [line(slice=5.0, far_voxels=1000.0)])
    assert pandas.read_csv(tmp_path / "cases.csv", dtype=str)[["slice", "far_voxels"]].iloc[0].tolist() == ["5", "1000"]


def test_the_summary_begins_with_what_was_measured_and_ends_with_the_far_thresholds(tmp_path):
    written(tmp_path, [line()], notes=["styles: 3 tight, 2 generous"])
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")

    head = text[: text.index("\n## ")].strip().splitlines()
    assert head[:2] == ["# balls", ""]
    assert all(item.startswith("- ") for item in head[2:])
    assert head[2] == "- command: evaluate"
    assert "- computed at: abc" in head
    assert head[-1] == "- styles: 3 tight, 2 generous"
    assert "test folds 0, 2" in head[-2]
    assert "other levels none" in head[-2]
    assert "seed 0" in head[-2]
    assert "{" not in text
    assert table_lines(text, "Far thresholds") == [
        ["fold, level, row", "add", "remove", "least gain"],
        ["fold 0, level 2, fusion", "0.2", "0.995", "0.08"],
        ["fold 2, level 2, fusion", "0.4", "0.5", "—"],
    ]
    figures = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    thresholds = {"add": 0.2, "remove": 0.995, "fading_slices": 6, "least_gain": 0.08}
    assert figures["far_thresholds"]["fold 0, level 2, fusion"] == thresholds
    assert figures["notes"] == ["styles: 3 tight, 2 generous"]


def test_a_paper_s_row_is_called_what_it_is(tmp_path):
    written(tmp_path, [line(), line(row="paper's fusion")])
    said = "- paper's fusion: the paper's architecture at width 2; the paper's has 8"
    assert said in (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()


def test_the_paper_s_own_width_is_called_so(tmp_path):
    written(tmp_path, [line(), line(row="paper's fusion")], paper_width=8.0)
    said = "- paper's fusion: the paper's architecture at its own width, 8"
    assert said in (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()


PLACE = ("fold", "case", "pick", "level", "edits", "row", "scope", "error")


@pytest.mark.parametrize(
    "lines",
    [
        [{column: value for column, value in line(error="no memory").items() if column in PLACE}],
        [line(row="baseline", error=NEEDED_NO_EDIT, dsc=np.nan)],
        [line(level=1)],  # all cases of the protocol's level failed
        [],
    ],
)
def test_where_nothing_was_measured_at_the_protocols_level_there_is_no_plot(lines, tmp_path):
    written(tmp_path, lines, edits=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.csv", "summary.json", "summary.md"]


def test_several_edits_that_no_case_has_give_no_plot_of_edits(tmp_path):
    pytest.importorskip("matplotlib")
    written(tmp_path, [line()], edits=3)
    assert (tmp_path / "rows.png").is_file()
    assert not (tmp_path / "edits.png").exists()
    written(tmp_path, [line(), line(edits=2), line(edits=3)], edits=3)
    assert (tmp_path / "edits.png").is_file()
