"""Plots of an evaluation: number of edits against DSC (paper, Fig. 8), and each row's cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.evaluation.regression_curve import HINDSIGHT, CurvePoint, pooled
from context_propagation.evaluation.results import MeasureSummary
from context_propagation.evaluation.rows import SCOPE_TITLES
from context_propagation.evaluation.summary import main_edits, main_level, successful, summarise

if TYPE_CHECKING:
    import pandas as pd


DPI = 120


def plot_edits(frame: pd.DataFrame, path: Path, level: int | None = None) -> None:
    """Write `edits_figure` as a picture; the path's ending chooses the format, PNG at 120 dpi."""
    _save(edits_figure(frame, level), path)


def plot_rows(frame: pd.DataFrame, path: Path, level: int | None = None, edits: int | None = None) -> None:
    """Write `rows_figure` as a picture; the path's ending chooses the format, PNG at 120 dpi."""
    _save(rows_figure(frame, level, edits), path)


def plot_curve(curve: Sequence[CurvePoint], path: Path) -> None:
    """Write the regression rate against DSC, a line for each row, a panel for each pick, of all folds together.

    With hindsight a row's line is dotted.
    """
    points = pooled(curve)
    picks = [pick for pick in dict.fromkeys(point.pick for point in points) if pick is not None]
    rows = list(dict.fromkeys(point.row for point in points))
    colours = {row: f"C{number}" for number, row in enumerate(row for row in rows if not row.endswith(HINDSIGHT))}
    figure = _figure(4.5 * len(picks), 4)
    for axes, pick in zip(figure.subplots(1, len(picks), squeeze=False)[0], picks, strict=True):
        for row in rows:
            here = [point for point in points if (point.row, point.pick) == (row, pick)]
            rates, dscs = [100 * point.rate for point in here], [point.dsc for point in here]
            line, colour = ":" if row.endswith(HINDSIGHT) else "-", colours[row.removesuffix(HINDSIGHT)]
            axes.plot(rates, dscs, marker="o", linestyle=line, color=colour, label=row)
        axes.set_title(f"edited slice: {pick} ({here[0].cases} cases)")
        axes.set_xlabel("slices made worse, %")
    figure.axes[0].set_ylabel("DSC, whole volume")
    figure.axes[0].legend(fontsize=8)
    _save(figure, path)


def edits_figure(frame: pd.DataFrame, level: int | None = None) -> Any:
    """Number of edits against DSC on the whole volume, of the cases and rows that have every number of edits.

    A picture for each pick of the edited slice, a line for each row: mean over folds, with a band of one standard
    deviation over folds where there are several.

    Args:
        frame: With the columns of `evaluation_table.COLUMNS`.
        level: Decoder level; 2, or the lowest measured where 2 was not.

    Returns:
        A matplotlib Figure.

    Raises:
        UserInputError: The frame has no case with several edits at that level.
    """
    summary = summarise(frame)
    level = main_level(summary) if level is None else level
    shown = [i for i in summary.by_edits if (i.measure, i.scope, i.level) == ("dsc", "whole", level)]
    picks = _unless_empty(dict.fromkeys(item.pick for item in shown), f"several edits at decoder level {level}")
    rows = list(dict.fromkeys(item.row for item in summary.measures))
    figure = _figure(5 * len(picks) + 2.5, 4.5)
    panels = figure.subplots(1, len(picks), squeeze=False, sharey=True)[0]
    for axes, pick in zip(panels, picks, strict=True):
        here = [item for item in shown if item.pick == pick and item.mean is not None]
        for row in dict.fromkeys(item.row for item in here):
            _draw_line(axes, row, [item for item in here if item.row == row], rows.index(row))
        axes.set_title(f"edited slices: {pick} (cases: {max((i.cases for i in here), default=0)})")
        axes.set_xlabel("number of edits")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("DSC, whole volume")
    handles = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    figure.legend(handles=[handles[row] for row in rows if row in handles], loc="outside right upper", fontsize=8)
    return figure


def rows_figure(frame: pd.DataFrame, level: int | None = None, edits: int | None = None) -> Any:
    """Each row's DSC per case as a box plot, a picture for each pick of the edited slice and scope.

    Args:
        frame: With the columns of `evaluation_table.COLUMNS`.
        level: Decoder level; 2, or the lowest measured where 2 was not.
        edits: Number of edits; the lowest measured above 0.

    Returns:
        A matplotlib Figure; boxes are quartiles, whiskers reach 1.5 × their distance, the mean is a triangle.

    Raises:
        UserInputError: The frame has no such line.
    """
    summary = summarise(frame)
    level = main_level(summary) if level is None else level
    edits = main_edits(summary) if edits is None else edits
    lines = successful(frame)
    lines = lines[(lines["level"] == level) & (lines["edits"] == edits) & lines["dsc"].notna()]
    picks, scopes = (list(lines[column].sort_values().unique()) for column in ("pick", "scope"))
    _unless_empty(picks, f"decoder level {level} and {edits} edit(s)")
    figure = _figure(4.5 * len(scopes), 4.5 * len(picks))
    panels = figure.subplots(len(picks), len(scopes), squeeze=False, sharey=True)
    for pick, panel_row in zip(picks, panels, strict=True):
        for scope, axes in zip(scopes, panel_row, strict=True):
            _draw_boxes(axes, lines[(lines["pick"] == pick) & (lines["scope"] == scope)])
            axes.set_title(f"edited slice: {pick}; {SCOPE_TITLES.get(scope, scope)}", fontsize=9)
        panel_row[0].set_ylabel("DSC per case")
    return figure


def _draw_line(axes: Any, row: str, items: list[MeasureSummary], number: int) -> None:
    edits = [item.edits for item in items]
    mean = np.array([item.mean for item in items])
    band = np.array([item.standard_deviation or 0.0 for item in items])
    color, style = f"C{number % 10}", ("solid", "dashed", "dotted")[number // 10 % 3]  # ten colours, then dashes
    axes.plot(edits, mean, marker="o", markersize=4, label=row, color=color, linestyle=style)
    if band.any():
        axes.fill_between(edits, mean - band, mean + band, color=color, alpha=0.1, linewidth=0)


def _draw_boxes(axes: Any, lines: pd.DataFrame) -> None:
    rows = list(lines["row"].sort_values().unique())
    axes.boxplot([lines.loc[lines["row"] == row, "dsc"].to_numpy() for row in rows], showmeans=True)
    axes.set_xticks(range(1, len(rows) + 1), labels=rows, rotation=50, ha="right", fontsize=7)
    axes.grid(axis="y", alpha=0.3)


def _unless_empty(picks: Any, wanted: str) -> list[str]:
    if not picks:
        raise UserInputError(f"The evaluation has no line without error for {wanted}")
    return list(picks)


def _figure(width: float, height: float) -> Any:
    """A figure of that many inches that draws by Agg and belongs to no window."""
    figure = require("matplotlib.figure", extra="cli").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", extra="cli").FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with whole_file(path) as partial_file:
        figure.savefig(partial_file, dpi=DPI)
