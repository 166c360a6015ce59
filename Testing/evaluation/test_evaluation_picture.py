"""Which case is drawn, on lines written by hand."""

import pytest

from context_propagation.evaluation.picture import chosen_cases
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
    [
        ({"a": 0.3, "b": 0.1, "c": 0.2}, {"best": "a", "typical": "c", "worst": "b"}),
        ({"a": 0.4, "b": 0.1, "c": 0.2, "d": -0.1}, {"best": "a", "typical": "b", "worst": "d"}),
        ({"a": 0.4, "b": 0.1}, {"best": "a", "typical": "b"}),
        ({"a": -0.2}, {"typical": "a"}),
    ],
)
def test_the_cases_of_the_largest_median_and_smallest_gain_are_drawn_each_once(gains, expected):
    assert chosen_cases(lines(gains)) == expected


@pytest.mark.parametrize("other", [{"pick": "worst"}, {"scope": "far"}, {"edits": 2}, {"error": "no memory"}])
def test_other_picks_scopes_further_edits_and_failures_do_not_choose(other):
    found = [*lines({"a": 0.1}), line("b", "baseline", 0.5), line("b", "fusion", 0.4, **other)]
    assert chosen_cases(found) == {"typical": "a"}


def test_there_is_none_where_no_case_was_fused():
    assert chosen_cases([line("a", "baseline", 0.5)]) == {}
