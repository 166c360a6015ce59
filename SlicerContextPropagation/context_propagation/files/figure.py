"""A picture of a propagation: three planes, before and after, in radiological convention."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.axis_map import AxisMap, axes_towards
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require

ENDINGS = (".png", ".pdf", ".svg", ".jpg")


MARGIN_MM = 20.0


DPI = 120


BEFORE_COLOR, AFTER_COLOR, EDIT_COLOR, TRUTH_COLOR = "gold", "orangered", "deepskyblue", "white"


PLANES_KJI = ("axial", "coronal", "sagittal")
"""The planes of slices along k, j and i of arrays in LPS orientation."""


SHOWN_AXES = (0, 2, 1)
"""Axial, sagittal, coronal."""


@dataclass(frozen=True)
class FigureContent:
    """What is shown; arrays run towards L (i), P (j) and S (k).

    Attributes:
        image: float32 `[K, J, I]`.
        before: bool `[K, J, I]`.
        after: bool `[K, J, I]`.
        spacing_kji_mm: Of these arrays.
        edit_axis: The array axis that edited slices are perpendicular to.
        edited: Indices of the edited slices in these arrays.
        shown: Index in the volume's own array of the slice to show along that axis.
        centre: Index of the slice to show along each axis.
        truth: bool `[K, J, I]`, the ground truth where it is known.
    """

    image: np.ndarray
    before: np.ndarray
    after: np.ndarray
    spacing_kji_mm: tuple[float, float, float]
    edit_axis: int
    edited: tuple[int, ...]
    shown: int
    centre: tuple[int, int, int]
    truth: np.ndarray | None = None


def check_figure_ending(path: Path) -> None:
    """Refuse a figure name of unknown format.

    Raises:
        UserInputError: The name ends in none of the known endings.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserInputError(f"Figure '{path}' has an unknown format; end its name in {', '.join(ENDINGS)}")


def write_figure(
    path: Path,
    volume: SourceVolume,
    before: np.ndarray,
    after: np.ndarray,
    edits: Sequence[SliceEdit],
    truth: np.ndarray | None = None,
) -> None:
    """Draw axial, sagittal and coronal slices through the edit, before (upper row) and after (lower row).

    Patient right is on the left of axial and coronal views, anterior on the left of sagittal ones.

    Args:
        path: Where to write; the ending chooses the format.
        volume: The image; its first channel is shown.
        before: bool `[K, J, I]`.
        after: bool `[K, J, I]`.
        edits: At least one.
        truth: bool `[K, J, I]`, drawn dotted in white where it is known.
    """
    content = figure_content(volume, before, after, edits, truth)
    drawn_figure(content, ("before", "after")).savefig(path, dpi=DPI, facecolor="black")


def drawn_figure(content: FigureContent, titles: tuple[str, str]) -> Any:
    """The picture as matplotlib's `Figure`.

    Args:
        content: What is shown.
        titles: Of the upper row, the mask before, and of the lower one.
    """
    figure = require("matplotlib.figure", extra="cli").Figure(figsize=(10.5, 7.2), facecolor="black")
    axes = figure.subplots(2, 3)
    rows = zip(titles, (content.before, content.after), (BEFORE_COLOR, AFTER_COLOR), strict=True)
    for row, (title, mask, color) in enumerate(rows):
        for column, axis in enumerate(SHOWN_AXES):
            _draw(axes[row, column], content, axis, mask, color, title)
    figure.tight_layout()
    return figure


def png_of(figure: Any) -> bytes:
    """A figure of matplotlib as a PNG that says nothing but what it shows."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()


def write_steps_figure(
    path: Path,
    volume: SourceVolume,
    masks: Sequence[np.ndarray],
    edits: Sequence[SliceEdit],
    titles: Sequence[str],
    truth: np.ndarray,
) -> None:
    """Draw the two planes across the edited slices, a column for each number of edits (paper, Fig. 6, 7).

    Args:
        path: Where to write; the ending chooses the format.
        volume: The image; its first channel is shown.
        masks: bool `[K, J, I]` each: before any edit, after the first, after the second and so on.
        edits: One for each mask but the first, all of one axis.
        titles: Of each mask.
        truth: bool `[K, J, I]`, drawn dotted in white.
    """
    view = _View.around(volume, np.any(masks, axis=0), edits)
    content = view.content(volume, masks[0], masks[-1], truth)
    across = [axis for axis in SHOWN_AXES if axis != view.edit_axis]
    figure = require("matplotlib.figure", extra="cli").Figure(figsize=(3 * len(masks), 6.4), facecolor="black")
    panels = figure.subplots(2, len(masks), squeeze=False)
    for number, (mask, title) in enumerate(zip(masks, titles, strict=True)):
        seen = replace(content, edited=content.edited[:number])
        for row, axis in enumerate(across):
            color = AFTER_COLOR if number else BEFORE_COLOR
            _draw(panels[row, number], seen, axis, view.cut(mask), color, title)
    figure.tight_layout()
    figure.savefig(path, dpi=100, facecolor="black")


def figure_content(
    volume: SourceVolume,
    before: np.ndarray,
    after: np.ndarray,
    edits: Sequence[SliceEdit],
    truth: np.ndarray | None = None,
    shown: tuple[int, int] | None = None,
) -> FigureContent:
    """Turn the arrays to LPS and cut them to the masks with a margin.

    Args:
        volume: The image; its first channel is shown.
        before: bool `[K, J, I]`.
        after: bool `[K, J, I]`.
        edits: Slices of one axis, which are marked; there may be none where `shown` is given.
        truth: bool `[K, J, I]`, where it is known.
        shown: Axis and index of the slice to show, of the edits' axis; by default the middle one of the edits. The
            other two planes run through the middle of the masks in it.
    """
    return _View.around(volume, before | after, edits, shown).content(volume, before, after, truth)


@dataclass(frozen=True)
class _View:
    """How arrays are turned to LPS and cut for a picture.

    Attributes:
        turn: Of the axes.
        box: What is shown, in turned arrays.
        spacing_kji_mm: Of these.
        edit_axis: The array axis that edited slices are perpendicular to.
        edited: Indices of the edited slices in the turned arrays.
        shown: Index in the volume's own array of the slice to show along that axis.
        centre: Index of the slice to show along each axis.
    """

    turn: AxisMap
    box: list[tuple[int, int]]
    spacing_kji_mm: tuple[float, float, float]
    edit_axis: int
    edited: tuple[int, ...]
    shown: int
    centre: list[int]

    @classmethod
    def around(
        cls,
        volume: SourceVolume,
        mask: np.ndarray,
        edits: Sequence[SliceEdit],
        shown: tuple[int, int] | None = None,
    ) -> _View:
        """Around a mask, bool `[K, J, I]`, the edited slices and the one to show."""
        turn = axes_towards(volume, "LPS")
        k, j, i = turn.per_axis(volume.spacing_kji_mm)
        middle = edits[len(edits) // 2] if shown is None else None
        axis, index = shown if middle is None else (middle.axis, middle.index)
        edit_axis, (at, *edited) = turn.slices(axis, [index, *(edit.index for edit in edits)], volume.shape_kji[axis])
        turned = turn.apply(mask)
        box = _box_with_margin(turned, (k, j, i), edit_axis, [at, *edited])
        centre = [int(c) for c in _centre_of(turned, edit_axis, at)]
        return cls(turn, box, (k, j, i), edit_axis, tuple(edited), index, centre)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The part that is shown."""
        return np.asarray(self.turn.apply(array)[tuple(slice(start, stop) for start, stop in self.box)])

    def content(
        self, volume: SourceVolume, before: np.ndarray, after: np.ndarray, truth: np.ndarray | None
    ) -> FigureContent:
        """Everything that is drawn."""
        starts = [start for start, _ in self.box]
        k, j, i = (index - start for index, start in zip(self.centre, starts, strict=True))
        return FigureContent(
            image=self.cut(volume.channels[0]),
            before=self.cut(before),
            after=self.cut(after),
            spacing_kji_mm=self.spacing_kji_mm,
            edit_axis=self.edit_axis,
            edited=tuple(index - starts[self.edit_axis] for index in self.edited),
            shown=self.shown,
            centre=(k, j, i),
            truth=None if truth is None else self.cut(truth),
        )


def _centre_of(mask: np.ndarray, edit_axis: int, shown: int) -> list[int]:
    """The slice to show, and the middle of the mask in it (of the whole mask, or of the image, where that is empty)."""
    inside = np.argwhere(mask.take([shown], edit_axis))
    if not inside.size:
        inside = np.argwhere(mask)
    middle = np.median(inside, axis=0) if inside.size else (np.array(mask.shape) - 1) / 2
    centre = [round(float(x)) for x in middle]
    centre[edit_axis] = shown
    return centre


def _box_with_margin(
    mask: np.ndarray, spacing_kji_mm: tuple[float, float, float], edit_axis: int, edited: Sequence[int]
) -> list[tuple[int, int]]:
    inside = np.argwhere(mask)
    if not inside.size:
        return [(0, size) for size in mask.shape]
    low, high = inside.min(axis=0), inside.max(axis=0)
    low[edit_axis], high[edit_axis] = min(low[edit_axis], *edited), max(high[edit_axis], *edited)
    margin = [int(np.ceil(MARGIN_MM / mm)) for mm in spacing_kji_mm]
    return [
        (max(int(a) - m, 0), min(int(b) + m + 1, size))
        for a, b, m, size in zip(low, high, margin, mask.shape, strict=True)
    ]


def _draw(axes: Any, content: FigureContent, axis: int, mask: np.ndarray, color: str, title: str) -> None:
    index = content.centre[axis]
    rows, columns = (a for a in range(3) if a != axis)
    origin = "upper" if axis == 0 else "lower"  # anterior, or superior, is up
    low, high = np.percentile(content.image, (1, 99))
    axes.imshow(
        content.image.take(index, axis),
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        origin=origin,
        aspect=content.spacing_kji_mm[rows] / content.spacing_kji_mm[columns],
        interpolation="nearest",
    )
    if mask is content.after:
        _outline(axes, content.before.take(index, axis), BEFORE_COLOR, "dotted")
    if content.truth is not None:
        _outline(axes, content.truth.take(index, axis), TRUTH_COLOR, "dotted")
    _outline(axes, mask.take(index, axis), color, "solid")
    for edited in content.edited:
        if rows == content.edit_axis:
            axes.axhline(edited, color=EDIT_COLOR, linewidth=0.8, linestyle="dashed")
        elif columns == content.edit_axis:
            axes.axvline(edited, color=EDIT_COLOR, linewidth=0.8, linestyle="dashed")
    axes.set_title(f"{PLANES_KJI[axis]}, {title}{_slice_name(content, axis)}", color="white", fontsize=9)
    axes.set_axis_off()
    _mark_sides(axes, axis)


def _slice_name(content: FigureContent, axis: int) -> str:
    if axis != content.edit_axis:
        return ""
    edited = "edited " if content.centre[axis] in content.edited else ""
    return f" ({edited}slice {content.shown})"


def _outline(axes: Any, mask: np.ndarray, color: str, style: str) -> None:
    if not mask.any():
        return
    rows, columns = mask.shape
    padded = np.pad(mask.astype(float), 1)  # so that a mask which fills the picture has an outline too
    axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        padded,
        levels=[0.5],
        colors=[color],
        linestyles=[style],
        linewidths=1.2,
    )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(sorted((-0.5, rows - 0.5), reverse=bool(axes.yaxis_inverted())))


def _mark_sides(axes: Any, axis: int) -> None:
    """Letters of the patient's sides at the left and the right of the picture."""
    left, right = ("A", "P") if axis == 2 else ("R", "L")
    for x, letter, side in ((0.02, left, "left"), (0.98, right, "right")):
        axes.text(x, 0.5, letter, color="white", fontsize=8, ha=side, va="center", transform=axes.transAxes)
