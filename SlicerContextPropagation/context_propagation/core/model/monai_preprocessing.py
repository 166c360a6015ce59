"""What a MONAI bundle's transforms do to an image, done by our own preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.axis_map import AxisMap
from context_propagation.core.image.boxes import Box, box_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.intensity_check import ChannelExpectation
from context_propagation.core.model.segmentation_model import PreparedImage
from context_propagation.core.optional_dependency import require

IMAGE = "image"


LARGEST_SHEAR = 0.05
"""Voxels by which the network's grid may lean against the image's at the far corner."""


@dataclass(frozen=True)
class MonaiPreprocessing:
    """A bundle's own transforms; the map between the grids is read off what they did.

    Attributes:
        transforms: MONAI's dictionary transforms of "image", in order.
        channels: Names of the image channels.
    """

    transforms: tuple[Any, ...]
    channels: tuple[str, ...]

    @property
    def expectations(self) -> list[ChannelExpectation]:
        """Names alone: a bundle says no ranges."""
        return [ChannelExpectation(name) for name in self.channels]

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Run the transforms as MONAI runs them on a loaded image: axes i, j, k, coordinates RAS.

        Raises:
            UserInputError: They turn or lean the grid, so that image slices are no longer slices of the network's.
        """
        meta_tensor = require("monai.data", extra="monai").MetaTensor
        to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.ijk_to_lps
        values = torch.from_numpy(np.ascontiguousarray(volume.channels.transpose(0, 3, 2, 1)).copy())
        data: Any = {IMAGE: meta_tensor(values, affine=torch.from_numpy(to_ras), meta={"space": "RAS"})}
        for transform in self.transforms:
            data = transform(data)
        image = data[IMAGE]
        affine = np.asarray(image.affine, np.float64)
        axes, grid = _grid(np.linalg.solve(affine, to_ras), volume.shape_kji, tuple(int(n) for n in image.shape[1:]))
        network_input = image.as_tensor().to(torch.float32).contiguous()
        return PreparedImage(network_input, axes, axes.per_axis(volume.shape_kji), grid, {})


def _grid(
    to_network: np.ndarray, shape_kji: tuple[int, int, int], network_shape: tuple[int, ...]
) -> tuple[AxisMap, GridMap]:
    """The maps that take voxel (i, j, k) to the network's grid by a matrix `[4, 4]`."""
    shape_ijk = np.array(shape_kji[::-1])
    matrix = to_network[:3, :3]
    axes = [int(axis) for axis in np.abs(matrix).argmax(1)]
    steps = np.array([matrix[row, axis] for row, axis in enumerate(axes)])
    rest = np.abs(matrix).copy()
    rest[range(3), axes] = 0
    if sorted(axes) != [0, 1, 2] or (rest @ shape_ijk).max() > LARGEST_SHEAR or (steps <= 0).any():
        raise UserInputError(
            "The bundle's transforms turn, lean or mirror the grid of this image, so that its slices are not slices "
            "of the network's grid; resample the image to the bundle's orientation first, or use Spacingd without "
            "diagonal"
        )
    d, h, w = network_shape
    starts = to_network[:3, 3]
    spans = []
    for row, axis in enumerate(axes):
        inside = np.flatnonzero(_within(starts[row] + steps[row] * np.arange(shape_ijk[axis]), network_shape[row]))
        if inside.size == 0:
            raise UserInputError("The bundle's transforms leave nothing of this image; check the image")
        spans.append((int(inside[0]), int(inside[-1]) + 1))
    lines = [(float(start), float(step)) for start, step in zip(starts, steps, strict=True)]
    first, second, third = (2 - axis for axis in axes)
    crop: Box = box_of(spans)
    return AxisMap((first, second, third)), GridMap(crop, (d, h, w), (lines[0], lines[1], lines[2]))


def _within(positions: np.ndarray, size: int) -> np.ndarray:
    return (positions >= -0.5 - 1e-6) & (positions <= size - 0.5 + 1e-6)
