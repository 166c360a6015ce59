"""Carry voxels from one grid to another: each target voxel takes the nearest source voxel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from context_propagation.core.image.boxes import Box, box_shape

TIE_DECIMALS = 6
"""Indices are rounded to this many decimals first, so that ties between voxels fall the same way everywhere."""


def mapped_box(box: Box, target_from_source_ijk: np.ndarray) -> Box:
    """The box of target voxels that may be nearest to a voxel of a source box; a voxel too large, never too small."""
    corners_kji = np.array(list(itertools.product(*[(start - 0.5, stop - 0.5) for start, stop in box])))
    corners = np.column_stack([corners_kji[:, ::-1], np.ones(8)]) @ target_from_source_ijk.T
    low = np.floor(corners[:, :3].min(axis=0)).astype(int)
    high = np.ceil(corners[:, :3].max(axis=0)).astype(int) + 1
    (i, j, k) = zip(low.tolist(), high.tolist(), strict=True)
    return k, j, i


def pull_nearest(source: np.ndarray, source_from_target_ijk: np.ndarray, box: Box, back: bool = False) -> np.ndarray:
    """Fill a box of target voxels from the nearest source voxels.

    Args:
        source: `[K, J, I]`.
        source_from_target_ijk: float `[4, 4]`, from target indices (i, j, k) to source indices (i, j, k).
        box: Target voxels to fill; indices may be negative.
        back: The way back of a pull from target to source: of two source voxels that are equally near, the one is
            taken that would itself take this target voxel. So both ways agree where grids lie half a voxel apart.

    Returns:
        The box's shape, the source's dtype; zero where the nearest index lies outside the source. It may be a view of
        the source: it is for reading.
    """
    if is_axis_aligned(source_from_target_ijk):
        return _pull_axis_aligned(source, source_from_target_ijk, box, back)
    pulled = np.zeros(box_shape(box), source.dtype)
    j, i = np.meshgrid(np.arange(*box[1]), np.arange(*box[2]), indexing="ij")
    for row, k in enumerate(range(*box[0])):
        nearest_ijk = [
            _rounded(m[0] * i + m[1] * j + m[2] * k + m[3], back and _runs_along(m)) for m in source_from_target_ijk[:3]
        ]
        inside = np.logical_and.reduce(
            [(n >= 0) & (n < size) for n, size in zip(nearest_ijk, source.shape[::-1], strict=True)]
        )
        si, sj, sk = (n[inside] for n in nearest_ijk)
        pulled[row][inside] = source[sk, sj, si]
    return pulled


def index_of_array(matrix: np.ndarray, starts_kji: Sequence[int]) -> np.ndarray:
    """A matrix to indices of a grid, made one to indices of an array that starts at `starts_kji` of the grid."""
    shifted = matrix.copy()
    shifted[:3, 3] -= list(starts_kji)[::-1]
    return shifted


def mapped_points(points_kji: np.ndarray, source_from_target_ijk: np.ndarray) -> np.ndarray:
    """Where target voxels (k, j, i), `[N, 3]`, lie in the source: float `[N, 3]`, (k, j, i)."""
    ijk = np.column_stack([points_kji[:, ::-1], np.ones(len(points_kji))]) @ source_from_target_ijk[:3].T
    return np.asarray(ijk[:, ::-1])


def nearest_index(points_kji: np.ndarray, source_from_target_ijk: np.ndarray, back: bool = False) -> np.ndarray:
    """The nearest source indices (k, j, i), int `[N, 3]`, of target voxels (k, j, i); see `pull_nearest`."""
    points = mapped_points(points_kji, source_from_target_ijk)
    down = [back and _runs_along(row) for row in source_from_target_ijk[2::-1]]
    return np.column_stack([_rounded(points[:, axis], down[axis]) for axis in range(3)])


def _runs_along(row: np.ndarray) -> bool:
    """Whether a source index rises with the target index that it follows most."""
    return bool(row[:3][np.argmax(np.abs(row[:3]))] > 0)


def _rounded(index: np.ndarray, ties_down: bool = False) -> np.ndarray:
    index = np.round(index, TIE_DECIMALS)
    return np.asarray(np.ceil(index - 0.5) if ties_down else np.floor(index + 0.5), dtype=np.int64)


def is_axis_aligned(matrix: np.ndarray) -> bool:
    """Whether each source axis depends on one target axis, within what rounds away."""
    return bool(((np.abs(matrix[:3, :3]) > 1e-9).sum(axis=1) == 1).all()) and bool(
        ((np.abs(matrix[:3, :3]) > 1e-9).sum(axis=0) == 1).all()
    )


def _pull_axis_aligned(source: np.ndarray, matrix: np.ndarray, box: Box, back: bool) -> np.ndarray:
    axis_of = [int(np.argmax(np.abs(matrix[row, :3]))) for row in range(3)]  # source i, j, k -> target i, j, k
    takes: list[np.ndarray] = [np.empty(0)] * 3  # by target axis k, j, i
    puts: list[slice] = [slice(0)] * 3
    for row, column in enumerate(axis_of):
        start, stop = box[2 - column]
        where = matrix[row, column] * np.arange(start, stop) + matrix[row, 3]
        nearest = _rounded(where, back and _runs_along(matrix[row]))
        inside = np.flatnonzero((nearest >= 0) & (nearest < source.shape[2 - row]))  # one piece: it only rises or falls
        if not inside.size:
            return np.zeros(box_shape(box), source.dtype)
        takes[2 - column], puts[2 - column] = nearest[inside], slice(int(inside[0]), int(inside[-1]) + 1)
    order = [2 - axis_of[2 - axis] for axis in range(3)]  # source axis k, j, i -> target axis k, j, i
    taken = source
    for axis in range(3):
        taken = _taken(taken, takes[order[axis]], axis)
    taken = taken.transpose([order.index(axis) for axis in range(3)])
    if taken.shape == box_shape(box):
        return taken
    pulled = np.zeros(box_shape(box), source.dtype)
    pulled[tuple(puts)] = taken
    return pulled


def _taken(source: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    """Some slices along an axis; a view where they follow each other, as a copy of a large volume takes long."""
    steps = np.diff(indices)
    for step in (1, -1):
        if (steps == step).all():
            stop = int(indices[-1]) + step
            part = [slice(None)] * source.ndim
            part[axis] = slice(int(indices[0]), stop if stop >= 0 else None, step)
            return source[tuple(part)]
    return source.take(indices, axis)
