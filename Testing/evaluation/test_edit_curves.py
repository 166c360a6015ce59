"""From edit to edit: areas, edits needed and comparisons, worked out by hand."""

import pytest

from context_propagation.evaluation.rows import DRAWN_INTERPOLATION
from context_propagation.evaluation.summary import frame_of, summarise
from evaluation_lines import case_row


def summary_of(*lines):
    return summarise(frame_of([case_row(**line) for line in lines]))


def curve(case, values, row="fusion", pick="worst", baseline=0.5):
    """The baseline, and DSC after one, two, ... edits."""
    lines = [{"case": case, "row": "baseline", "dsc": baseline}]
    return lines + [
        {"case": case, "row": row, "pick": pick, "edits": number, "dsc": dsc} for number, dsc in enumerate(values, 1)
    ]


def found(summary, pick, row):
    (item,) = [item for item in summary.edit_curves if (item.pick, item.row) == (pick, row)]
    return item


def test_the_area_is_a_mean_dsc_from_no_edit_to_the_last():
    item = found(summary_of(*curve("a", [0.7, 0.9]), *curve("b", [0.5, 0.5])), "worst", "fusion")
    assert (item.edits, item.cases) == (2, 2)
    assert item.area == pytest.approx((0.7 + 0.5) / 2)  # a: (.5 + .7) / 2 and (.7 + .9) / 2, mean .7; b: .5


def test_edits_to_ninety_count_one_more_than_were_made_where_it_is_never_reached():
    lines = [*curve("a", [0.7, 0.9, 0.8]), *curve("b", [0.5, 0.5, 0.5]), *curve("c", [0.95] * 3, baseline=0.9)]
    item = found(summary_of(*lines), "worst", "fusion")
    assert item.reached == pytest.approx(2 / 3)
    assert item.edits_needed == pytest.approx((2 + 4 + 0) / 3)


def test_suggested_slices_begin_at_the_same_baseline():
    lines = curve("a", [0.7, 0.9], pick="suggested")
    assert found(summary_of(*lines), "suggested", "fusion").area == pytest.approx(0.7)


def test_the_interpolation_between_drawn_slices_begins_with_what_one_drawn_slice_is():
    interpolated = {"case": "a", "row": DRAWN_INTERPOLATION, "edits": 2, "dsc": 0.8}
    item = found(summary_of(*curve("a", [0.6, 0.7], row="paste"), interpolated), "worst", DRAWN_INTERPOLATION)
    assert item.area == pytest.approx((0.55 + 0.7) / 2)


def test_two_suggested_slices_are_tested_against_three_worst_ones_with_the_update_alone():
    lines = []
    for number, case in enumerate("abcdef"):
        lines += curve(case, [0.7, 0.8 + number / 100, 0.9], pick="suggested")
        lines += curve(case, [0.6, 0.7, 0.75, 0.8], row="update")[1:]
    (item,) = [item for item in summary_of(*lines).edit_comparisons if item.other == "worst, update, 3 edits"]
    assert (item.better, item.cases) == ("suggested, fusion, 2 edits", 6)
    assert item.mean_difference == pytest.approx(0.825 - 0.75)
    assert item.p == pytest.approx(2 / 2**6)  # all six differences have one sign


def test_without_several_edits_there_is_no_curve():
    summary = summary_of({"case": "a", "row": "baseline"}, {"case": "a"})
    assert (summary.edit_curves, summary.edit_comparisons) == ((), ())
