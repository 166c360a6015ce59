"""Cost against the window's size and the decoder level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from context_propagation.benchmark.results import FORWARD, LITERAL_UPDATE, PROMPT, SET_IMAGE
from context_propagation.core.optional_dependency import require

SHOWN = {
    FORWARD: "forward pass",
    SET_IMAGE: "set_image",
    "edit 1": "edit",
    PROMPT: "nnInteractive's prompt",
    LITERAL_UPDATE: "literal update",
}


DPI = 120


def draw(results: dict[str, Any], path: Path) -> None:
    """Write a picture with a panel for each network; the path's ending chooses the format.

    Args:
        results: See `Results.as_json`.
        path: The file.
    """
    rows = [row for row in results["rows"] if row["blob"]]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure = require("matplotlib.figure", extra="cli").Figure(
        figsize=(6 * len(networks) + 2, 4.5), layout="constrained"
    )
    require("matplotlib.backends.backend_agg", extra="cli").FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    for axes, network in zip(panels, networks, strict=True):
        _draw_network(axes, [row for row in rows if row["network"] == network])
        axes.set_title(network)
        axes.set_xlabel("edge of the window, voxels")
    panels[0].set_ylabel("seconds")
    handles = {line.get_label(): line for axes in panels for line in axes.get_lines()}
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
                marker = {None: "s", 1: "o", 2: "^", 3: "v"}[level]
                axes.plot(*zip(*points, strict=True), marker=marker, color=f"C{number}", linestyle=style, label=label)
    axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _edge(row: dict[str, Any]) -> int:
    return int(row["window"].split(" x ")[0])
