"""From edit to edit: the curve of DSC over the number of edits, its area, and which choice of slices needs fewer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.evaluation.paired_test import wilcoxon_p
from context_propagation.evaluation.results import EditComparison, EditCurve
from context_propagation.evaluation.rows import DRAWN_INTERPOLATION, FUSION

if TYPE_CHECKING:
    import pandas as pd

    Curves = dict[tuple[str, int, str], pd.DataFrame]


GOAL = 0.90
"""The DSC that the number of edits is counted to."""


FIRST_EDIT_OF = {DRAWN_INTERPOLATION: "paste"}
"""Rows whose first edit is another row's; those of fusion one at a time begin as fusion does."""


COMPARED = (
    (("suggested", FUSION, None), ("worst", FUSION, None)),
    (("suggested", FUSION, 2), ("worst", "update", 3)),
    (("suggested", FUSION, 2), ("worst", "update", 4)),
    (("worst", FUSION, None), ("worst", DRAWN_INTERPOLATION, None)),
    (("largest", FUSION, None), ("largest", DRAWN_INTERPOLATION, None)),
    (("suggested", FUSION, None), ("suggested", DRAWN_INTERPOLATION, None)),
)
"""Pick, row, and number of edits or None for the area: what is tested against what."""


def dsc_by_edits(valid: pd.DataFrame, several: pd.DataFrame) -> Curves:
    """For each pick, level and row the DSC on the whole volume, cases × number of edits from 0.

    Args:
        valid: What `summary.successful` gives.
        several: Its lines of the cases and rows with several edits.
    """
    whole = valid[valid["scope"] == "whole"]
    baseline = whole[whole["row"] == "baseline"].drop_duplicates(["level", "fold", "case"])
    baseline = baseline.set_index(["level", "fold", "case"])["dsc"]
    tables = {
        (str(pick), int(level), str(row)): lines.pivot(index=["fold", "case"], columns="edits", values="dsc")
        for (pick, level, row), lines in several[several["scope"] == "whole"].groupby(
            ["pick", "level", "row"], observed=True
        )
    }
    curves = {}
    for (pick, level, row), table in tables.items():
        first = tables.get((pick, level, _first_edit_of(row)))
        if 1 not in table and first is not None and 1 in first:
            table = table.join(first[1])
        untouched = baseline.xs(level, level="level") if level in baseline.index.get_level_values("level") else None
        if 1 in table and untouched is not None:
            table = table.join(untouched.rename(0)).sort_index(axis=1).dropna()
            curves[pick, level, row] = table
    return curves


def _first_edit_of(row: str) -> str:
    return FIRST_EDIT_OF.get(row, FUSION if row.startswith(f"{FUSION}, one at a time") else row)


def edit_curves(curves: Curves) -> tuple[EditCurve, ...]:
    """A line for each pick, level and row, of what `dsc_by_edits` gives."""
    return tuple(_curves(curves))


def _curves(curves: Curves) -> Iterator[EditCurve]:
    for (pick, level, row), table in curves.items():
        if len(table):
            last = int(table.columns.max())
            good = table.to_numpy() >= GOAL
            needed = np.where(good.any(axis=1), good.argmax(axis=1), last + 1)
            area, reached = float(_area(table).mean()), float(good.any(axis=1).mean())
            yield EditCurve(pick, level, row, last, len(table), area, reached, float(needed.mean()))


def _area(table: pd.DataFrame) -> pd.Series:
    """Of each case, by the trapezoidal rule, over the number of edits."""
    ends = (table.iloc[:, 0] + table.iloc[:, -1]) / 2
    return (table.sum(axis=1) - ends) / (table.shape[1] - 1)


def edit_comparisons(curves: Curves) -> tuple[EditComparison, ...]:
    """One way of editing against another, of what `dsc_by_edits` gives."""
    return tuple(_comparisons(curves))


def _comparisons(curves: Curves) -> Iterator[EditComparison]:
    for level in dict.fromkeys(level for _, level, _ in curves):
        for first, second in COMPARED:
            values = [_values(curves, level, *way) for way in (first, second)]
            if values[0] is None or values[1] is None:
                continue
            difference = (values[0] - values[1]).dropna().to_numpy()
            if len(difference):
                names = [_name(*way) for way in (first, second)]
                p = wilcoxon_p(difference)
                yield EditComparison(level, *names, float(difference.mean()), p, len(difference))


def _values(curves: Curves, level: int, pick: str, row: str, edits: int | None) -> pd.Series | None:
    table = curves.get((pick, level, row))
    if table is None or not len(table):
        return None
    if edits is None:
        return _area(table)
    return table.get(edits)


def _name(pick: str, row: str, edits: int | None) -> str:
    return f"{pick}, {row}, {'area' if edits is None else f'{edits} edits'}"
