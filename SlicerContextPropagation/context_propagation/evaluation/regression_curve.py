"""What DSC a row reaches at what regression rate: far thresholds chosen at several allowed rates, tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from context_propagation.core.propagation.far_thresholds import EVERY_SLICE
from context_propagation.evaluation.far_thresholds import CANDIDATES, Trial, best_safe

HINDSIGHT = ", with hindsight"
"""Ends the name of a row whose thresholds are chosen on the tested cases themselves. It is no result but a limit: in
each fold, no candidate that keeps to the allowed rate there has a higher mean DSC of both picks."""


@dataclass(frozen=True)
class CurvePoint:
    """A row on the tested cases of a fold, with far thresholds of its own.

    Attributes:
        fold: The test fold.
        row: Name of the table's row; see `HINDSIGHT`.
        allowed: Regression rate that was allowed on the cases that choose.
        pick: How the edited slice was chosen.
        add: Far threshold that was chosen.
        remove: The other one.
        dsc: On the whole volume, mean over cases.
        cases: How many.
        regressed_slices: Untouched slices whose DSC fell by more than 0.02.
        untouched_slices: All slices that were not drawn.
        least_gain: The third far threshold that was chosen; see `FarThresholds`.
    """

    fold: str
    row: str
    allowed: float
    pick: str
    add: float
    remove: float
    dsc: float
    cases: int
    regressed_slices: int
    untouched_slices: int
    least_gain: float = EVERY_SLICE


def regression_curve(
    fold: str, row: str, choosing: Sequence[Trial], tested: Sequence[Trial], allowed: Sequence[float]
) -> Iterator[CurvePoint]:
    """A point for each allowed rate and pick.

    Args:
        fold: Its name.
        row: Whose network was tried.
        choosing: All candidates on the cases that choose the thresholds: validation cases, but for `HINDSIGHT`.
        tested: All candidates on the tested cases.
        allowed: Regression rates.
    """
    for rate in allowed:
        chosen, _ = best_safe(choosing, rate)
        number = CANDIDATES.index(chosen)
        for pick in dict.fromkeys(trial.pick for trial in tested):
            trials = [trial for trial in tested if (trial.candidate, trial.pick) == (number, pick)]
            yield CurvePoint(
                fold,
                row,
                rate,
                pick,
                chosen.add,
                chosen.remove,
                mean(trial.dsc for trial in trials),
                len(trials),
                sum(trial.regressed for trial in trials),
                sum(trial.untouched for trial in trials),
                chosen.least_gain,
            )


@dataclass(frozen=True)
class PooledPoint:
    """A point of all folds.

    Attributes:
        row: Name of the table's row.
        allowed: Regression rate that was allowed on the cases that choose.
        pick: How the edited slice was chosen; None for both together.
        dsc: Mean over cases.
        rate: Share of untouched slices that lost more than 0.02 DSC.
        cases: How many edits.
    """

    row: str
    allowed: float
    pick: str | None
    dsc: float
    rate: float
    cases: int


def pooled(curve: Sequence[CurvePoint]) -> list[PooledPoint]:
    """All folds together, for each pick and for both."""
    points = []
    for row, allowed in dict.fromkeys((point.row, point.allowed) for point in curve):
        of_row = [point for point in curve if (point.row, point.allowed) == (row, allowed)]
        for pick in (*dict.fromkeys(point.pick for point in of_row), None):
            here = [point for point in of_row if pick in (None, point.pick)]
            cases = sum(point.cases for point in here)
            dsc = sum(point.dsc * point.cases for point in here) / cases
            untouched = sum(point.untouched_slices for point in here)
            rate = sum(point.regressed_slices for point in here) / max(1, untouched)
            points.append(PooledPoint(row, allowed, pick, dsc, rate, cases))
    return points
