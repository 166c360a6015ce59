"""The two inputs that every command has: a model and an image that fits it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.intensity_check import intensity_warnings
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.files.image_files import read_source_volume

logger = logging.getLogger(__name__)


class _Request(Protocol):
    """What both requests say of the model."""

    @property
    def model(self) -> Path: ...
    @property
    def label(self) -> str | None: ...
    @property
    def device(self) -> str: ...
    @property
    def trust_bundle(self) -> bool: ...
    @property
    def orientation(self) -> str | None: ...
    @property
    def checkpoint(self) -> str | None: ...


def load_requested(request: _Request) -> LoadedModel:
    """Load the model that a command names.

    Raises:
        UserInputError: It cannot be used as asked.
    """
    return load_model(
        request.model, request.label, request.device, request.trust_bundle, request.orientation, request.checkpoint
    )


def read_image_for(model: SegmentationModel, paths: Sequence[Path]) -> SourceVolume:
    """Read the image's channels, and warn where they look unlike what the model was trained on.

    Raises:
        UserInputError: The number of files is not the model's number of channels, or a file cannot be used.
    """
    if len(paths) != model.channels:
        raise UserInputError(
            f"--image names {counted(len(paths), 'channel')} and the model has {model.channels} "
            f"({', '.join(model.channel_names)}); give one file or DICOM folder per channel, in this order"
        )
    volume = read_source_volume(paths)
    for warning in intensity_warnings(volume.channels, model.channel_expectations):
        logger.warning("%s", warning)
    return volume
