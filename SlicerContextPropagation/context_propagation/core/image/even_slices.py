"""Slices that lie unevenly, such as 3 and 5 mm apart, as an even stack: planned, said in words, computed, taken back.

The even stack is as fine as the finest distance, and lies so that as many acquired slices as can be are on it, as they
are. The image of every other even slice is linear between the two acquired slices beside it; its mask is that of the
nearest acquired slice. No mask is lost by that: each acquired slice is the source of an even slice of its own, from
which `back` takes it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import Cancelled, UserInputError

TOLERANCE = 0.1
"""How far a slice may lie from its place on the even stack, in voxels, over the whole stack."""


ROUNDING_MM = 0.1
"""What headers that round positions to a tenth of a millimetre move a slice against the first and the last one."""


LARGEST_TOLERANCE = 0.25
"""Of thin slices, with that rounding; in voxels."""


LARGEST_GROWTH = 5
"""How many times as many slices an even stack may have."""


MOST_RUNS = 4
"""How many stretches of one distance are told one by one."""


def allowed_offset(sizes_mm: np.ndarray) -> np.ndarray:
    """How far a voxel of this size may be off along each axis, in voxels, and still lie in its place."""
    return np.maximum(TOLERANCE, np.minimum(ROUNDING_MM / sizes_mm, LARGEST_TOLERANCE) + 1e-9)


@dataclass(frozen=True)
class EvenSlices:
    """An even stack in place of an acquired one.

    Attributes:
        acquired_mm: float `[A]`, where each acquired slice lies along the normal; increasing from 0.
        step_mm: Between even slices.
        own: int `[A]`, the even slice that each acquired slice is the source of; increasing from 0, all different.
        start_mm: Where the first even slice lies.
    """

    acquired_mm: np.ndarray
    step_mm: float
    own: np.ndarray
    start_mm: float

    @property
    def count(self) -> int:
        """How many even slices there are."""
        return int(self.own[-1]) + 1

    @cached_property
    def even_mm(self) -> np.ndarray:
        """Where each even slice lies along the normal, float `[E]`."""
        return self.start_mm + self.step_mm * np.arange(self.count)

    @property
    def acquired_index(self) -> np.ndarray:
        """Where acquired slices lie between even ones, float `[A]`: 1.5 is half way from the second to the third."""
        return np.asarray((self.acquired_mm - self.start_mm) / self.step_mm)

    @cached_property
    def as_acquired(self) -> np.ndarray:
        """The acquired slice that an even slice is, int `[E]`; -1 where it is computed from those beside it."""
        result = np.full(self.count, -1)
        off = np.abs(self.acquired_index - self.own)
        there = np.flatnonzero(off <= allowed_offset(np.array(self.step_mm)))
        result[self.own[there]] = there
        return result

    @cached_property
    def source(self) -> np.ndarray:
        """The acquired slice from which an even slice has its mask, int `[E]`."""
        middles = (self.acquired_mm[1:] + self.acquired_mm[:-1]) / 2
        result = np.searchsorted(middles, self.even_mm)
        result[self.own] = np.arange(len(self.own))
        return result

    @property
    def computed_count(self) -> int:
        """How many even slices are computed from those beside them."""
        return int((self.as_acquired < 0).sum())

    def image(
        self, voxels: np.ndarray, progress: Progress = no_progress, cancelled: CancelCheck = never_cancelled
    ) -> np.ndarray:
        """An image on the even stack.

        Args:
            voxels: `[A, J, I]`.
            progress: Told after each slice.
            cancelled: Asked before each slice.

        Returns:
            float32 `[E, J, I]`. Beyond the first and the last acquired slice it is as they are.

        Raises:
            Cancelled: `cancelled` returned true.
        """
        result = np.empty((self.count, *voxels.shape[1:]), np.float32)
        at = np.interp(self.even_mm, self.acquired_mm, np.arange(len(self.acquired_mm)))
        for k, same in enumerate(self.as_acquired):
            if cancelled():
                raise Cancelled
            below = int(same if same >= 0 else at[k])
            weight = 0.0 if same >= 0 else at[k] - below
            result[k] = voxels[below]
            if weight:
                result[k] += np.float32(weight) * (voxels[below + 1].astype(np.float32) - result[k])
            progress("resample", (k + 1) / self.count)
        return result

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask `[A, J, I]` on the even stack, bool `[E, J, I]`."""
        return np.asarray(mask[self.source])

    def back(self, mask: np.ndarray) -> np.ndarray:
        """A mask `[E, J, I]` of the even stack on the acquired slices, bool `[A, J, I]`: each from its own."""
        return np.asarray(mask[self.own])

    @property
    def distances(self) -> str:
        """How the acquired slices lie, in words: "3 mm apart (slices 0 to 30) and 5 mm apart (slices 30 to 48)"."""
        if not self.computed_count:
            return f"{self.step_mm:.4g} mm apart, but for rounding"
        gaps = np.diff(self.acquired_mm)
        runs = _runs(gaps)
        if len(runs) > MOST_RUNS:
            return f"between {gaps.min():.4g} and {gaps.max():.4g} mm apart"
        told = [f"{gap_mm:.4g} mm apart (slices {first} to {last})" for first, last, gap_mm in runs]
        return f"{', '.join(told[:-1])} and {told[-1]}" if told[1:] else told[0]

    @property
    def change(self) -> str:
        """What the even stack is, in words."""
        if not self.computed_count:
            return f"{self.count} slices {self.step_mm:.4g} mm apart, all as they were acquired"
        kept = self.count - self.computed_count
        return (
            f"{self.count} slices {self.step_mm:.4g} mm apart in place of {len(self.acquired_mm)}: {kept} as they were "
            f"acquired, {self.computed_count} computed from the two beside them"
        )


def even_slices(what: str, acquired_mm: np.ndarray) -> EvenSlices:
    """Plan the even stack.

    Args:
        what: Starts the message, such as "Volume 'CT'".
        acquired_mm: float `[A]`, where each slice lies along the normal, from the first one on.

    Raises:
        UserInputError: Less than two slices, slices that do not follow each other, or that lie so unevenly that an even
            stack would be far larger.
    """
    acquired = np.asarray(acquired_mm, float) - acquired_mm[0]
    gaps = np.diff(acquired)
    if not gaps.size or gaps.min() < 1e-3:
        raise UserInputError(f"{what} has slices that do not follow each other along their normal; load it anew")
    mean = float(acquired[-1] / gaps.size)
    if (np.abs(acquired / mean - np.arange(acquired.size)) <= allowed_offset(np.array(mean))).all():
        return EvenSlices(acquired, mean, np.arange(acquired.size), 0.0)
    step = float(gaps[gaps <= gaps.min() + _gap_tolerance(gaps.min())].mean())
    if acquired[-1] / step > LARGEST_GROWTH * acquired.size:
        raise UserInputError(
            f"{what} has slices between {gaps.min():.4g} and {gaps.max():.4g} mm apart: evenly, they would be more "
            f"than {LARGEST_GROWTH} times as many; leave out slices that do not belong to it"
        )
    steps = (acquired - acquired[:, None]) / step
    anchor = int((np.abs(steps - np.round(steps)) <= allowed_offset(np.array(step))).sum(axis=1).argmax())
    own = np.floor(steps[anchor] + 0.5 + 1e-6).astype(int)
    for k in range(1, own.size):
        own[k] = max(own[k], own[k - 1] + 1)
    return EvenSlices(acquired, step, own - own[0], float(acquired[anchor] + own[0] * step))


def _gap_tolerance(gap_mm: float) -> float:
    """By how much distances differ that are meant to be one."""
    return max(TOLERANCE * gap_mm, ROUNDING_MM) + 1e-9


def _runs(gaps: np.ndarray) -> list[tuple[int, int, float]]:
    """Stretches of one distance: first and last slice, and the mean distance."""
    starts = [0]
    for k in range(1, gaps.size):
        if abs(gaps[k] - gaps[starts[-1]]) > _gap_tolerance(gaps[starts[-1]]):
            starts.append(k)
    return [(first, last, float(gaps[first:last].mean())) for first, last in pairwise([*starts, gaps.size])]
