"""Which case is drawn, on lines written by hand."""

import pytest

from context_propagation.evaluation.picture import typical_case
from context_propagation.evaluation.results import CaseRow


def line(case, row, dsc, **other):
    usual = {"fold": "0", "pick": "largest", "level": 2, "scope": "whole", "edits": 1}
    return CaseRow(**{**usual, "case": case, "row": row, "dsc": dsc, **other})


def lines(gains):
    found = []
    for case, gain in gains.items():
        found += [line(case, "baseline", 0.5), line(case, "fusion", 0.5 + gain), line(case, "paste", 0.9)]
    return found


@pytest.mark.parametrize(
    ("gains", "expected"),
    [({"a": 0.3, "b": 0.1, "c": 0.2}, "c"), ({"a": 0.4, "b": 0.1, "c": 0.2, "d": -0.1}, "b"), ({"a": -0.2}, "a")],
)
def test_the_typical_case_is_that_of_the_median_gain_and_of_two_the_lower(gains, expected):
    assert typical_case(lines(gains)) == expected


@pytest.mark.parametrize("other", [{"pick": "worst"}, {"scope": "far"}, {"edits": 2}, {"error": "no memory"}])
def test_other_picks_scopes_further_edits_and_failures_do_not_choose(other):
    assert typical_case([*lines({"a": 0.1}), line("b", "baseline", 0.5), line("b", "fusion", 0.4, **other)]) == "a"


def test_there_is_none_where_no_case_was_fused():
    assert typical_case([line("a", "baseline", 0.5)]) is None
