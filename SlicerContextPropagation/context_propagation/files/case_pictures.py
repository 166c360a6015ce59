"""Pictures of a case: first and final contour in three planes, and how many voxels each edit changed per slice."""

from __future__ import annotations

from typing import Any

from context_propagation.core.optional_dependency import require
from context_propagation.files.case_measures import Case, PlaneChanges
from context_propagation.files.figure import drawn_figure, figure_content, png_of

CHART_INCHES = (10.5, 2.6)


MOST_NAMED = 10
"""Edits that have a colour and a name of their own in the chart: as many as matplotlib's cycle has."""


def contours_png(case: Case, plane: PlaneChanges) -> bytes:
    """First and final contour in three planes, through the slice of one of them that changed most.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    first, shown = case.saved.initial.mask, (plane.axis, plane.most_changed)
    content = figure_content(case.volume, first, case.final, case.drawn_on(plane.axis), shown=shown)
    return png_of(drawn_figure(content, ("first contour", "final contour")))


def changes_png(plane: PlaneChanges) -> bytes | None:
    """Bars, one on the other: the voxels that each edit changed on each slice; a mark under each drawn slice.

    Returns:
        None where nothing was propagated in this plane.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if not plane.numbers:
        return None
    figure = require("matplotlib.figure", extra="cli").Figure(figsize=CHART_INCHES)
    axes = figure.subplots()
    indices = [row.index for row in plane.rows]
    below = [0] * len(indices)
    for number in plane.numbers:
        voxels = [row.changed.get(number, 0) for row in plane.rows]
        axes.bar(
            indices, voxels, width=1.0, bottom=below, label=f"edit {number}", color=f"C{(number - 1) % MOST_NAMED}"
        )
        below = [under + more for under, more in zip(below, voxels, strict=True)]
    drawn = [row.index for row in plane.rows if row.drawn]
    axes.plot(drawn, [0] * len(drawn), "k^", label="drawn", clip_on=False)
    axes.set_xlabel(f"{plane.plane} slice")
    axes.set_ylabel("voxels changed")
    _whole_numbers(axes)
    if len(plane.numbers) <= MOST_NAMED:
        axes.legend(fontsize=8)
    figure.tight_layout()
    return png_of(figure)


def _whole_numbers(axes: Any) -> None:
    locator = require("matplotlib.ticker", extra="cli").MaxNLocator
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(locator(integer=True))
