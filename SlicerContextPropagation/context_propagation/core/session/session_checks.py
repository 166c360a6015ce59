"""What a session refuses before anything runs: each check raises `UserInputError`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit, require_inside
from context_propagation.core.image.source_volume import SourceVolume

if TYPE_CHECKING:
    from context_propagation.core.model.segmentation_model import SegmentationModel
    from context_propagation.core.propagation.general_far import TrainedFar
    from context_propagation.core.propagation.trained_fusion import Fusion


def check_level(fusion: TrainedFar, level: int) -> None:
    """What was trained is for this decoder level."""
    if fusion.level != level:
        raise UserInputError(
            f"The fusion network was trained for decoder level {fusion.level} and the session uses level "
            f"{level}; choose level {fusion.level}"
        )


def check_folds(fusion: Fusion, model: SegmentationModel) -> None:
    """There is a fusion network for each fold."""
    if len(fusion.networks) != len(model.splits):
        raise UserInputError(
            f"There are {len(fusion.networks)} fusion network(s) and the model has {len(model.splits)} fold(s); "
            "load the folds that the fusion networks were trained with"
        )


class HasChannels(Protocol):
    """A model, wherever it computes."""

    @property
    def channels(self) -> int:
        """Number of image channels."""
        ...


def check_channels(volume: SourceVolume, model: HasChannels) -> None:
    """The image has the model's channels."""
    if volume.channels.shape[0] != model.channels:
        raise UserInputError(
            f"The image has {volume.channels.shape[0]} channel(s) and the model expects {model.channels}; "
            "give one file per channel, in the model's order"
        )


def check_shape(segmentation: np.ndarray, volume: SourceVolume) -> None:
    """A segmentation is on the image's grid."""
    if segmentation.shape != volume.shape_kji:
        raise UserInputError(
            f"The segmentation has shape {segmentation.shape} and the image {volume.shape_kji}; resample it"
        )


def check_edits(edits: Sequence[SliceEdit], volume: SourceVolume) -> None:
    """Slices of one axis, each once, that fit the image."""
    if not edits:
        raise UserInputError("No edited slice was given; redraw at least one slice")
    if len({edit.axis for edit in edits}) > 1:
        raise UserInputError("The edited slices lie on several planes; propagate one plane at a time")
    for edit in edits:
        if edit.axis not in (0, 1, 2):
            raise UserInputError(f"Axis {edit.axis}; give 0 (k), 1 (j) or 2 (i)")
        expected = tuple(n for axis, n in enumerate(volume.shape_kji) if axis != edit.axis)
        require_inside(volume.shape_kji, edit.axis, [edit.index])
        if edit.mask.shape != expected:
            raise UserInputError(f"The drawn slice has shape {edit.mask.shape}; the image's slice has {expected}")
    if len({edit.index for edit in edits}) < len(edits):
        raise UserInputError("A slice was given twice; give each edited slice once")
