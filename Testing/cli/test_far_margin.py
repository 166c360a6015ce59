"""The choice of the far margin on trials written by hand, and on a real session's masks."""

from itertools import pairwise

import pytest

from context_propagation.cli.far_margin import ALLOWED_REGRESSION, CANDIDATES, Trial, boldest_safe
from context_propagation.core.composition import FarMargin


def trials(*rates, pick="worst"):
    """One edit with a hundred untouched slices for each candidate; the last rate holds for the rest."""
    filled = [*rates, *[rates[-1]] * (len(CANDIDATES) - len(rates))]
    return [Trial(number, pick, rate, 100) for number, rate in enumerate(filled)]


def test_candidates_go_from_one_that_changes_nothing_to_one_that_asks_for_no_certainty():
    assert CANDIDATES[0] == FarMargin(1.0, 1.0)
    assert CANDIDATES[-1] == FarMargin(0.0, 0.0)
    for careful, bold in pairwise(CANDIDATES):
        assert (bold.add, bold.remove) != (careful.add, careful.remove)
        assert bold.add <= careful.add
        assert bold.remove <= careful.remove
        assert bold.add <= bold.remove


def test_the_boldest_one_is_chosen_where_all_are_safe():
    assert boldest_safe(trials(0)) == (CANDIDATES[-1], {"worst": 0.0})


def test_the_choice_stops_before_the_first_that_makes_more_slices_worse_than_allowed():
    """A later one that happens to be safe again is luck."""
    assert ALLOWED_REGRESSION == 0.02
    assert boldest_safe(trials(0, 1, 2, 3, 0)) == (CANDIDATES[2], {"worst": 0.02})


def test_every_pick_of_the_slice_must_be_safe():
    both = trials(0, 0, 2, 3) + trials(0, 1, 3, 3, pick="largest")
    assert boldest_safe(both) == (CANDIDATES[1], {"largest": 0.01, "worst": 0.0})


def test_slices_of_all_edits_count_together():
    long, short = trials(0, 0, 3), [Trial(number, "worst", 0, 100) for number in range(len(CANDIDATES))]
    chosen, rates = boldest_safe(long + short)
    assert (chosen, rates) == (CANDIDATES[-1], {"worst": 0.015})


@pytest.mark.parametrize("found", [[], trials(5)])
def test_without_a_safe_one_nothing_is_changed(found):
    assert boldest_safe(found)[0] == FarMargin(1.0, 1.0)
