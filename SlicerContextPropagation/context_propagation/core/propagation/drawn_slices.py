"""Drawn slices as the network sees them, and what of them a window must decode to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.image.boxes import Box, box_of, dilate, intersection, whole

IN_PLANE_BORDER = 8
"""Image voxels around the drawing and the prediction on which the loss is counted."""


@dataclass(frozen=True)
class SliceTarget:
    """What a window must decode to. All in network axis order.

    Attributes:
        axis: Network axis that the slices are perpendicular to.
        indices: Their image indices.
        plane_box: The box of each slice on which the loss is counted; its span along `axis` is ignored.
        drawn: bool, the image in network axis order.
    """

    axis: int
    indices: tuple[int, ...]
    plane_box: Box
    drawn: np.ndarray

    def box_at(self, index: int) -> Box:
        """The loss box on one slice."""
        spans = list(self.plane_box)
        spans[self.axis] = (index, index + 1)
        return box_of(spans)

    def box(self) -> Box:
        """The loss box around all slices."""
        spans = list(self.plane_box)
        spans[self.axis] = (min(self.indices), max(self.indices) + 1)
        return box_of(spans)


def slice_target(
    axis: int, indices: Sequence[int], drawn: np.ndarray, window_prediction: np.ndarray, limits: Box
) -> SliceTarget | None:
    """The loss box: around drawing and prediction on the edited slices, with a border, within the window.

    Args:
        axis: Network axis of the edit.
        indices: Edited slices.
        drawn: bool, the image in network axis order; only the edited slices count.
        window_prediction: bool, R_0, the same.
        limits: The image voxels that the window decodes.

    Returns:
        None where the window has no part in the edit.
    """
    used = tuple(index for index in indices if limits[axis][0] <= index < limits[axis][1])
    if not used:
        return None
    either = (drawn.take(used, axis) | window_prediction.take(used, axis)).any(axis=axis)
    if not either.any():
        return None
    spans = list(limits)
    for number, plane_axis in enumerate(a for a in range(3) if a != axis):
        touched = np.flatnonzero(either.any(axis=1 - number))
        spans[plane_axis] = (int(touched[0]), int(touched[-1]) + 1)
    border = [IN_PLANE_BORDER] * 3
    border[axis] = 0
    box = intersection(dilate(box_of(spans), tuple(border), whole(drawn.shape)), limits)
    return None if box is None else SliceTarget(axis, used, box, drawn)


@dataclass(frozen=True)
class NetworkEdit:
    """Drawn slices as the network sees them: all arrays are the image in network axis order.

    Attributes:
        axis: Network axis that the slices are perpendicular to.
        indices: Their image indices.
        drawn: bool; only the drawn slices count.
        window_prediction: bool, R_0.
    """

    axis: int
    indices: tuple[int, ...]
    drawn: np.ndarray
    window_prediction: np.ndarray

    def is_satisfied(self) -> bool:
        """Whether R_0 shows the drawing already."""
        drawn, said = (mask.take(self.indices, self.axis) for mask in (self.drawn, self.window_prediction))
        return bool((drawn == said).all())

    def target(self, limits: Box, indices: Sequence[int] | None = None) -> SliceTarget | None:
        """What a window that decodes `limits` must decode to, on all slices or some; see `slice_target`."""
        chosen = self.indices if indices is None else indices
        return slice_target(self.axis, chosen, self.drawn, self.window_prediction, limits)
