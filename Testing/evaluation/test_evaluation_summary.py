"""Means, counts and rates of a small hand-made evaluation, against figures worked by hand."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.evaluation.markdown import to_markdown
from context_propagation.evaluation.results import FailedCase, MeasureSummary, Summary
from context_propagation.evaluation.rows import MEASURES, NEEDED_NO_EDIT
from context_propagation.evaluation.summary import summarise
from evaluation_lines import line
from evaluation_tables import cases, frame, table_lines

pandas = pytest.importorskip("pandas")


def found(summary: Summary, measure: str = "dsc", **wanted) -> MeasureSummary:
    items = [i for i in summary.measures if i.measure == measure and all(getattr(i, k) == v for k, v in wanted.items())]
    (item,) = items
    return item


def test_mean_and_deviation_are_over_the_means_of_folds():
    # fold 0: (.6 + .8) / 2 = .7; fold 1: (.9 + .9 + .6) / 3 = .8; mean .75, deviation sqrt(2 · .05² / 1)
    item = found(summarise(frame(*cases("fusion", [0.6, 0.8, 0.9, 0.9, 0.6]))))

    assert item.mean == pytest.approx(0.75)
    assert item.standard_deviation == pytest.approx(math.sqrt(0.005))
    assert (item.folds, item.cases, item.infinite) == (2, 5, 0)


def test_every_measure_is_summarised():
    summary = summarise(frame(line(hd95_mm=4.5, added_path_length_mm=80.0)))

    assert {item.measure: item.mean for item in summary.measures} == pytest.approx(
        {
            "dsc": 0.8, "hd95_mm": 4.5, "sensitivity": 0.7, "specificity": 0.999, "surface_dice_2mm": 0.9,
            "added_path_length_mm": 80.0,
        }
    )  # fmt: skip
    assert {item.measure for item in summary.measures} == set(MEASURES)


def test_one_fold_has_no_deviation():
    assert found(summarise(frame(line()))).standard_deviation is None


def test_infinite_distances_are_counted_and_in_no_mean():
    lines = cases("fusion", [0.5] * 4)
    for item, distance in zip(lines, [2.0, math.inf, 4.0, 6.0], strict=True):
        item["hd95_mm"] = distance
    summary = summarise(frame(*lines))

    item = found(summary, "hd95_mm")
    assert item.mean == pytest.approx((2 + 5) / 2)
    assert (item.folds, item.cases, item.infinite) == (2, 4, 1)
    assert "3.50 ± 2.12 (1 infinite)" in to_markdown(summary)


def test_where_all_distances_are_infinite_there_is_no_mean():
    summary = summarise(frame(line(hd95_mm=math.inf)))
    assert found(summary, "hd95_mm").mean is None
    assert found(summary, "hd95_mm").infinite == 1
    assert "— (1 infinite)" in to_markdown(summary)


def test_settings_rows_and_scopes_are_kept_apart():
    summary = summarise(
        frame(
            line(dsc=0.1), line(dsc=0.2, pick="largest"), line(dsc=0.3, level=1), line(dsc=0.4, edits=2),
            line(dsc=0.5, scope="far"), line(dsc=0.6, row="paste"),
        )
    )  # fmt: skip
    assert [item.mean for item in summary.measures if item.measure == "dsc"] == [0.3, 0.6, 0.1, 0.5, 0.4, 0.2]


def test_rows_come_in_their_order_and_further_ones_by_appearance():
    names = ["paper fusion", "oracle", "another", "fusion", "baseline", "contour interpolation ±10", "paste"]
    summary = summarise(frame(*(line(row=name) for name in names)))

    expected = ["baseline", "paste", "fusion", "contour interpolation ±10", "oracle", "paper fusion", "another"]
    assert list(dict.fromkeys(item.row for item in summary.measures)) == expected


def test_the_regression_rate_sums_slices_over_cases_once_though_scopes_repeat_them():
    lines = [
        line(case=case, scope=scope, regressed_slices=regressed, untouched_slices=untouched, far_voxels_changed=changed,
             new_islands=changed // 10, seam_mm2=changed, drawn_exact=case == "a", seconds=seconds)
        for case, regressed, untouched, changed, seconds in (("a", 1, 10, 5, 1.0), ("b", 3, 30, 25, 3.0))
        for scope in ("whole", "near", "far")
    ]  # fmt: skip
    (item,) = summarise(frame(*lines)).safety

    assert (item.regressed_slices, item.untouched_slices) == (4, 40)
    assert item.regression_rate == pytest.approx(0.1)
    assert (item.far_voxels_changed, item.far_voxels) == (30, 2000)
    assert item.far_share_changed == pytest.approx(0.015)
    assert (item.new_islands, item.cases_with_islands, item.mean_seam_mm2) == (2, 1, 15)
    assert item.drawn_exact_percent == pytest.approx(50)
    assert (item.median_seconds, item.cases) == (2.0, 2)


def test_without_untouched_or_far_slices_there_is_no_rate():
    (item,) = summarise(frame(line(regressed_slices=0, untouched_slices=0, far_voxels=0))).safety
    assert (item.regression_rate, item.far_share_changed) == (None, None)


def test_failed_cases_are_named_and_count_nowhere_else():
    lines = [
        *cases("fusion", [0.5, 0.7]),
        line(case="broken", dsc=np.nan, error="MemoryError: too large"),
        line(case="broken", dsc=np.nan, scope="far", error="MemoryError: too large"),
        line(fold=1, case="gone", row=np.nan, scope=np.nan, level=np.nan, edits=np.nan, error="cannot be read"),
    ]
    summary = summarise(frame(*lines))

    assert summary.failed == (
        FailedCase("0", "broken", "worst", 2, 1, "fusion", "MemoryError: too large"),
        FailedCase("1", "gone", "worst", None, None, None, "cannot be read"),
    )
    assert summary.failed_cases == (("0", "broken"), ("1", "gone"))
    assert (found(summary).mean, found(summary).cases) == (pytest.approx(0.6), 2)
    markdown = to_markdown(summary)
    assert "### Failed cases: 2" in markdown
    assert table_lines(markdown, "Failed cases")[1] == [
        "1", "0", "broken", "worst", "2", "1", "fusion", "MemoryError: too large",
    ]  # fmt: skip
    json.dumps(asdict(summary), allow_nan=False)


def test_nothing_but_failures_is_still_a_summary():
    summary = summarise(frame(line(error="no memory")))
    assert (summary.measures, summary.safety, len(summary.failed)) == ((), (), 1)
    assert "no memory" in to_markdown(summary)


def test_a_case_that_needed_no_edit_is_named_and_is_neither_measured_nor_failed():
    summary = summarise(frame(line(), line(case="perfect", row="baseline", error=NEEDED_NO_EDIT)))
    assert summary.needed_no_edit == (("0", "perfect"),)
    assert summary.failed == ()
    assert all(item.cases == 1 for item in summary.measures)
    markdown = to_markdown(summary)
    assert "### Cases without an edit: 1\n\n" in markdown
    assert "they are in no table: perfect (fold 0)." in markdown
    assert "Failed cases: none." in markdown
    assert "without an edit" not in to_markdown(summarise(frame(line())))


def test_an_evaluation_read_from_a_csv_file_gives_the_same_summary(tmp_path):
    lines = [*cases("fusion", [0.5, 0.7, 0.8]), *cases("update", [0.4, 0.7, 0.9]), line(case="x", error="failed")]
    lines[0]["hd95_mm"] = math.inf
    lines[-1]["drawn_exact"] = np.nan
    table = frame(*lines)
    table.to_csv(tmp_path / "evaluation.csv", index=False)
    assert summarise(pandas.read_csv(tmp_path / "evaluation.csv")) == summarise(table)


def test_the_summary_is_strict_json():
    summary = summarise(frame(*cases("fusion", [0.5]), *cases("update", [0.6], hd95_mm=math.inf)))
    read = json.loads(
        json.dumps(asdict(summary), allow_nan=False), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    assert read == json.loads(json.dumps(asdict(summary)))
    assert read["measures"][0]["row"] == "update"
    assert read["measures"][0]["standard_deviation"] is None


def test_a_missing_column_is_named():
    with pytest.raises(UserInputError, match="lacks the column.s. seconds, error"):
        summarise(frame(line()).drop(columns=["seconds", "error"]))


def test_a_line_that_is_there_twice_is_refused():
    with pytest.raises(UserInputError, match="line twice.*'case': 'a'"):
        summarise(frame(line(dsc=0.1), line(dsc=0.2)))
