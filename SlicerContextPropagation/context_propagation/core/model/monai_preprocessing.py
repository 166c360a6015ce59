"""What a MONAI bundle's transforms do to an image, done by our own preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from context_propagation.core.device import out_of_memory_reported, refuse_without_memory
from context_propagation.core.errors import UserInputError, _line
from context_propagation.core.image.axis_map import AxisMap
from context_propagation.core.image.boxes import Box, box_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.intensity_check import ChannelExpectation
from context_propagation.core.model.segmentation_model import PreparedImage
from context_propagation.core.optional_dependency import require

IMAGE = "image"


INTENSITIES = (
    *("NormalizeIntensityd", "ScaleIntensityd", "ScaleIntensityRanged"),
    *("ScaleIntensityRangePercentilesd", "ThresholdIntensityd"),
)


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
        """Names, and the range that the first change of intensities leaves as it is, where it clips to one."""
        first = next((t for t in self.transforms if type(t).__name__ in INTENSITIES), None)
        scaler = getattr(first, "scaler", None)
        clips = type(first).__name__ == "ScaleIntensityRanged" and getattr(scaler, "clip", False)
        ends = (getattr(scaler, "a_min", None), getattr(scaler, "a_max", None)) if clips else (None, None)
        low, high = (float(end) if isinstance(end, int | float) else None for end in ends)
        return [ChannelExpectation(name, low, high) for name in self.channels]

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Run the transforms as MONAI runs them on a loaded image: axes i, j, k, coordinates RAS.

        Raises:
            UserInputError: They turn or lean the grid, so that image slices are no longer slices of the network's;
                they cannot be applied, or would take more memory than there is.
        """
        meta_tensor = require("monai.data", extra="monai").MetaTensor
        to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.ijk_to_lps
        values = torch.from_numpy(np.ascontiguousarray(volume.channels.transpose(0, 3, 2, 1)).copy())
        data: Any = {IMAGE: meta_tensor(values, affine=torch.from_numpy(to_ras), meta={"space": "RAS"})}
        for transform in self.transforms:
            _refuse_huge_result(transform, data[IMAGE])
            data = _applied(transform, data)
        image = data[IMAGE]
        affine = np.asarray(image.affine, np.float64)
        axes, grid = _grid(np.linalg.solve(affine, to_ras), volume.shape_kji, tuple(int(n) for n in image.shape[1:]))
        network_input = image.as_tensor().to(torch.float32).contiguous()
        return PreparedImage(network_input, axes, axes.per_axis(volume.shape_kji), grid, {})


def _refuse_huge_result(transform: Any, image: Any) -> None:
    """What a transform would allocate is asked for before it begins; a voxel size may be wrong by powers of ten."""
    spacing, cropper = getattr(transform, "spacing_transform", None), getattr(transform, "cropper", None)
    shape = np.array(image.shape[1:], np.float64)
    if spacing is not None:
        wanted = np.resize(np.asarray(spacing.pixdim, np.float64), 3)
        own = np.linalg.norm(np.asarray(image.affine, np.float64)[:3, :3], axis=0)
        shape = np.where(wanted > 0, shape * own / np.where(wanted > 0, wanted, 1), shape)
    margin = np.asarray(getattr(cropper, "margin", 0))
    if cropper is not None and np.issubdtype(margin.dtype, np.number):
        shape = shape + 2 * np.maximum(margin, 0)
    name = type(transform).__name__
    voxels = " x ".join(f"{n:.0f}" for n in shape)
    remedy = "check the voxel sizes of image and bundle"
    refuse_without_memory(int(12 * image.shape[0] * shape.prod()), f"{name} to {voxels} voxels", remedy)


def _applied(transform: Any, data: Any) -> Any:
    try:
        with out_of_memory_reported("Preparing the image"):
            return transform(data)
    except UserInputError:
        raise
    except Exception as error:  # MONAI's transforms check their arguments with anything
        raise UserInputError(
            f"The bundle's {type(transform).__name__} cannot be applied to this image ({_line(error)}); correct its "
            "arguments in the bundle"
        ) from error


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
