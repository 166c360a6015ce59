"""The map between image voxels and the network's grid.

A network may see the image cropped and resampled; all here is in the network's axes, which `AxisMap` leads to. An image
axis index i lies at network coordinate
(c + 0.5) * N / n - 0.5, where c is i within the crop, n the crop's and N the network's size: voxel volumes coincide.
Where a model resamples another way, its map says itself where index 0 lies and how far apart indices are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.image.boxes import Box, Span, box_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GridMap:
    """The map between image voxels and the network's grid (d, h, w), both in the network's axes.

    Attributes:
        crop: The box of the image that the network sees.
        network_shape: Size (D, H, W) of the network's grid, after resampling.
        linear: For each network axis (start, step): image index i lies at network coordinate start + step * i; None
            where voxel volumes coincide.
    """

    crop: Box
    network_shape: tuple[int, int, int]
    linear: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] | None = None

    def support(self, box: Box) -> Box:
        """The network box from which image voxels (inside the crop) are interpolated."""
        spans = []
        for axis, span in enumerate(box):
            lower, upper, _ = self._linear(axis, span)
            spans.append((int(lower[0]), int(upper[-1]) + 1))
        return box_of(spans)

    def covered(self, network_box: Box) -> Box | None:
        """The image voxels whose support lies inside a network box."""
        spans = []
        for axis, (start, stop) in enumerate(network_box):
            lower, upper, _ = self._linear(axis, self.crop[axis])
            inside = np.flatnonzero((lower >= start) & (upper < stop))
            if inside.size == 0:
                return None
            spans.append((self.crop[axis][0] + int(inside[0]), self.crop[axis][0] + int(inside[-1]) + 1))
        return box_of(spans)

    def image_edges(self, axis: int, edges: np.ndarray) -> np.ndarray:
        """Where edges between voxels of the network's grid lie between image voxels.

        Args:
            axis: Network axis.
            edges: Voxel v of the network's grid lies between edges v and v + 1.

        Returns:
            Edges of the image's grid: voxel i lies between i and i + 1.
        """
        if self.linear is None:
            start, stop = self.crop[axis]
            return np.asarray(start + (stop - start) / self.network_shape[axis] * edges)
        first, step = self.linear[axis]
        return np.asarray((edges - 0.5 - first) / step + 0.5)

    def to_image(self, logits: torch.Tensor, origin: tuple[int, ...], box: Box) -> torch.Tensor:
        """Interpolate logits linearly to image voxels; differentiable.

        Args:
            logits: `[1, C, d, h, w]`, a piece of the network's grid that starts at `origin`.
            origin: (d, h, w) of its first voxel.
            box: Image voxels; their support lies inside the piece.

        Returns:
            `[1, C, a, b, c]`.
        """
        import torch

        for axis, span in enumerate(box):
            lower, upper, weight = self._linear(axis, span)
            dim = axis + 2
            low, high = int(lower[0]) - origin[axis], int(upper[-1]) - origin[axis]
            if not weight.any() and high - low + 1 == span[1] - span[0]:
                logits = logits.narrow(dim, low, high - low + 1)
                continue
            shape = [1] * logits.ndim
            shape[dim] = -1
            w = torch.as_tensor(weight, dtype=logits.dtype, device=logits.device).view(shape)
            below = logits.index_select(dim, torch.as_tensor(lower - origin[axis], device=logits.device))
            above = logits.index_select(dim, torch.as_tensor(upper - origin[axis], device=logits.device))
            logits = below + w * (above - below)
        return logits

    def _linear(self, axis: int, span: Span) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each image index in the span: its lower and upper network neighbour and the upper one's weight."""
        start, stop = self.crop[axis]
        size = self.network_shape[axis]
        if self.linear is None:
            position = (np.arange(*span) - start + 0.5) * (size / (stop - start)) - 0.5
        else:
            position = self.linear[axis][0] + self.linear[axis][1] * np.arange(*span)
        position = np.clip(position, 0, size - 1)
        lower = np.floor(position + 1e-9).astype(np.int64)
        weight = np.clip(position - lower, 0, None)
        weight[weight < 1e-9] = 0
        return lower, np.minimum(lower + (weight > 0), size - 1), weight
