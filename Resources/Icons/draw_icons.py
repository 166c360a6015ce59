"""Draw the icons: a stack of slices, one redrawn, and the correction fading into the slices above and below.

Run it after a change: python Resources/Icons/draw_icons.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SlicerContextPropagation"

SHEET_FACE, SHEET_EDGE = "#2f6db0", "#e3f0ff"
EDITED_FACE = "#123a66"
CONTOUR = "#ffb000"
ARROW = "#ff7a00"


@dataclass(frozen=True)
class Icon:
    """One size of the icon.

    Attributes:
        pixels: Width and height.
        slices: Slices in the stack, an odd number; the middle one is the redrawn one.
        depth: Half the height of a slice in the picture, whose height is 1.
        line: Width of the contour in pixels.
        files: Where it is saved.
    """

    pixels: int
    slices: int
    depth: float
    line: float
    files: tuple[Path, ...]


ICONS = (
    Icon(
        128,
        slices=5,
        depth=0.12,
        line=4.5,
        files=(
            ROOT / "Resources" / "Icons" / "ContextPropagation.png",
            MODULE / "Resources" / "Icons" / "ContextPropagation.png",
        ),
    ),
    Icon(
        48,
        slices=3,
        depth=0.155,
        line=3.0,
        files=(MODULE / "SegmentEditorPropagateEditLib" / "SegmentEditorEffect.png",),
    ),
)


def tilted(points: np.ndarray, depth: float, height: float) -> np.ndarray:
    """Points [N, 2] of a slice, in -1..1, as seen from above and the side; `height` is where the slice lies."""
    x, y = points.T
    return np.stack([0.32 * x + 0.12 * y + 0.45, depth * y + height], axis=1)


def outline(size: float) -> np.ndarray:
    """A contour [N, 2] that looks like a lesion's."""
    angle = np.linspace(0, 2 * np.pi, 120)
    radius = size * (1 + 0.16 * np.cos(2 * angle + 0.6) + 0.08 * np.sin(3 * angle))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def draw_slice(axes: Axes, icon: Icon, height: float, nearness: float) -> None:
    """One slice; `nearness` is 1 for the redrawn one and falls to 0 away from it."""
    edited = nearness == 1
    corners = tilted(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float), icon.depth, height)
    face = EDITED_FACE if edited else SHEET_FACE
    axes.fill(*corners.T, facecolor=face, edgecolor=SHEET_EDGE, linewidth=0.3 * icon.line, zorder=height)
    contour = tilted(outline(0.4 + 0.25 * nearness), icon.depth, height)
    axes.fill(*contour.T, facecolor=CONTOUR, alpha=0.15 + 0.35 * nearness, linewidth=0, zorder=height)
    width = icon.line * (0.45 + 0.45 * nearness)
    axes.plot(*contour.T, color=CONTOUR, alpha=0.5 + 0.5 * nearness, linewidth=width, zorder=height)


def draw_arrows(axes: Axes, line: float) -> None:
    """From the redrawn slice to both sides."""
    for end in (0.93, 0.07):
        start = 0.5 + np.sign(end - 0.5) * 0.07
        axes.add_patch(
            FancyArrowPatch(
                (0.93, start),
                (0.93, end),
                arrowstyle="-|>",
                mutation_scale=3.4 * line,
                shrinkA=0,
                shrinkB=0,
                linewidth=line,
                color=ARROW,
            )
        )


def draw(icon: Icon) -> Figure:
    """The icon as a figure of its size at 72 dots per inch, so that a point is a pixel."""
    figure = Figure(figsize=(icon.pixels / 72, icon.pixels / 72), dpi=72)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    middle = icon.slices // 2
    for number, height in enumerate(np.linspace(icon.depth + 0.03, 0.97 - icon.depth, icon.slices)):
        nearness = 1 - abs(number - middle) / (middle + 1)
        draw_slice(axes, icon, height, nearness)
    draw_arrows(axes, icon.line)
    return figure


def main() -> None:
    """Draw every size into its files."""
    for icon in ICONS:
        figure = draw(icon)
        for file in icon.files:
            figure.savefig(file, transparent=True, metadata={"Software": None})


if __name__ == "__main__":
    main()
