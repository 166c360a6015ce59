"""The summary of a small hand-made evaluation, against figures worked by hand and SciPy."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.evaluation.markdown import to_markdown
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.report import COUNTS, Written, write_results
from context_propagation.evaluation.results import (
    COLUMNS,
    BetterInterpolation,
    CaseRow,
    Comparison,
    FailedCase,
    MeasureSummary,
    OracleShare,
    Summary,
)
from context_propagation.evaluation.rows import MEASURES, NEEDED_NO_EDIT
from context_propagation.evaluation.summary import (
    main_edits,
    main_level,
    on_common_cases,
    successful,
    summarise,
)
from evaluation_lines import line

pandas = pytest.importorskip("pandas")


def frame(*lines: dict):
    return pandas.DataFrame(list(lines), columns=list(COLUMNS))


def cases(row: str, dsc: list[float], **changes) -> list[dict]:
    """Cases of two folds: the first two in fold 0, the others in fold 1."""
    return [line(row=row, dsc=d, fold=int(n > 1), case=f"c{n}", **changes) for n, d in enumerate(dsc)]


def found(summary: Summary, measure: str = "dsc", **wanted) -> MeasureSummary:
    items = [i for i in summary.measures if i.measure == measure and all(getattr(i, k) == v for k, v in wanted.items())]
    (item,) = items
    return item


def table_lines(markdown: str, title: str) -> list[list[str]]:
    """The cells of the first table under a heading that starts so, without its ruler."""
    after = markdown[markdown.index(f"### {title}") :].split("\n\n")[1]
    lines = [[cell.strip() for cell in text.strip("|").split("|")] for text in after.splitlines()]
    return [lines[0], *lines[2:]]


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


def test_p_is_scipys_over_cases_and_the_difference_is_paired():
    stats = pytest.importorskip("scipy.stats")
    fusion, control = [0.81, 0.75, 0.92, 0.66, 0.7, 0.84], [0.8, 0.7, 0.95, 0.5, 0.62, 0.8]
    lines = cases("no-edit control", control) + cases("fusion", fusion)[::-1]

    (item,) = summarise(frame(*lines)).comparisons

    assert (item.row, item.scope, item.cases) == ("no-edit control", "whole", 6)
    assert item.mean_difference == pytest.approx((0.01 + 0.05 - 0.03 + 0.16 + 0.08 + 0.04) / 6)
    assert item.p == pytest.approx(stats.wilcoxon(fusion, control).pvalue)
    # by hand: ranks of .01 .03 .04 .05 .08 .16 are 1 ... 6, the negative one is 2; of 2^6 sign patterns 3 have a
    # rank sum of at most 2 ({}, {1}, {2}), so p = 2 · 3 / 64
    assert item.p == pytest.approx(6 / 64)


def test_equal_rows_have_p_one():
    lines = cases("fusion", [0.5, 0.6, 0.7]) + cases("update", [0.5, 0.6, 0.7])
    assert summarise(frame(*lines)).comparisons == (Comparison("worst", 2, 1, "whole", "update", 0.0, 1.0, 3),)


def test_fusion_is_compared_with_every_row_on_whole_and_far():
    lines = [
        line(row=row, scope=scope) for row in ("baseline", "fusion", "oracle") for scope in ("whole", "near", "far")
    ]
    compared = [(item.scope, item.row) for item in summarise(frame(*lines)).comparisons]
    assert compared == [("whole", "baseline"), ("whole", "oracle"), ("far", "baseline"), ("far", "oracle")]


def test_a_case_that_one_row_lacks_is_in_no_pair():
    lines = cases("fusion", [0.5, 0.6, 0.7]) + cases("update", [0.4, 0.4])
    (item,) = summarise(frame(*lines)).comparisons
    assert item.cases == 2
    assert item.mean_difference == pytest.approx(0.15)


def test_cases_of_the_same_name_in_two_folds_are_two_cases():
    lines = [line(fold=fold, row=row) for fold in (0, 1) for row in ("fusion", "update")]
    assert summarise(frame(*lines)).comparisons[0].cases == 2


def test_fusion_s_gain_over_the_no_edit_control_is_a_share_of_the_oracle_s():
    lines = cases("fusion", [0.78, 0.80]) + cases("no-edit control", [0.76, 0.78]) + cases("oracle", [0.80, 0.90, 0.99])
    (item,) = summarise(frame(*lines)).oracle_shares
    assert item == OracleShare("worst", 2, 1, "whole", pytest.approx(0.02), pytest.approx(0.08), pytest.approx(0.25), 2)


def test_an_oracle_that_gains_nothing_gives_no_share():
    lines = [line(row=row) for row in ("fusion", "no-edit control", "oracle")]
    assert summarise(frame(*lines)).oracle_shares[0].share is None


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


@pytest.mark.parametrize(("five", "ten", "better"), [(0.7, 0.8, "±10"), (0.8, 0.7, "±5"), (0.7, 0.7, "±5")])
def test_the_better_contour_interpolation_is_named(five, ten, better):
    summary = summarise(
        frame(line(row="contour interpolation ±5", dsc=five), line(row="contour interpolation ±10", dsc=ten))
    )
    (item,) = summary.better_interpolations
    assert item == BetterInterpolation("worst", 2, 1, f"contour interpolation {better}", max(five, ten))
    assert f"Better contour interpolation: {better} slices" in to_markdown(summary)


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


def test_an_error_of_several_lines_stays_in_its_cell():
    markdown = to_markdown(summarise(frame(line(error="first | line\n  second"))))
    assert r"| first \| line second |" in markdown


def test_no_failed_case_is_said():
    assert to_markdown(summarise(frame(line()))).endswith("Failed cases: none.\n")


def test_nothing_but_failures_is_still_a_summary():
    summary = summarise(frame(line(error="no memory")))
    assert (summary.measures, summary.safety, len(summary.failed)) == ((), (), 1)
    assert "no memory" in to_markdown(summary)


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


def test_the_accuracy_table_has_a_line_for_each_scope_and_row():
    lines = [item for scope in ("whole", "near", "far") for row in ("fusion", "paste")
             for item in cases(row, [0.7, 0.7, 0.8, 0.8], scope=scope)]  # fmt: skip
    header, *rows = table_lines(to_markdown(summarise(frame(*lines))), "Accuracy")

    assert header == ["scope", "row", "cases", "DSC", "HD95, mm"]
    assert [(cells[0], cells[1]) for cells in rows] == [
        (scope, row) for scope in ("whole", "near slices", "far slices") for row in ("paste", "fusion")
    ]
    assert rows[0][2:5] == ["4", "0.750 ± 0.071", "3.00 ± 0.00"]


def test_the_other_measures_have_a_table_of_their_own_after_the_first():
    markdown = to_markdown(summarise(frame(line(added_path_length_mm=80.0))))
    assert table_lines(markdown, "Other measures") == [
        ["scope", "row", "cases", "sensitivity", "specificity", "surface Dice 2 mm", "added path length, mm"],
        ["whole", "fusion", "1", "0.700", "0.999", "0.900", "80.00"],
    ]
    assert markdown.index("### Accuracy") < markdown.index("### Regression") < markdown.index("### Other measures")


def test_each_pick_has_its_own_tables():
    markdown = to_markdown(summarise(frame(line(pick="largest", dsc=0.9), line(dsc=0.6))))
    worst, largest = markdown.split("## Edited slice: largest")
    assert "## Edited slice: worst" in worst
    assert table_lines(worst, "Accuracy")[1][3] == "0.600"
    assert table_lines(largest, "Accuracy")[1][3] == "0.900"


def test_the_comparison_table_has_both_scopes_side_by_side():
    lines = [
        item
        for scope, gain in (("whole", 0.1), ("far", -0.1))
        for item in cases("fusion", [0.5 + gain, 0.6 + gain], scope=scope) + cases("paste", [0.5, 0.6], scope=scope)
    ]
    header, row = table_lines(to_markdown(summarise(frame(*lines))), "DSC differences")
    assert header[1:4] == ["whole: mean difference", "whole: p", "whole: cases"]
    assert row == ["fusion − paste", "+0.100", "0.5", "2", "-0.100", "0.5", "2"]


def test_the_safety_table_shows_shares_in_percent():
    header, row = table_lines(to_markdown(summarise(frame(line()))), "Regression")
    assert dict(zip(header, row, strict=True)) == {
        "row": "fusion",
        "regression rate": "10.0 %",
        "regressed of untouched slices": "1 of 10",
        "new islands": "0 in 0 cases",
        "seam": "12.0 mm²",
        "far voxels changed": "0.5 %",
        "drawn slices exact": "100.0 %",
        "median seconds": "1.50",
        "cases": "1",
    }


def test_the_baseline_draws_no_slice():
    header, *rows = table_lines(to_markdown(summarise(frame(line(row="baseline"), line()))), "Regression")
    assert {cells[0]: cells[header.index("drawn slices exact")] for cells in rows} == {
        "baseline": "—", "fusion": "100.0 %",
    }  # fmt: skip


def test_the_level_table_shows_update_fusion_and_its_control_at_every_level_and_scope():
    lines = [
        line(row=row, level=level, scope=scope, dsc=level / 10)
        for row in ("baseline", "no-edit control", "fusion", "update")
        for level in (3, 1, 2)
        for scope in ("near", "whole")
    ]
    table = table_lines(to_markdown(summarise(frame(*lines))), "DSC by decoder level")
    assert table[0] == ["row", "scope", "cases", "level 1", "level 2", "level 3"]
    assert [cells[:2] for cells in table[1:]] == [
        ["update", "whole"], ["update", "near slices"], ["fusion", "whole"], ["fusion", "near slices"],
        ["no-edit control", "whole"], ["no-edit control", "near slices"],
    ]  # fmt: skip
    assert table[1][2:] == ["1", "0.100", "0.200", "0.300"]


def test_the_edits_table_shows_every_number_of_edits_in_order():
    lines = [line(row="baseline", edits=1, dsc=0.5), *(line(edits=n, dsc=n / 10) for n in (3, 1, 2))]
    table = table_lines(to_markdown(summarise(frame(*lines))), "DSC on the whole volume by number of edits")
    assert table == [
        ["row", "cases", "1", "2", "3", "area from 0", "edits to .90"],
        ["fusion", "1", "0.100", "0.200", "0.300", "0.233", "4.00 (0.0 % of cases)"],  # area (.3 + .15 + .25) / 3
    ]


def test_numbers_of_edits_are_compared_on_the_cases_that_have_them_all():
    several = [line(case="a", edits=n, dsc=n / 10) for n in (1, 2, 3)]
    single = line(case="b", edits=1, dsc=0.9)
    stopped = [line(case="c", edits=n, dsc=0.8) for n in (1, 2)]
    summary = summarise(frame(*several, single, *stopped))
    means = {item.edits: (item.mean, item.cases) for item in summary.by_edits if item.measure == "dsc"}
    assert means == {1: (pytest.approx(0.1), 1), 2: (pytest.approx(0.2), 1), 3: (pytest.approx(0.3), 1)}


def test_decoder_levels_are_compared_on_the_cases_that_have_them_all():
    lines = [line(case="a", level=level, dsc=level / 10) for level in (1, 2)] + [line(case="b", level=2, dsc=0.9)]
    summary = summarise(frame(*lines))
    means = {item.level: item.mean for item in summary.by_level if item.measure == "dsc"}
    assert means == {1: pytest.approx(0.1), 2: pytest.approx(0.2)}


@pytest.mark.parametrize("column", ["level", "edits"])
def test_a_case_that_one_row_lacks_is_compared_for_no_row(column):
    lines = [line(case=case, row=row, **{column: n}) for case in "ab" for row in ("fusion", "update") for n in (1, 2)]
    both = on_common_cases(successful(frame(*lines)), column)
    one = on_common_cases(successful(frame(*lines[:-1])), column)  # without b, update, 2
    assert (len(both), set(both["case"])) == (8, {"a", "b"})
    assert (len(one), set(one["case"]), set(one["row"])) == (4, {"a"}, {"fusion", "update"})


@pytest.mark.parametrize("column", ["level", "edits"])
def test_a_case_of_the_same_name_in_another_fold_completes_no_case(column):
    lines = [line(fold=0, **{column: n}) for n in (1, 2)] + [line(fold=1, **{column: 1})]
    lines += [line(fold=2, **{column: 2})]
    assert list(on_common_cases(successful(frame(*lines)), column)["fold"]) == [0, 0]


def test_rows_without_every_level_or_without_several_edits_are_left_out():
    lines = [line(level=level) for level in (1, 2)] + [line(row="paper's fusion")]
    assert set(on_common_cases(successful(frame(*lines)), "level")["row"]) == {"fusion"}
    lines = [line(edits=n) for n in (1, 2, 3)] + [line(row="baseline")]
    lines += [line(row="one at a time", edits=n) for n in (2, 3)]  # whose first edit is fusion's
    assert set(on_common_cases(successful(frame(*lines)), "edits")["row"]) == {"fusion", "one at a time"}


def test_one_level_and_single_edits_leave_nothing_to_compare():
    summary = summarise(frame(line(), line(case="b")))
    assert (summary.by_level, summary.by_edits) == ((), ())
    markdown = to_markdown(summary)
    assert "by decoder level" not in markdown
    assert "number of edits" not in markdown


def test_both_tables_say_how_many_cases_they_compare():
    lines = [line(case=case, level=n, dsc=0.5) for case in "ab" for n in (1, 2)] + [line(case="c")]
    lines += [line(case="a", edits=2, dsc=0.7)]
    markdown = to_markdown(summarise(frame(*lines)))
    assert table_lines(markdown, "DSC by decoder level")[1] == ["fusion", "whole", "2", "0.500", "0.500"]
    assert table_lines(markdown, "DSC on the whole volume by number")[1] == ["fusion", "1", "0.500", "0.700"]


def test_the_update_is_compared_with_paste_on_all_three_scopes():
    lines = [
        item
        for scope, gain in (("whole", 0.1), ("near", 0.2), ("far", 0.0))
        for item in cases("update", [0.5 + gain, 0.6 + gain], scope=scope) + cases("paste", [0.5, 0.6], scope=scope)
    ]
    found = {item.scope: item.mean_difference for item in summarise(frame(*lines)).comparisons if item.of == "update"}
    assert found == {"whole": pytest.approx(0.1), "near": pytest.approx(0.2), "far": 0.0}


def test_the_paper_s_fusion_is_compared_with_its_own_control():
    """What it gains beyond that is the edit's; beyond another network's control it may be extra training."""
    lines = cases("paper's fusion", [0.7, 0.8]) + cases("paper's fusion, no-edit control", [0.6, 0.75])
    (found,) = [item for item in summarise(frame(*lines)).comparisons if item.of == "paper's fusion"]
    assert (found.row, found.mean_difference) == ("paper's fusion, no-edit control", pytest.approx(0.075))


def test_the_relative_gain_is_of_mean_dsc():
    lines = [*cases("baseline", [0.4, 0.6]), *cases("update", [0.5, 0.7]), *cases("fusion", [0.6, 0.9])]
    summary = summarise(frame(*lines))
    assert {item.row: item.gain for item in summary.relative_gains} == {
        "update": pytest.approx(0.2),  # .6 / .5 - 1
        "fusion": pytest.approx(0.5),
    }
    assert "fusion over baseline: +50.0 % (cases: 2)" in to_markdown(summary)


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


def test_the_main_tables_show_level_two_after_the_first_edit_unless_told_otherwise():
    lines = [line(level=level, edits=edits, dsc=(10 * level + edits) / 100) for level in (1, 2) for edits in (0, 1, 2)]
    summary = summarise(frame(*lines))
    assert (main_level(summary), main_edits(summary)) == (2, 1)
    assert table_lines(to_markdown(summary), "Accuracy")[1][3] == "0.210"
    assert table_lines(to_markdown(summary, level=1, edits=2), "Accuracy")[1][3] == "0.120"
    assert main_level(summarise(frame(line(level=3)))) == 3


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
