"""What an evaluation leaves behind: per-case CSV, summary as Markdown and JSON, plots; each says how it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from context_propagation.cli.evaluation_plots import plot_edits, plot_rows
from context_propagation.cli.evaluation_table import COLUMNS, summarise, to_json, to_markdown
from context_propagation.cli.protocol import Protocol
from context_propagation.cli.provenance import provenance
from context_propagation.core.optional_dependency import require


def write_results(
    lines: Sequence[dict[str, Any]],
    protocol: Protocol,
    command: str,
    far_margins: dict[str, dict[str, float]],
    output: Path,
) -> int:
    """Write `cases.csv`, `summary.md`, `summary.json`, `rows.png` and, with several edits, `edits.png`.

    Args:
        lines: Of the table, see `evaluation_table`.
        protocol: What was evaluated.
        command: How.
        far_margins: For each test fold and level, what was chosen on its validation cases.
        output: The folder.

    Returns:
        How many cases failed.
    """
    frame = require("pandas", extra="evaluation").DataFrame(list(lines), columns=list(COLUMNS))
    frame["error"] = frame["error"].fillna("")
    frame.to_csv(output / "cases.csv", index=False, float_format="%.5g")
    summary = summarise(frame)
    made = {"command": command, **provenance()}
    text = [f"# {protocol.name}", "", *(f"- {name}: {value}" for name, value in made.items())]
    text += [f"- seed {protocol.seed}; far margins: {json.dumps(far_margins)}", f"- protocol: {asdict(protocol)}", ""]
    (output / "summary.md").write_text("\n".join(text) + "\n" + to_markdown(summary, protocol.level) + "\n")
    figures = {"made": made, "protocol": asdict(protocol), "far_margins": far_margins}
    figures["summary"] = json.loads(to_json(summary))
    (output / "summary.json").write_text(json.dumps(figures, indent=1) + "\n")
    plot_rows(frame, output / "rows.png", protocol.level, 1)
    if protocol.edits > 1:
        plot_edits(frame, output / "edits.png", protocol.level)
    return len(summary.failed_cases)
