"""What an edit made worse elsewhere: the regression rate and the share of far voxels changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.measures.accuracy import scope_slices

DSC_FALL = 0.02
"""A slice has regressed where its DSC falls by more than this."""


ALLOWED_REGRESSION = 0.01
"""By default, the share of slices that may regress on the cases on which a network's thresholds are chosen; a quarter
of it on the phantoms that choose the general far network's."""


_ROUNDING = 1e-9


@dataclass(frozen=True)
class RegressionCount:
    """Slices that nobody edited.

    Attributes:
        regressed: How many of them became worse.
        untouched: How many there are.
    """

    regressed: int
    untouched: int

    @property
    def rate(self) -> float:
        """Share of untouched slices that became worse; 0 where there is none."""
        return self.regressed / self.untouched if self.untouched else 0.0


@dataclass(frozen=True)
class ChangeCount:
    """Voxels on far slices.

    Attributes:
        changed: How many of them have another label than before.
        voxels: How many there are, background included.
    """

    changed: int
    voxels: int

    @property
    def share(self) -> float:
        """Share of far voxels changed; 0 where there is none."""
        return self.changed / self.voxels if self.voxels else 0.0


def slice_dsc(predicted: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    """DSC (Eq. 8) of every slice of two masks, bool `[K, J, I]`; 1 for an empty slice predicted empty.

    Returns:
        float64, one for each slice along `axis`.
    """
    plane = tuple(a for a in range(3) if a != axis)
    overlap = (predicted & truth).sum(axis=plane)
    size = predicted.sum(axis=plane) + truth.sum(axis=plane)
    return np.where(size == 0, 1.0, 2 * overlap / np.maximum(size, 1))


def regressed_slices(
    before: np.ndarray, after: np.ndarray, truth: np.ndarray, axis: int, untouched: Sequence[int]
) -> RegressionCount:
    """Count the slices whose DSC falls by more than 0.02.

    Args:
        before: bool `[K, J, I]`, the segmentation before the edit.
        after: bool `[K, J, I]`, after it.
        truth: bool `[K, J, I]`.
        axis: Array axis that the slices are perpendicular to.
        untouched: Indices of the slices that count: those that nobody edited.
    """
    fall = slice_dsc(before, truth, axis) - slice_dsc(after, truth, axis)
    counted = sorted(set(untouched))
    return RegressionCount(int((fall[counted] > DSC_FALL + _ROUNDING).sum()), len(counted))


def far_voxels_changed(
    before: np.ndarray, after: np.ndarray, axis: int, indices: Sequence[int], neighbours: int
) -> ChangeCount:
    """Count the voxels that changed on far slices: all but s - n ... s + n of every edited slice s.

    Args:
        before: bool `[K, J, I]`.
        after: bool `[K, J, I]`.
        axis: Array axis that the edited slices are perpendicular to.
        indices: The edited slices.
        neighbours: n: how many slices on each side are near.
    """
    far = scope_slices("far", before.shape[axis], indices, neighbours)
    changed = np.moveaxis(before ^ after, axis, 0)[far]
    return ChangeCount(int(changed.sum()), int(changed.size))
