"""The seam of the engine: a frozen 3D segmentation network cut at a decoder level.

Network-grid arrays are `[1, C, D, H, W]` tensors; a box is three `(start, stop)` pairs along D, H, W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.axis_map import AxisMap, axes_towards, turned_volume
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.intensity_check import ChannelExpectation
from context_propagation.core.model.loss import Loss
from context_propagation.core.model.target import Target
from context_propagation.core.network.split_network import SplitNetwork

PADDING_MODES = ("constant", "reflect", "replicate", "circular")


@dataclass(frozen=True)
class Padding:
    """What a network sees beyond the border of an image that is smaller than its window.

    Attributes:
        mode: As torch's `pad` has it.
        value: Of "constant".
    """

    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"
    value: float = 0.0

    def around(self, piece: torch.Tensor, widths: Sequence[int]) -> torch.Tensor:
        """A piece `[C, D, H, W]` with a border of so many voxels, last axis first, before and after.

        Raises:
            UserInputError: The image is too small to be padded so.
        """
        if not any(widths):
            return piece
        try:
            if self.mode == "constant":
                return F.pad(piece, list(widths), value=self.value)
            return F.pad(piece[None], list(widths), mode=self.mode)[0]
        except RuntimeError as error:
            raise UserInputError(
                f"The image of {tuple(piece.shape[1:])} voxels is too small to be padded by '{self.mode}' to the "
                "network's window; give a larger image"
            ) from error


NOT_FINITE = (
    "The network computes NaN or infinite values of this image, so that nothing can be predicted; check the model's "
    "weights and normalization, and the image's values"
)


def refuse_not_finite(logits: torch.Tensor) -> None:
    """Refuse logits that decide nothing: every comparison with NaN is false, which would look like an empty target.

    Raises:
        UserInputError: One of them is NaN or infinite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise UserInputError(NOT_FINITE)


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network sees it.

    Attributes:
        network_input: float32 `[C, D, H, W]`, preprocessed, on the CPU.
        axes: From the axes of the volume's arrays to the network's.
        image_shape: The volume's, in the network's axes.
        grid: The map between image voxels and the network's grid.
        properties: What the model's own postprocessing needs.
    """

    network_input: torch.Tensor
    axes: AxisMap
    image_shape: tuple[int, int, int]
    grid: GridMap
    properties: dict[str, Any]


def prepared_as_trained(
    volume: SourceVolume, orientation: str | None, prepare: Callable[[SourceVolume], PreparedImage]
) -> PreparedImage:
    """Preprocess a volume after its arrays were turned to the orientation that a network was trained in.

    Args:
        volume: The image.
        orientation: Letters that i, j, k shall run towards, or None.
        prepare: What preprocesses arrays as they are.

    Raises:
        UserInputError: The image cannot be preprocessed.
    """
    turn = axes_towards(volume, orientation)
    prepared = prepare(turned_volume(volume, turn))
    return replace(prepared, axes=turn.then(prepared.axes))


class SegmentationModel(Protocol):
    """A frozen segmentation model with its own pre- and postprocessing; nothing else knows more of it.

    Attributes:
        splits: One split network per fold.
        folds: Their names: "0", "1", ... or "all".
        patch_size: (D, H, W) that the network was trained on.
        total_stride: (D, H, W) that divides every window.
        content_hash: SHA-256 of what decides predictions.
        target: The label that is refined.
        target_name: Its name.
        orientation: Letters that i, j, k are reoriented to before the network sees the image, or None.
        channels: Number of image channels.
        channel_names: Their names.
        channel_expectations: What each channel should hold, as far as it is known.
        padding: What the network sees beyond the border of a small image.
        loss: The loss that the network was trained with; updates and fusion networks are trained with it.
        device: Where it computes.
    """

    splits: tuple[SplitNetwork, ...]
    folds: tuple[str, ...]
    patch_size: tuple[int, int, int]
    total_stride: tuple[int, int, int]
    content_hash: str
    target: Target
    target_name: str
    orientation: str | None
    channels: int
    channel_names: Sequence[str]
    channel_expectations: Sequence[ChannelExpectation]
    padding: Padding
    loss: Loss
    device: torch.device

    def with_label(self, label: str | int) -> SegmentationModel | None:
        """The same frozen networks for another of their labels; None where the folder must be loaded for it."""

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Preprocess an image, whichever way its arrays run."""

    def predict(
        self,
        prepared: PreparedImage,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> np.ndarray:
        """The initial prediction: bool `[K, J, I]` in the volume's own axes, the target."""

    def prediction_bytes(self, grid: GridMap) -> int:
        """Bytes of main memory that `predict` needs at its peak beside the network itself, an estimate."""

    def target_logit(self, logits: torch.Tensor) -> torch.Tensor:
        """`[N, C, ...]` to `[N, ...]`: above 0 where the target is more likely than all else together."""

    def target_margin(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """`[N, ...]`, -1 to 1, from the mean of the folds' probabilities: above 0 exactly where it `is_target`.

        The target's probability less the largest other one; for a region 2 p - 1.
        """

    def deciding_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """`[N, C, ...]` to `[N, c, ...]`: the fewest numbers that decide on the target, linear in the logits.

        So interpolating them is as good as interpolating all logits: one channel of a region, or of a target against
        the background alone, the log odds; all logits where there are more labels.
        """

    def margin_of_deciding(self, fold_logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """`target_margin` from each fold's `deciding_logits`."""

    def is_target(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """Bool `[N, ...]`: the target label after averaging the folds' probabilities."""
