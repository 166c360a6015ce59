"""The drawn slices on the grid of the cached features, as the fusion network sees them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from context_propagation.core.boxes import Box, Span
from context_propagation.core.grid import GridMap


def edit_map(
    grid: GridMap, network_box: Box, f_shape: Sequence[int], drawn: np.ndarray, axis: int, indices: Sequence[int]
) -> torch.Tensor:
    """Fractions of each cell of f that the drawn target, and that the edited slices, fill.

    Args:
        grid: The map between image voxels and the network's grid.
        network_box: The window on the network's grid.
        f_shape: (D', H', W') of f, which covers the window.
        drawn: bool, the image in network axis order; only the edited slices count.
        axis: Network axis that they are perpendicular to.
        indices: Their image indices, each once.

    Returns:
        float32 `[1, 2, D', H', W']`.
    """
    planes = np.moveaxis(drawn.take(list(indices), axis), axis, 0)
    occupied = torch.from_numpy(np.stack([planes, np.ones_like(planes)]).astype(np.float32))  # [2, P, a, b]
    overlaps = [_overlaps(grid, a, network_box[a], f_shape[a], drawn.shape[a]) for a in range(3)]
    along = overlaps.pop(axis)[:, list(indices)]
    filled = torch.einsum("cpab,ha,wb,dp->cdhw", occupied, *overlaps, along)
    return filled.movedim(1, axis + 1)[None].contiguous()


def _overlaps(grid: GridMap, axis: int, span: Span, cells: int, voxels: int) -> torch.Tensor:
    """`[cells, voxels]`: the share of each cell of f that each image voxel fills, along one axis."""
    edges = grid.image_edges(axis, np.linspace(*span, cells + 1))
    numbers = np.arange(voxels)
    shared = np.minimum(edges[1:, None], numbers + 1) - np.maximum(edges[:-1, None], numbers)
    return torch.from_numpy((np.clip(shared, 0, None) / np.diff(edges)[:, None]).astype(np.float32))
