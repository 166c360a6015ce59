"""A `SegmentationModel` around any split networks: preprocessing and output are said in a few lines, not trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.device import out_of_memory_reported
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.decoded_target import PIECE_VOXELS, decoded_target
from context_propagation.core.model.intensity_check import ChannelExpectation
from context_propagation.core.model.largest_components import LargestComponents
from context_propagation.core.model.loss import Loss
from context_propagation.core.model.preprocessing import ImagePreprocessing
from context_propagation.core.model.segmentation_model import (
    Padding,
    PreparedImage,
    prepared_as_trained,
    refuse_not_finite,
)
from context_propagation.core.model.target import Target, chosen_label
from context_propagation.core.model.target_rule import DecidesByRule, TargetRule
from context_propagation.core.network.split_network import SplitNetwork
from context_propagation.core.optional_dependency import require


@dataclass(frozen=True)
class Output:
    """What the network's output channels mean.

    Attributes:
        labels: The name of each output channel; with "softmax" the first is the background.
        target: The name of the one that is refined.
        activation: "softmax" where labels exclude each other, "sigmoid" where each channel is a region of its own.
        region: The target, where its value in a labelmap is not its number or it lies in others; else None.
    """

    labels: tuple[str, ...]
    target: str
    activation: Literal["softmax", "sigmoid"] = "softmax"
    region: Target | None = None

    def __post_init__(self) -> None:
        if self.activation not in ("softmax", "sigmoid"):
            raise UserInputError(f"Unknown activation '{self.activation}'; choose softmax or sigmoid")
        if len(set(self.labels)) < len(self.labels) or len(self.labels) <= self._first:
            raise UserInputError(
                f"The output channels are {', '.join(self.labels) or 'none'}; name each once"
                + (", the background first" if self._first else "")
            )
        chosen_label(*self._foreground, self.target)

    @classmethod
    def of(
        cls, labels: Sequence[str], label: str | int | None, activation: Literal["softmax", "sigmoid"] = "softmax"
    ) -> Output:
        """An output whose target is named by the user.

        Args:
            labels: See `Output`.
            label: Name or value of the target; None where there is only one.
            activation: See `Output`.

        Raises:
            UserInputError: The label is unknown, or not given where there are several.
        """
        first = 1 if activation == "softmax" else 0
        names = list(labels)[first:]
        return cls(tuple(labels), names[chosen_label(names, range(1, len(names) + 1), label)], activation)

    @property
    def _first(self) -> int:
        return 1 if self.activation == "softmax" else 0

    @property
    def _foreground(self) -> tuple[list[str], list[int]]:
        names = list(self.labels)[self._first :]
        return names, list(range(1, len(names) + 1))

    @property
    def chosen(self) -> Target:
        """The target; in a labelmap it is `region`, or has its number among the foreground labels, from 1."""
        if self.region is not None:
            return self.region
        number = chosen_label(*self._foreground, self.target)
        return Target(self._foreground[0][number], number + self._first, (number + 1,))


@dataclass(frozen=True)
class SlidingWindow:
    """How the windows of the initial prediction are put together.

    Attributes:
        overlap: Share of a window that the next one covers too, along D, H, W; at least 0, below 1.
        weights: "gaussian" counts a window's middle more than its border, "constant" counts all alike.
        sigma_scale: The deviation of "gaussian" along D, H, W, as a share of the window.
    """

    overlap: tuple[float, float, float] = (0.5, 0.5, 0.5)
    weights: Literal["gaussian", "constant"] = "gaussian"
    sigma_scale: tuple[float, float, float] = (0.125, 0.125, 0.125)

    def __post_init__(self) -> None:
        if not all(0 <= share < 1 for share in self.overlap) or self.weights not in ("gaussian", "constant"):
            raise UserInputError(
                f"Windows overlap by {self.overlap} with {self.weights} weights; give 0 or more and less than 1, and "
                "gaussian or constant"
            )


class NetworkModel(DecidesByRule):
    """See `SegmentationModel`.

    Args:
        splits: One split network per fold, on the device, in evaluation mode.
        preprocessing: What the network wants of an image.
        output: What its output channels mean.
        patch_size: (D, H, W) of the windows of the initial prediction; the least that is cached around a target.
        content_hash: SHA-256 of what decides predictions: see `content_hash.content_hash`.
        device: Where the networks are.
        orientation: Letters such as "LPS" that i, j, k are reoriented to before the network sees the image, or None.
        loss: The loss that the network was trained with.
        folds: Names of the splits; "0", "1", ... by default.
        sliding_window: Of the initial prediction.
        padding: What the networks see beyond the border of a small image.
        largest: What of the predicted target is kept; None for all.

    Raises:
        UserInputError: The patch size is not divided by the networks' strides.
    """

    def __init__(
        self,
        splits: Sequence[SplitNetwork],
        preprocessing: ImagePreprocessing,
        output: Output,
        *,
        patch_size: tuple[int, int, int],
        content_hash: str,
        device: torch.device,
        orientation: str | None = None,
        loss: Loss = "dice and cross-entropy",
        folds: Sequence[str] | None = None,
        sliding_window: SlidingWindow | None = None,
        padding: Padding | None = None,
        largest: LargestComponents | None = None,
    ) -> None:
        if not splits:
            raise UserInputError("The model has no network; give at least one")
        self.splits: tuple[SplitNetwork, ...] = tuple(splits)
        self.folds = tuple(folds) if folds is not None else tuple(str(number) for number in range(len(splits)))
        self.preprocessing, self.output = preprocessing, output
        self.sliding_window = sliding_window or SlidingWindow()
        self.padding = padding or Padding()
        self.largest = largest
        d, h, w = patch_size
        self.patch_size = (d, h, w)
        self.total_stride = self.splits[0].total_stride
        if any(n < 1 or n % stride for n, stride in zip(patch_size, self.total_stride, strict=True)):
            raise UserInputError(
                f"The patch size {tuple(patch_size)} is not a multiple of the network's strides {self.total_stride}; "
                "give one that is"
            )
        self.content_hash = content_hash
        self.device = device
        self.orientation = orientation
        self.loss: Loss = loss
        self.target = output.chosen
        self.target_name = self.target.name
        self.channel_expectations: Sequence[ChannelExpectation] = preprocessing.expectations
        self.channels = len(self.channel_expectations)
        self.channel_names: Sequence[str] = [expected.name for expected in self.channel_expectations]
        self._rule = TargetRule(self.target.channel, output.activation == "sigmoid")

    def with_label(self, label: str | int) -> None:
        """None: what is kept of the prediction is said for one label. See `SegmentationModel`."""
        return None

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Turn to the training's orientation, normalise, transpose and resample."""
        return prepared_as_trained(volume, self.orientation, self.preprocessing.prepare)

    @torch.no_grad()
    def predict(
        self,
        prepared: PreparedImage,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> np.ndarray:
        """The initial prediction: a sliding window with Gaussian weights, its logits interpolated to the image.

        Returns:
            bool `[K, J, I]` in the volume's own axes, the target; False where the network sees nothing.

        Raises:
            Cancelled: The user cancelled between two windows.
            UserInputError: The networks compute NaN or infinite logits, or the image is too small to be padded.
            MissingDependencyError: MONAI is not installed.
        """
        logits = [self._sliding_window_logits(fold, prepared, progress, cancelled) for fold in range(len(self.splits))]
        grid = prepared.grid
        labels = np.zeros(prepared.image_shape, bool)
        labels[slices_of(grid.crop)] = decoded_target(self, grid, logits, (0, 0, 0), grid.crop)
        progress("predict", 1.0)
        return prepared.axes.undo(labels if self.largest is None else self.largest.of(labels))

    def _sliding_window_logits(
        self, fold: int, prepared: PreparedImage, progress: Progress, cancelled: CancelCheck
    ) -> torch.Tensor:
        """Logits `[1, C, D, H, W]` of one fold on the network's grid, on the CPU."""
        inferers = require("monai.inferers", extra="monai")
        split, folds = self.splits[fold], len(self.splits)
        windows = self.sliding_window
        total, done = _window_count(prepared.grid.network_shape, self.patch_size, windows.overlap), 0

        def window_logits(x: torch.Tensor) -> torch.Tensor:
            nonlocal done
            if cancelled():
                raise Cancelled
            progress("predict", (fold + min(1.0, done / total)) / folds)
            done += 1
            return split.encode(x, 1).logits

        missing = [max(0, size - n) for size, n in zip(self.patch_size, prepared.grid.network_shape, strict=True)]
        border = [width for n in reversed(missing) for width in (n // 2, n - n // 2)]
        with out_of_memory_reported("Predicting"):
            logits: Any = inferers.sliding_window_inference(
                self.padding.around(prepared.network_input, border)[None],
                self.patch_size,
                sw_batch_size=1,
                predictor=window_logits,
                overlap=windows.overlap,
                mode=windows.weights,
                sigma_scale=windows.sigma_scale,
                sw_device=self.device,
                device=torch.device("cpu"),
            )
        found = cast(torch.Tensor, logits)
        for axis, (n, before) in enumerate(zip(prepared.grid.network_shape, border[-2::-2], strict=True)):
            found = found.narrow(axis + 2, before, n)
        refuse_not_finite(found)
        return found

    def prediction_bytes(self, grid: GridMap) -> int:
        """See `SegmentationModel`. Logits on the network's grid with what puts windows together, and a piece of the
        image that is decided on.
        """
        labels, image_voxels = len(self.output.labels), math.prod(stop - start for start, stop in grid.crop)
        network_voxels = math.prod(grid.network_shape)
        piece_voxels = min(PIECE_VOXELS, image_voxels)
        return len(self.splits) * 8 * labels * network_voxels + 16 * labels * piece_voxels + image_voxels


def _window_count(shape: Sequence[int], patch: Sequence[int], overlap: Sequence[float]) -> int:
    """How many windows cover a grid."""
    count = 1
    for n, size, share in zip(shape, patch, overlap, strict=True):
        step = max(1, int(size * (1 - share)))
        count *= 1 if n <= size else 1 + -(-(n - size) // step)
    return count
