"""What a clinician would use instead of propagation: interpolation between contours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.optional_dependency import require

STEPS = (5, 10)
"""Distances of the key frames from the drawn slice, in slices, that are reported."""


def interpolated_between(baseline: np.ndarray, edit: SliceEdit, step: int) -> np.ndarray:
    """Fill the slices between a drawn slice and the accepted slices at s - step and s + step.

    Where such a key frame lies outside the volume or is empty, the farthest slice with content in that direction
    within the step takes its place; where there is none, that side stays baseline. An empty drawing has no contour to
    interpolate from: both sides stay baseline and only the drawn slice is emptied.

    Args:
        baseline: bool `[K, J, I]`.
        edit: The drawn slice.
        step: Distance of the key frames, in slices along the edit's axis.

    Returns:
        bool `[K, J, I]`: the drawn slice as drawn, interpolated slices between the key frames, baseline elsewhere.

    Raises:
        MissingDependencyError: ITK's filter is not installed.

    Source: Zukic et al., ND morphological contour interpolation, Insight Journal 2016; "Fill between slices" of 3D
    Slicer runs the same filter.
    """
    result = baseline.astype(bool)
    slices = np.moveaxis(result, edit.axis, 0)
    slices[edit.index] = edit.mask
    if not edit.mask.any():
        return result
    for direction in (-1, 1):
        key = _key_frame(slices, edit.index, direction, step)
        if key is not None:
            low, high = sorted((key, edit.index))
            slices[low + 1 : high] = _between(slices[low], slices[high], high - low)
    return result


def interpolated_through(baseline: np.ndarray, edits: Sequence[SliceEdit]) -> np.ndarray:
    """Fill the slices between the drawn ones; baseline outside of them, and beside an empty drawing.

    Args:
        baseline: bool `[K, J, I]`.
        edits: The drawn slices, of one axis.

    Returns:
        bool `[K, J, I]`.

    Raises:
        MissingDependencyError: ITK's filter is not installed.
    """
    result = baseline.astype(bool)
    slices = np.moveaxis(result, edits[0].axis, 0)
    drawn = sorted(edits, key=lambda edit: edit.index)
    for edit in drawn:
        slices[edit.index] = edit.mask
    for low, high in pairwise(drawn):
        if low.mask.any() and high.mask.any():
            slices[low.index + 1 : high.index] = _between(low.mask, high.mask, high.index - low.index)
    return result


@cache
def prepare_interpolation() -> None:
    """Load ITK's filter, once in a process; the first time on a machine it is compiled, which takes about 8 seconds.

    Raises:
        MissingDependencyError: ITK's filter is not installed.
    """
    first, last = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    first[3:5, 3:5] = last[2:6, 2:6] = True
    _between(first, last, 2)


def _key_frame(slices: np.ndarray, index: int, direction: int, step: int) -> int | None:
    """The farthest slice with content in a direction within the step."""
    for distance in range(step, 0, -1):
        candidate = index + direction * distance
        if 0 <= candidate < len(slices) and slices[candidate].any():
            return candidate
    return None


def _between(first: np.ndarray, last: np.ndarray, gap: int) -> np.ndarray:
    """The gap - 1 slices between two non-empty ones, bool `[gap - 1, rows, columns]`."""
    if gap < 2:
        return np.zeros((0, *first.shape), bool)
    require("wasmtime", extra="evaluation")
    itkwasm = require("itkwasm", extra="evaluation")
    require("itkwasm_morphological_contour_interpolation_wasi", extra="evaluation")
    interpolation = require("itkwasm_morphological_contour_interpolation", extra="evaluation")
    stack = np.zeros((gap + 1, *first.shape), np.uint8)
    stack[0], stack[gap] = first, last
    image = itkwasm.Image(
        itkwasm.ImageType(dimension=3, componentType="uint8"),
        origin=[0.0] * 3,
        spacing=[1.0] * 3,
        direction=np.eye(3),
        size=list(stack.shape[::-1]),
        data=stack,
    )
    # ITK's axis 2 is k. Its default, the cross, is what version 2.0.0 of this package takes for a "ball".
    filled = interpolation.morphological_contour_interpolation(image, axis=2, use_ball_structuring_element=True)
    return np.asarray(filled.data)[1:gap].astype(bool)
