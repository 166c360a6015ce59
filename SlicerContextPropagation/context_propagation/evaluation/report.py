"""What an evaluation leaves behind: per-case CSV, summary as Markdown and JSON, plots; each says how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.provenance import provenance
from context_propagation.core.storage.whole_file import whole_file, write_whole_text
from context_propagation.evaluation.markdown import curve_table, far_thresholds_table, to_markdown
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.plots import plot_curve, plot_edits, plot_rows
from context_propagation.evaluation.regression_curve import CurvePoint
from context_propagation.evaluation.results import CaseRow, Summary
from context_propagation.evaluation.rows import PAPER_PAIR
from context_propagation.evaluation.summary import frame_of, summarise

if TYPE_CHECKING:
    import pandas as pd


COUNTS = (
    "level",
    "edits",
    "slice",
    "regressed_slices",
    "untouched_slices",
    "far_voxels_changed",
    "far_voxels",
    "new_islands",
)
"""Columns that stay whole numbers, also where a failure leaves them empty."""


PAPER_WIDTH = 8.0
"""Of the paper's own network."""


@dataclass
class Written:
    """All that an evaluation has found so far.

    Attributes:
        plan: What was evaluated.
        command: How.
        commits: At which the results were computed.
        notes: Further lines on what was measured, say how many cases each style has.
        lines: Of all cases.
        far_thresholds: Of each test fold, level and row that chose them, on validation cases.
        curve: DSC against regression rate.
    """

    plan: EvaluationPlan
    command: str
    commits: Sequence[str]
    notes: list[str] = field(default_factory=list)
    lines: list[CaseRow] = field(default_factory=list)
    far_thresholds: dict[str, FarThresholds] = field(default_factory=dict)
    curve: list[CurvePoint] = field(default_factory=list)


@dataclass(frozen=True)
class SavedSummary:
    """All of summary.json, whose keys are these.

    Attributes:
        made: How: command, versions, commits.
        protocol: What was evaluated.
        notes: Further lines on what was measured.
        far_thresholds: Of each test fold, level and row that chose them.
        curve: DSC against regression rate.
        summary: The tables.
    """

    made: Mapping[str, str]
    protocol: EvaluationPlan
    notes: tuple[str, ...]
    far_thresholds: Mapping[str, FarThresholds]
    curve: tuple[CurvePoint, ...]
    summary: Summary


def write_results(written: Written, output: Path) -> int:
    """Write `cases.csv`, `summary.md`, `summary.json` and, of what was measured, pictures.

    Returns:
        How many cases failed.
    """
    plan = written.plan
    frame = frame_of(written.lines).astype(dict.fromkeys(COUNTS, "Int64"))
    with whole_file(output / "cases.csv") as partial_file:
        frame.to_csv(partial_file, index=False, float_format="%.5g")
    summary = summarise(frame)
    made = {"command": written.command, **provenance(), "computed at": ", ".join(written.commits)}
    bullets = [*(f"{name}: {value}" for name, value in made.items()), _in_words(plan), *written.notes]
    if any(line.row == PAPER_PAIR[0] for line in written.lines):
        bullets.append(f"{PAPER_PAIR[0]}: the paper's architecture at {_paper_width(plan)}")
    head = f"# {plan.name}\n\n" + "\n".join(f"- {bullet}" for bullet in bullets)
    parts = [head, to_markdown(summary, plan.level).rstrip()]
    parts += [curve_table(written.curve), far_thresholds_table(written.far_thresholds)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_whole_text(output / "summary.md", text)
    saved = SavedSummary(made, plan, tuple(written.notes), written.far_thresholds, tuple(written.curve), summary)
    write_whole_text(output / "summary.json", json.dumps(asdict(saved), indent=1, allow_nan=False) + "\n")
    _plot(frame, summary, plan.level, output)
    if written.curve:
        plot_curve(written.curve, output / "regression.png")
    return len(summary.failed_cases)


def _paper_width(plan: EvaluationPlan) -> str:
    own = plan.paper_width == PAPER_WIDTH
    return f"its own width, {PAPER_WIDTH:g}" if own else f"width {plan.paper_width:g}; the paper's has {PAPER_WIDTH:g}"


def _plot(frame: pd.DataFrame, summary: Summary, level: int, output: Path) -> None:
    """What was measured at the protocol's level; a failure of all cases leaves nothing to draw."""
    if any((item.level, item.edits) == (level, 1) and item.mean is not None for item in summary.measures):
        plot_rows(frame, output / "rows.png", level, 1)
    if any(item.level == level for item in summary.by_edits):
        plot_edits(frame, output / "edits.png", level)


def _in_words(plan: EvaluationPlan) -> str:
    """For example "variant clean; test folds 0, 2; base cases 10"; the name is the title."""
    fields = {name: value for name, value in asdict(plan).items() if name not in ("name", "data")}
    return "; ".join(f"{name.replace('_', ' ')} {_listed(value)}" for name, value in fields.items())


def _listed(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
