"""Rows, decoder levels and numbers of edits are compared on the same cases; SciPy and figures by hand agree."""

import pytest

from context_propagation.evaluation.markdown import to_markdown
from context_propagation.evaluation.results import BetterInterpolation, Comparison, OracleShare
from context_propagation.evaluation.summary import on_common_cases, successful, summarise
from evaluation_lines import line
from evaluation_tables import cases, frame

# ---- rows


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


def test_fusion_s_gain_over_the_no_edit_control_is_a_share_of_the_oracle_s():
    lines = cases("fusion", [0.78, 0.80]) + cases("no-edit control", [0.76, 0.78]) + cases("oracle", [0.80, 0.90, 0.99])
    (item,) = summarise(frame(*lines)).oracle_shares
    assert item == OracleShare("worst", 2, 1, "whole", pytest.approx(0.02), pytest.approx(0.08), pytest.approx(0.25), 2)


def test_an_oracle_that_gains_nothing_gives_no_share():
    lines = [line(row=row) for row in ("fusion", "no-edit control", "oracle")]
    assert summarise(frame(*lines)).oracle_shares[0].share is None


@pytest.mark.parametrize(("five", "ten", "better"), [(0.7, 0.8, "±10"), (0.8, 0.7, "±5"), (0.7, 0.7, "±5")])
def test_the_better_contour_interpolation_is_named(five, ten, better):
    summary = summarise(
        frame(line(row="contour interpolation ±5", dsc=five), line(row="contour interpolation ±10", dsc=ten))
    )
    (item,) = summary.better_interpolations
    assert item == BetterInterpolation("worst", 2, 1, f"contour interpolation {better}", max(five, ten))
    assert f"Better contour interpolation: {better} slices" in to_markdown(summary)


def test_the_relative_gain_is_of_mean_dsc():
    lines = [*cases("baseline", [0.4, 0.6]), *cases("update", [0.5, 0.7]), *cases("fusion", [0.6, 0.9])]
    summary = summarise(frame(*lines))
    assert {item.row: item.gain for item in summary.relative_gains} == {
        "update": pytest.approx(0.2),  # .6 / .5 - 1
        "fusion": pytest.approx(0.5),
    }
    assert "fusion over baseline: +50.0 % (cases: 2)" in to_markdown(summary)


# ---- decoder levels and numbers of edits


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
