"""Cost against the window's size and the decoder level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from context_propagation.benchmark.results import DEEPER, FORWARD, LITERAL_UPDATE, PROMPT, SET_IMAGE
from context_propagation.core.optional_dependency import require

SHOWN = {
    FORWARD: "forward pass",
    SET_IMAGE: "set_image",
    "edit 1": "edit",
    PROMPT: "nnInteractive's prompt",
    LITERAL_UPDATE: "literal update",
}


DPI = 120


MARKERS = {None: "s", 1: "o", 2: "^", 3: "v"}
"""Of each decoder level."""


def draw(results: dict[str, Any], path: Path) -> None:
    """Write a picture; the path's ending chooses the format.

    A column for each network: above, cost against the edge of the window; below, where it was measured, the update
    against the depth of the window.

    Args:
        results: See `Results.as_json`.
        path: The file.
    """
    rows = [row for row in results["rows"] if row["blob"]]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    panel_rows = 2 if any(row["what"] == DEEPER for row in rows) else 1
    size = (6 * len(networks) + 2.5, 4.5 * panel_rows)
    figure = require("matplotlib.figure", extra="cli").Figure(figsize=size, layout="constrained")
    require("matplotlib.backends.backend_agg", extra="cli").FigureCanvasAgg(figure)
    panels = figure.subplots(panel_rows, len(networks), squeeze=False, sharey="row")
    for column, network in enumerate(networks):
        of_network = [row for row in rows if row["network"] == network]
        _draw_network(panels[0][column], of_network)
        panels[0][column].set_title(network)
        if panel_rows == 2:
            _draw_depth(panels[1][column], of_network)
            panels[1][column].legend(fontsize=8)
    handles = {line.get_label(): line for axes in panels[0] for line in axes.get_lines()}
    figure.legend(handles=list(handles.values()), loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=DPI)


def _draw_network(axes: Any, rows: list[dict[str, Any]]) -> None:
    first_blob = {row["window"]: row["blob"] for row in reversed(rows)}
    for number, (what, title) in enumerate(SHOWN.items()):
        for build, style in (("this", "solid"), ("torch", "solid"), ("against", "dashed")):
            shown = [
                r for r in rows if (r["what"], r["build"]) == (what, build) and first_blob[r["window"]] == r["blob"]
            ]
            for level in dict.fromkeys(row["level"] for row in shown):
                points = sorted((_edge(row), row["seconds"]) for row in shown if row["level"] == level)
                label = (
                    title + ("" if level is None else f", level {level}") + (", against" if build == "against" else "")
                )
                marker = MARKERS[level]
                axes.plot(*zip(*points, strict=True), marker=marker, color=f"C{number}", linestyle=style, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("edge of the window, voxels")
    axes.set_ylabel("seconds")
    axes.grid(alpha=0.3)


def _draw_depth(axes: Any, rows: list[dict[str, Any]]) -> None:
    """The update in windows as deep as wide, and twice as deep."""
    ours = [row for row in rows if (row["what"], row["build"]) == ("edit 1: update", "this")]
    updates = {(row["level"], row["window"], row["blob"]): row["seconds"] for row in ours}
    for row in rows:
        place = (row["level"], row["window"], row["blob"])
        if row["what"] == DEEPER and place in updates:
            edge = _edge(row)
            label = f"update, level {row['level']}, {edge} voxels wide"
            axes.plot([edge, 2 * edge], [updates[place], row["seconds"]], marker=MARKERS[row["level"]], label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("depth of the window, slices")
    axes.set_ylabel("seconds")
    axes.grid(alpha=0.3)


def _edge(row: dict[str, Any]) -> int:
    return int(row["window"].split(" x ")[0])
