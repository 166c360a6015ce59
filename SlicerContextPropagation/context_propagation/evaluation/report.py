"""What an evaluation leaves behind: per-case CSV, summary as Markdown and JSON, plots; each says how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from context_propagation.core.propagation.fusion_network import FarThresholds
from context_propagation.core.provenance import provenance
from context_propagation.evaluation.markdown import far_thresholds_table, to_markdown
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.plots import plot_edits, plot_rows
from context_propagation.evaluation.results import CaseRow, Summary
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


@dataclass(frozen=True)
class SavedSummary:
    """All of summary.json, whose keys are these.

    Attributes:
        made: How: command, versions, commits.
        protocol: What was evaluated.
        notes: Further lines on what was measured.
        far_thresholds: Of each test fold and level.
        summary: The tables.
    """

    made: Mapping[str, str]
    protocol: EvaluationPlan
    notes: tuple[str, ...]
    far_thresholds: Mapping[str, FarThresholds]
    summary: Summary


def write_results(
    rows: Sequence[CaseRow],
    plan: EvaluationPlan,
    command: str,
    far_thresholds: Mapping[str, FarThresholds],
    commits: Sequence[str],
    output: Path,
    notes: Sequence[str] = (),
) -> int:
    """Write `cases.csv`, `summary.md`, `summary.json` and, of what was measured, `rows.png` and `edits.png`.

    Args:
        rows: The lines of all cases.
        plan: What was evaluated.
        command: How.
        far_thresholds: For each test fold and level those of all rows, chosen on validation cases.
        commits: At which the results were computed.
        output: The folder.
        notes: Further lines on what was measured, say how many cases each style has.

    Returns:
        How many cases failed.
    """
    frame = frame_of(rows).astype(dict.fromkeys(COUNTS, "Int64"))
    frame.to_csv(output / "cases.csv", index=False, float_format="%.5g")
    summary = summarise(frame)
    made = {"command": command, **provenance(), "computed at": ", ".join(commits)}
    bullets = [*(f"{name}: {value}" for name, value in made.items()), _in_words(plan), *notes]
    head = f"# {plan.name}\n\n" + "\n".join(f"- {bullet}" for bullet in bullets)
    parts = [head, to_markdown(summary, plan.level).rstrip(), far_thresholds_table(far_thresholds)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    (output / "summary.md").write_text(text, encoding="utf-8")
    saved = SavedSummary(made, plan, tuple(notes), far_thresholds, summary)
    (output / "summary.json").write_text(json.dumps(asdict(saved), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _plot(frame, summary, plan.level, output)
    return len(summary.failed_cases)


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
