"""What a network wants of an image: channels normalised, voxels of its own size; the result lies on a `GridMap`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.axis_map import AxisMap
from context_propagation.core.image.boxes import whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.intensity_check import ChannelExpectation
from context_propagation.core.model.segmentation_model import PreparedImage

SMALLEST_DEVIATION = 1e-8
"""A channel that is constant is divided by this: it becomes 0 everywhere."""


@dataclass(frozen=True)
class ChannelNormalisation:
    """What becomes of one channel's values.

    Attributes:
        name: Of the channel, e.g. "CT", "PET"; `intensity_check` warns by it.
        kind: "none"; "z-score" by the image's own mean and deviation; "clip and scale": clip to `low` and `high`, then
            subtract `mean` and divide by `std`.
        low: Lower limit of "clip and scale".
        high: Upper limit.
        mean: What becomes 0.
        std: What becomes 1; above 0.
    """

    name: str
    kind: Literal["none", "z-score", "clip and scale"] = "z-score"
    low: float = -math.inf
    high: float = math.inf
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("none", "z-score", "clip and scale"):
            raise UserInputError(f"Unknown normalisation '{self.kind}'; choose none, z-score or clip and scale")
        if not self.low < self.high or not 0 < self.std < math.inf or not math.isfinite(self.mean):
            raise UserInputError(
                f"Channel '{self.name}' is clipped to {self.low} .. {self.high}, mean {self.mean}, standard deviation "
                f"{self.std}; give a range that rises and a deviation above 0"
            )

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        """The channel `[K, J, I]`, normalised."""
        if self.kind == "none":
            return values
        if self.kind == "z-score":
            return (values - values.mean()) / values.std(correction=0).clamp(min=SMALLEST_DEVIATION)
        return (values.clamp(self.low, self.high) - self.mean) / self.std

    @property
    def expectation(self) -> ChannelExpectation:
        """The range of a channel that is clipped says what it should hold."""
        known = self.kind == "clip and scale" and math.isfinite(self.low) and math.isfinite(self.high)
        return ChannelExpectation(self.name, self.low, self.high) if known else ChannelExpectation(self.name)


class ImagePreprocessing(Protocol):
    """What a `NetworkModel` needs of a preprocessing."""

    @property
    def expectations(self) -> Sequence[ChannelExpectation]:
        """What each channel should hold, in order."""

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """The image as the network sees it."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network wants of an image.

    Attributes:
        spacing_mm: Voxel size (D, H, W) of the network's grid in mm, in its own array axes; None for the image's own.
        channels: One normalisation per channel, in the network's order.
        transpose: Network axis a shows image axis `transpose[a]`; (2, 1, 0) for networks that see i, j, k.
    """

    spacing_mm: tuple[float, float, float] | None
    channels: tuple[ChannelNormalisation, ...]
    transpose: tuple[int, int, int] = (0, 1, 2)

    def __post_init__(self) -> None:
        if self.spacing_mm is not None and not all(0 < mm < math.inf for mm in self.spacing_mm):
            raise UserInputError(f"The network's voxel size is {self.spacing_mm} mm; give three numbers above 0")
        if sorted(self.transpose) != [0, 1, 2]:
            raise UserInputError(f"The axes {self.transpose} are not 0, 1 and 2 in some order; give each once")
        if not self.channels:
            raise UserInputError("The network has no image channels; describe each in 'channels'")

    @property
    def expectations(self) -> list[ChannelExpectation]:
        """What each channel should hold, as far as it is known."""
        return [channel.expectation for channel in self.channels]

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Normalise each channel on the image's grid, then resample linearly.

        Voxel volumes coincide, as `GridMap` has it: the network's grid has as many voxels as make its voxel size
        closest to `spacing_mm`, and at least one.
        """
        axes = AxisMap(self.transpose)
        grid = self._grid(volume, axes)
        values = torch.from_numpy(axes.apply(volume.channels))
        x = torch.stack([channel.apply(v) for channel, v in zip(self.channels, values, strict=True)])
        if grid.network_shape != tuple(x.shape[1:]):
            x = F.interpolate(x[None], grid.network_shape, mode="trilinear", align_corners=False)[0]
        return PreparedImage(x.to(torch.float32), axes, axes.per_axis(volume.shape_kji), grid, {})

    def _grid(self, volume: SourceVolume, axes: AxisMap) -> GridMap:
        d, h, w = shape = axes.per_axis(volume.shape_kji)
        if self.spacing_mm is not None:
            spacing_mm = axes.per_axis(volume.spacing_kji_mm)
            d, h, w = (
                max(1, round(n * mm / wanted)) for n, mm, wanted in zip(shape, spacing_mm, self.spacing_mm, strict=True)
            )
        return GridMap(whole(shape), (d, h, w))
