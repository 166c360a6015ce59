"""DSC against regression rate: thresholds chosen on some cases, figures of others, by hand."""

import pytest

from context_propagation.evaluation.far_thresholds import CANDIDATES, NOTHING, Trial
from context_propagation.evaluation.regression_curve import HINDSIGHT, pooled, regression_curve

LAST = len(CANDIDATES) - 1
UNCHANGED = CANDIDATES.index(NOTHING)


def trials(*of_candidate, pick="worst"):
    """(candidate, regressed of 100, DSC)."""
    return [Trial(candidate, pick, regressed, 100, dsc) for candidate, regressed, dsc in of_candidate]


def test_thresholds_are_chosen_on_the_validation_cases_and_figures_are_the_tested_cases():
    validation = trials((0, 3, 0.9), (1, 1, 0.8), (LAST, 0, 0.5))
    tested = trials((0, 7, 0.60), (0, 1, 0.70), (1, 2, 0.5), (LAST, 0, 0.4))

    careful, bold = regression_curve("0", "fusion", validation, tested, (0.01, 0.05))

    assert (careful.add, careful.remove) == (CANDIDATES[1].add, CANDIDATES[1].remove)
    assert (careful.dsc, careful.regressed_slices, careful.untouched_slices, careful.cases) == (0.5, 2, 100, 1)
    assert (bold.add, bold.remove) == (CANDIDATES[0].add, CANDIDATES[0].remove)
    assert (bold.dsc, bold.regressed_slices, bold.untouched_slices, bold.cases) == (pytest.approx(0.65), 8, 200, 2)


def test_a_point_holds_the_least_gain_that_was_chosen():
    (point,) = regression_curve("0", "fusion", trials((0, 0, 0.5), (LAST, 0, 0.6)), trials((LAST, 0, 0.4)), (0.01,))
    assert (point.least_gain, point.dsc) == (CANDIDATES[LAST].least_gain, 0.4)
    assert point.least_gain > 0


def test_with_hindsight_the_best_candidate_that_keeps_to_the_rate_on_the_tested_cases_is_chosen():
    """Validation would choose candidate 0, which makes too many slices worse on the tested ones."""
    validation = trials((0, 0, 0.9), (1, 0, 0.8), (2, 0, 0.7))
    tested = trials((0, 2, 0.9), (1, 1, 0.6), (2, 1, 0.7))

    (chosen,) = regression_curve("0", "fusion", validation, tested, (0.01,))
    (hindsight,) = regression_curve("0", "fusion" + HINDSIGHT, tested, tested, (0.01,))

    assert (chosen.dsc, chosen.regressed_slices) == (0.9, 2)
    assert (hindsight.row, hindsight.dsc, hindsight.regressed_slices) == ("fusion, with hindsight", 0.7, 1)


def test_where_nothing_is_safe_the_point_is_that_of_no_change():
    (point,) = regression_curve("0", "fusion", trials((0, 9, 0.9)), trials((0, 9, 0.9), (UNCHANGED, 0, 0.4)), (0.01,))
    assert (point.add, point.remove, point.dsc, point.regressed_slices) == (1.0, 1.0, 0.4, 0)


def test_folds_and_picks_are_pooled_by_their_cases_and_slices():
    """Fold 0: two edits of the worst slice, one of the largest; fold 1: one of the worst."""
    validation = trials((0, 0, 0.9))
    first = trials((0, 1, 0.5), (0, 3, 0.6)) + trials((0, 0, 0.9), pick="largest")
    second = [Trial(0, "worst", 5, 200, 0.7)]
    curve = [
        *regression_curve("0", "fusion", validation, first, (0.02,)),
        *regression_curve("1", "fusion", validation, second, (0.02,)),
    ]

    worst, largest, both = pooled(curve)

    assert (worst.pick, worst.dsc, worst.rate, worst.cases) == ("worst", pytest.approx(0.6), 9 / 400, 3)
    assert (largest.pick, largest.dsc, largest.rate, largest.cases) == ("largest", pytest.approx(0.9), 0.0, 1)
    assert (both.pick, both.dsc, both.rate, both.cases) == (None, pytest.approx(0.675), 9 / 500, 4)
