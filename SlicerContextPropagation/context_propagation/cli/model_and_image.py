"""The two inputs that every command has: a model and an image that fits it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from context_propagation.cli.server_choice import ServerRequest, load_on_server
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.intensity_check import intensity_warnings
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.files.image_files import pets_among, read_source_volume
from context_propagation.files.suv import ACTIVITY_UNITS, PHILIPS_COUNTS

logger = logging.getLogger(__name__)


def load_requested(request: ServerRequest, general_far: bool = False) -> LoadedModel:
    """Load the model that a command names, here or on a server.

    Args:
        request: Says which, and how.
        general_far: Whether the general far network serves a model without fusion networks.

    Raises:
        UserInputError: It cannot be used as asked.
    """
    if request.server is not None:
        return load_on_server(request, general_far)
    if request.server_token is not None or request.server_certificate is not None:
        raise UserInputError("--server-token and --server-certificate are for --server; give that too, or neither")
    loaded = load_model(
        request.model, request.label, request.device, request.trust_bundle, request.orientation, request.checkpoint
    )
    return loaded.with_general_far() if general_far else loaded


def read_image_for(model: SegmentationModel, paths: Sequence[Path], suv: bool) -> SourceVolume:
    """Read the image's channels, and warn where they look unlike what the model was trained on.

    Args:
        model: Says how many there are.
        paths: One file or DICOM folder per channel.
        suv: Whether a DICOM PET becomes SUV; where it could and was not asked for, that is said.

    Raises:
        UserInputError: The number of files is not the model's number of channels, or a file cannot be used.
    """
    if len(paths) != model.channels:
        raise UserInputError(
            f"--image names {counted(len(paths), 'channel')} and the model has {model.channels} "
            f"({', '.join(model.channel_names)}); give one file or DICOM folder per channel, in this order"
        )
    volume = read_source_volume(paths, suv)
    for path, units in pets_among(() if suv else paths).items():
        if units in (ACTIVITY_UNITS, PHILIPS_COUNTS):
            logger.info("DICOM folder '%s' is a PET in %s; --suv makes SUVs by body weight of it", path, units)
    for warning in intensity_warnings(volume.channels, model.channel_expectations):
        logger.warning("%s", warning)
    return volume
