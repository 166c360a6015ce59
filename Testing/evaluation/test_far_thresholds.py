"""The choice of the far thresholds on trials written by hand."""

import pytest

from context_propagation.core.measures.regression import ALLOWED_REGRESSION
from context_propagation.core.propagation.far_thresholds import EVERY_SLICE, FarThresholds
from context_propagation.evaluation.far_thresholds import CANDIDATES, Trial, best_safe


def trials(rates, dscs, pick="worst"):
    """One edit with a hundred untouched slices for the first candidates; all others are unsafe."""
    rates = [*rates, *[50] * (len(CANDIDATES) - len(rates))]
    dscs = [*dscs, *[0.9] * (len(CANDIDATES) - len(dscs))]
    return [Trial(number, pick, rate, 100, dsc) for number, (rate, dsc) in enumerate(zip(rates, dscs, strict=True))]


def test_candidates_reach_from_no_certainty_asked_of_an_addition_to_one_that_changes_nothing():
    assert CANDIDATES[0].add == 0
    assert FarThresholds(1.0, 1.0) in CANDIDATES
    assert len(set(CANDIDATES)) == len(CANDIDATES)
    assert {candidate.least_gain for candidate in CANDIDATES} > {EVERY_SLICE, 0.02, 0.2}


def test_the_best_dsc_among_the_safe_ones_is_chosen():
    assert ALLOWED_REGRESSION == 0.01
    chosen, rates = best_safe(trials([2, 1, 1], [0.9, 0.7, 0.8]))
    assert (chosen, rates) == (CANDIDATES[2], {"worst": 0.01})


def test_of_equally_good_ones_the_first_is_chosen():
    assert best_safe(trials([2, 1], [0.8, 0.8]), 0.02)[0] == CANDIDATES[0]


def test_the_mean_of_both_picks_must_be_safe():
    """The first has 2.5 and 1.5 %, the second 3 and 2 %."""
    worst = [Trial(0, "worst", 5, 200, 0.5), Trial(1, "worst", 3, 100, 0.9)]
    largest = [Trial(0, "largest", 3, 200, 0.5), Trial(1, "largest", 2, 100, 0.9)]
    others = [Trial(n, pick, 9, 9, 0.9) for n in range(2, len(CANDIDATES)) for pick in ("worst", "largest")]
    chosen, rates = best_safe(worst + largest + others, 0.02)
    assert (chosen, rates) == (CANDIDATES[0], {"largest": 0.015, "worst": 0.025})


def test_slices_of_all_edits_count_together():
    other = [Trial(number, "worst", 0, 100, 0.5) for number in range(len(CANDIDATES))]
    chosen, rates = best_safe(trials([3], [0.5]) + other, 0.02)
    assert (chosen, rates) == (CANDIDATES[0], {"worst": 0.015})


@pytest.mark.parametrize("found", [[], trials([], [])], ids=["nothing tried", "nothing safe"])
def test_without_a_safe_one_nothing_is_changed(found):
    assert best_safe(found)[0] == FarThresholds(1.0, 1.0)
