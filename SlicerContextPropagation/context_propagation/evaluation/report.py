"""What an evaluation leaves behind: per-case CSV, summary as Markdown and JSON, plots; each says how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.fusion_network import FarMargin
from context_propagation.core.provenance import provenance
from context_propagation.evaluation.markdown import far_margins_table, to_markdown
from context_propagation.evaluation.plots import plot_edits, plot_rows
from context_propagation.evaluation.protocol import Protocol
from context_propagation.evaluation.results import Summary
from context_propagation.evaluation.rows import COLUMNS
from context_propagation.evaluation.summary import summarise, to_json

if TYPE_CHECKING:
    import pandas as pd


COUNTS = ("level", "edits", "slice", "regressed_slices", "untouched_slices", "far_voxels_changed", "far_voxels")
"""Columns that stay whole numbers, also where a failure leaves them empty."""


def write_results(
    lines: Sequence[dict[str, Any]],
    protocol: Protocol,
    command: str,
    far_margins: Mapping[str, FarMargin],
    commits: Sequence[str],
    output: Path,
    notes: Sequence[str] = (),
) -> int:
    """Write `cases.csv`, `summary.md`, `summary.json` and, of what was measured, `rows.png` and `edits.png`.

    Args:
        lines: Of the table, see `evaluation_table`.
        protocol: What was evaluated.
        command: How.
        far_margins: For each test fold and level the margin of all rows, chosen on validation cases.
        commits: At which the results were computed.
        output: The folder.
        notes: Further lines on what was measured, say how many cases each style has.

    Returns:
        How many cases failed.
    """
    frame = require("pandas", extra="evaluation").DataFrame(list(lines), columns=list(COLUMNS))
    frame["error"] = frame["error"].fillna("")
    frame = frame.astype(dict.fromkeys(COUNTS, "Int64"))
    frame.to_csv(output / "cases.csv", index=False, float_format="%.5g")
    summary = summarise(frame)
    made = {"command": command, **provenance(), "computed at": ", ".join(commits)}
    bullets = [*(f"{name}: {value}" for name, value in made.items()), _in_words(protocol), *notes]
    head = f"# {protocol.name}\n\n" + "\n".join(f"- {bullet}" for bullet in bullets)
    parts = [head, to_markdown(summary, protocol.level).rstrip(), far_margins_table(far_margins)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    (output / "summary.md").write_text(text, encoding="utf-8")
    figures = {"made": made, "protocol": asdict(protocol), "notes": list(notes)}
    figures["far_margins"] = {where: asdict(margin) for where, margin in far_margins.items()}
    figures["summary"] = json.loads(to_json(summary))
    (output / "summary.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _plot(frame, summary, protocol.level, output)
    return len(summary.failed_cases)


def _plot(frame: pd.DataFrame, summary: Summary, level: int, output: Path) -> None:
    """What was measured at the protocol's level; a failure of all cases leaves nothing to draw."""
    if any((item.level, item.edits) == (level, 1) and item.mean is not None for item in summary.measures):
        plot_rows(frame, output / "rows.png", level, 1)
    if any(item.level == level for item in summary.by_edits):
        plot_edits(frame, output / "edits.png", level)


def _in_words(protocol: Protocol) -> str:
    """For example "variant clean; test folds 0, 2; base cases 10"; the name is the title."""
    fields = {name: value for name, value in asdict(protocol).items() if name not in ("name", "data")}
    return "; ".join(f"{name.replace('_', ' ')} {_listed(value)}" for name, value in fields.items())


def _listed(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
