"""The tables of an evaluation as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from context_propagation.core.measures.accuracy import SCOPES
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.far_thresholds import EVERY_SLICE, FarThresholds
from context_propagation.evaluation.regression_curve import CurvePoint, pooled
from context_propagation.evaluation.results import MeasureSummary, Summary
from context_propagation.evaluation.rows import FUSION, NO_EDIT, SCOPE_TITLES
from context_propagation.evaluation.summary import main_edits, main_level

LEVEL_ROWS = ("update", FUSION, NO_EDIT)


FIRST_MEASURES = ("dsc", "hd95_mm")


MEASURE_TITLES = {
    "dsc": ("DSC", 3),
    "hd95_mm": ("HD95, mm", 2),
    "sensitivity": ("sensitivity", 3),
    "specificity": ("specificity", 3),
    "surface_dice_2mm": ("surface Dice 2 mm", 3),
    "added_path_length_mm": ("added path length, mm", 2),
}
"""With digits: shares have three (percentages one), millimetres two."""


def to_markdown(summary: Summary, level: int | None = None, edits: int | None = None) -> str:
    """The summary's tables as Markdown.

    Args:
        summary: What `summarise` gives.
        level: Decoder level of all tables but that of levels; 2, or the lowest measured where 2 was not.
        edits: Number of edits of all tables but that of edits; the lowest measured above 0.
    """
    level = main_level(summary) if level is None else level
    edits = main_edits(summary) if edits is None else edits
    parts = []
    for pick in dict.fromkeys(item.pick for item in summary.measures):
        parts.append(f"## Edited slice: {pick} (decoder level {level}, edits: {edits})")
        here = {"pick": pick, "level": level, "edits": edits}
        parts += [_accuracy_table(summary, here), _comparison_table(summary, here), _safety_table(summary, here)]
        parts += [_level_table(summary, here), _edits_table(summary, here), _other_measures_table(summary, here)]
    parts += [_edit_comparison_table(summary, level), _needed_no_edit(summary), _failures_table(summary)]
    return "\n\n".join(part for part in parts if part) + "\n"


def far_thresholds_table(far_thresholds: Mapping[str, FarThresholds]) -> str:
    """A line for each "fold 0, level 2, fusion"."""
    cells = {
        (where,): {"add": f"{chosen.add:g}", "remove": f"{chosen.remove:g}", "least gain": _gain(chosen.least_gain)}
        for where, chosen in far_thresholds.items()
    }
    return _titled("Far thresholds, chosen on validation cases", cells, ("fold, level, row",))


def _gain(least: float) -> str:
    return "—" if least == EVERY_SLICE else f"{least:g}"


def curve_table(curve: Sequence[CurvePoint]) -> str:
    """A line for each row and allowed regression rate."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for point in pooled(curve):
        line = cells.setdefault((point.row, f"{100 * point.allowed:g} %"), {})
        where = point.pick or "both"
        line |= {f"{where}: DSC": f"{point.dsc:.4f}", f"{where}: regression rate": f"{100 * point.rate:.2f} %"}
    return _titled(
        "DSC against regression rate: far thresholds of each row's own, chosen on validation cases (with hindsight: on "
        "the tested cases themselves)",
        cells,
        ("row", "allowed there"),
    )


# Tables. `here` names pick, level and edits; an item of the summary belongs to a table where these agree.


def _accuracy_table(summary: Summary, here: dict[str, Any]) -> str:
    cells = _measure_cells(i for i in _matching(summary.measures, here) if i.measure in FIRST_MEASURES)
    better = "".join(
        f"\n\nBetter contour interpolation: {item.row.removeprefix('contour interpolation ')} slices "
        f"(mean DSC on the whole volume {item.mean_dsc:.3f})."
        for item in _matching(summary.better_interpolations, here)
    )
    return (
        _titled("Accuracy, mean ± standard deviation over folds (paper, Tables I, II)", cells, ("scope", "row"))
        + better
    )


def _other_measures_table(summary: Summary, here: dict[str, Any]) -> str:
    cells = _measure_cells(i for i in _matching(summary.measures, here) if i.measure not in FIRST_MEASURES)
    return _titled("Other measures, mean ± standard deviation over folds", cells, ("scope", "row"))


def _measure_cells(items: Iterable[MeasureSummary]) -> dict[tuple[str, str], dict[str, str]]:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for item in items:
        line = cells.setdefault((SCOPE_TITLES[item.scope], item.row), {"cases": str(item.cases)})
        title, digits = MEASURE_TITLES[item.measure]
        line[title] = mean_and_deviation(item, digits)
    return cells


def _comparison_table(summary: Summary, here: dict[str, Any]) -> str:
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for item in _matching(summary.comparisons, here):
        scope = SCOPE_TITLES[item.scope]
        cells.setdefault((f"{item.of} − {item.row}",), {}).update(
            {
                f"{scope}: mean difference": f"{item.mean_difference:+.3f}",
                f"{scope}: p": f"{item.p:.2g}",
                f"{scope}: cases": str(item.cases),
            }
        )
    shares = "".join(
        f"\n\nFusion over no-edit control, {SCOPE_TITLES[item.scope]}: {item.gain:+.3f} of the oracle's "
        f"{item.ceiling:+.3f} DSC ({_percent(item.share)}; cases: {item.cases})."
        for item in _matching(summary.oracle_shares, here)
    )
    gains = "".join(
        f"\n\nMean DSC on the whole volume, {item.row} over baseline: {100 * item.gain:+.1f} % (cases: {item.cases})."
        for item in _matching(summary.relative_gains, here)
    )
    return _titled("DSC differences, paired Wilcoxon over cases", cells, ("difference",)) + gains + shares


def _safety_table(summary: Summary, here: dict[str, Any]) -> str:
    cells = {
        (item.row,): {
            "regression rate": _percent(item.regression_rate),
            "regressed of untouched slices": f"{item.regressed_slices} of {item.untouched_slices}",
            "far voxels changed": _percent(item.far_share_changed),
            "new islands": f"{item.new_islands} in {item.cases_with_islands} cases",
            "seam": f"{item.mean_seam_mm2:.1f} mm²",
            "drawn slices exact": "—" if item.row == "baseline" else _percent(item.drawn_exact_percent / 100),
            "median seconds": "—" if item.median_seconds is None else f"{item.median_seconds:.2f}",
            "cases": str(item.cases),
        }
        for item in _matching(summary.safety, here)
    }
    return _titled("Regression: untouched slices whose DSC fell by more than 0.02", cells, ("row",))


def _level_table(summary: Summary, here: dict[str, Any]) -> str:
    chosen = [i for i in _matching(summary.by_level, here, but="level") if i.measure == "dsc" and i.row in LEVEL_ROWS]
    if len({item.level for item in chosen}) < 2:
        return ""
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for item in sorted(chosen, key=lambda item: (LEVEL_ROWS.index(item.row), SCOPES.index(item.scope), item.level)):
        line = cells.setdefault((item.row, SCOPE_TITLES[item.scope]), {"cases": str(item.cases)})
        line[f"level {item.level}"] = mean_and_deviation(item, 3)
    return _titled("DSC by decoder level (paper, Tables III, IV)", cells, ("row", "scope"))


def _edits_table(summary: Summary, here: dict[str, Any]) -> str:
    chosen = [i for i in _matching(summary.by_edits, here, but="edits") if (i.measure, i.scope) == ("dsc", "whole")]
    if len({item.edits for item in chosen}) < 2:
        return ""
    rows = list(dict.fromkeys(item.row for item in summary.measures))
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for item in sorted(chosen, key=lambda item: (rows.index(item.row), item.edits)):
        cells.setdefault((item.row,), {"cases": str(item.cases)})[str(item.edits)] = mean_and_deviation(item, 3)
    for curve in _matching(summary.edit_curves, here, but="edits"):
        if (curve.row,) in cells:
            needed = f"{curve.edits_needed:.2f} ({_percent(curve.reached)} of cases)"
            cells[(curve.row,)] |= {"area from 0": f"{curve.area:.3f}", "edits to .90": needed}
    text = _titled("DSC on the whole volume by number of edits (paper, Fig. 8)", cells, ("row",))
    return f"{text}\n\n*edits to .90*: a case that never comes to it counts one edit more than were made."


def _edit_comparison_table(summary: Summary, level: int) -> str:
    cells = {
        (f"{item.better} − {item.other}",): {
            "mean difference": f"{item.mean_difference:+.3f}",
            "p": f"{item.p:.2g}",
            "cases": str(item.cases),
        }
        for item in summary.edit_comparisons
        if item.level == level
    }
    return _titled("From edit to edit, paired Wilcoxon over cases", cells, ("difference of DSC",))


def _needed_no_edit(summary: Summary) -> str:
    if not summary.needed_no_edit:
        return ""
    names = ", ".join(f"{_one_line(case)} (fold {fold})" for fold, case in summary.needed_no_edit)
    title = f"### Cases without an edit: {len(summary.needed_no_edit)}"
    return f"{title}\n\nTheir baseline equals the ground truth; they are in no table: {names}."


def _failures_table(summary: Summary) -> str:
    if not summary.failed:
        return "Failed cases: none."
    cells = {
        (str(number),): {name: _one_line(value) for name, value in asdict(item).items()}
        for number, item in enumerate(summary.failed, 1)
    }
    return _titled(f"Failed cases: {len(summary.failed_cases)}", cells, ("failure",))


def _one_line(value: object) -> str:
    return "—" if value is None else " ".join(str(value).split()).replace("|", r"\|")


def mean_and_deviation(item: MeasureSummary, digits: int) -> str:
    """For example "0.812 ± 0.014", "0.812" with one fold, "3.20 ± 0.41 (2 infinite)"."""
    if item.mean is None:
        text = "—"
    elif item.standard_deviation is None:
        text = f"{item.mean:.{digits}f}"
    else:
        text = f"{item.mean:.{digits}f} ± {item.standard_deviation:.{digits}f}"
    return text + (f" ({item.infinite} infinite)" if item.infinite else "")


def _percent(share: float | None) -> str:
    return "—" if share is None or math.isnan(share) else f"{100 * share:.1f} %"


def _matching(items: Iterable[Any], here: dict[str, Any], but: str | None = None) -> list[Any]:
    return [item for item in items if all(getattr(item, name) == here[name] for name in here if name != but)]


def _titled(title: str, cells: dict[Any, dict[str, str]], index: tuple[str, ...]) -> str:
    """A heading and a table with a line for each key of `cells`; nothing where there is no cell."""
    if not cells:
        return ""
    lines = [{**dict(zip(index, key, strict=True)), **line} for key, line in cells.items()]
    table = require("pandas", extra="evaluation").DataFrame(lines).fillna("—")
    require("tabulate", extra="evaluation")  # pandas names it by another extra
    return f"### {title}\n\n" + table.to_markdown(index=False, disable_numparse=True)
