"""What an evaluation leaves behind: per-case CSV, summary as Markdown and JSON, plots; each says how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from context_propagation.cli.evaluation_markdown import to_markdown
from context_propagation.cli.evaluation_plots import plot_edits, plot_rows
from context_propagation.cli.evaluation_table import COLUMNS, summarise, to_json
from context_propagation.cli.protocol import Protocol
from context_propagation.cli.provenance import provenance
from context_propagation.core.optional_dependency import require

COUNTS = ("level", "edits", "slice", "regressed_slices", "untouched_slices", "far_voxels_changed", "far_voxels")
"""Columns that stay whole numbers, also where a failure leaves them empty."""


def write_results(
    lines: Sequence[dict[str, Any]],
    protocol: Protocol,
    command: str,
    far_margins: Mapping[str, Mapping[str, Mapping[str, float]]],
    commits: Sequence[str],
    output: Path,
) -> int:
    """Write `cases.csv`, `summary.md`, `summary.json`, `rows.png` and, with several edits, `edits.png`.

    Args:
        lines: Of the table, see `evaluation_table`.
        protocol: What was evaluated.
        command: How.
        far_margins: For each test fold and level the rows' margins, chosen on validation cases.
        commits: At which the results were computed.
        output: The folder.

    Returns:
        How many cases failed.
    """
    frame = require("pandas", extra="evaluation").DataFrame(list(lines), columns=list(COLUMNS))
    frame["error"] = frame["error"].fillna("")
    frame = frame.astype(dict.fromkeys(COUNTS, "Int64"))
    frame.to_csv(output / "cases.csv", index=False, float_format="%.5g")
    summary = summarise(frame)
    made = {"command": command, **provenance(), "computed at": ", ".join(commits)}
    text = [f"# {protocol.name}", "", *(f"- {name}: {value}" for name, value in made.items())]
    text += [f"- {name}: {value}" for name, value in asdict(protocol).items() if name not in ("name", "data")]
    text += [f"- far margins, {where}: {_margins(rows)}" for where, rows in far_margins.items()]
    (output / "summary.md").write_text("\n".join([*text, "", to_markdown(summary, protocol.level)]), encoding="utf-8")
    figures = {"made": made, "protocol": asdict(protocol), "far_margins": far_margins}
    figures["summary"] = json.loads(to_json(summary))
    (output / "summary.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if summary.measures:
        plot_rows(frame, output / "rows.png", protocol.level, 1)
    if any(item.level == protocol.level for item in summary.by_edits):
        plot_edits(frame, output / "edits.png", protocol.level)
    return len(summary.failed_cases)


def _margins(rows: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(f"{row} +{margin['add']:g} −{margin['remove']:g}" for row, margin in rows.items())
