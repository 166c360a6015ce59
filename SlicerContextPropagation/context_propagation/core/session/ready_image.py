"""An image as a model sees it, ready to be cached; made once, and used for the memory forecast and for the cache."""

from __future__ import annotations

from dataclasses import dataclass

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import PreparedImage, SegmentationModel
from context_propagation.core.session.session_checks import check_channels


@dataclass(frozen=True)
class ReadyImage:
    """An image and what preprocessing made of it.

    Attributes:
        volume: The image.
        prepared: Preprocessed, on the network's grid.
    """

    volume: SourceVolume
    prepared: PreparedImage


def ready_image(model: SegmentationModel, volume: SourceVolume) -> ReadyImage:
    """Preprocess; may take seconds.

    Raises:
        UserInputError: Wrong number of channels.
    """
    check_channels(volume, model)
    return ReadyImage(volume, model.prepare(volume))
