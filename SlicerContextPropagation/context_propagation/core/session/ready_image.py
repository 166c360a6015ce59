"""An image as a model sees it, made once for the memory forecast, the cache and further sessions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import Box
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import PreparedImage, SegmentationModel
from context_propagation.core.propagation.window import Window, encode_window
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


@dataclass
class _Latest:
    """What a model made of the last image that it was given.

    Attributes:
        key: Equal for equal images.
        prepared: Preprocessed.
        predicted: The initial prediction, once it was asked for.
        windows: By decoder level and network box, what sessions hold of it, for as long as one of them does.
    """

    key: tuple[tuple[str, ...], bytes]
    prepared: PreparedImage
    predicted: BoxedMask | None = field(default=None)
    windows: WeakValueDictionary[tuple[int, Box], Window] = field(default_factory=WeakValueDictionary)


_latest: WeakKeyDictionary[SegmentationModel, _Latest] = WeakKeyDictionary()
"""Of each model, as long as there is one."""


def ready_image(model: SegmentationModel, volume: SourceVolume) -> ReadyImage:
    """Preprocess; may take seconds, unless it is the image that the model was given last.

    Raises:
        UserInputError: Wrong number of channels.
    """
    check_channels(volume, model)
    key = image_sha256(volume), volume.ijk_to_lps.tobytes()
    known = _latest.get(model) or _of_another_label(model)
    if known is None or known.key != key:
        _latest.pop(model, None)  # both need not fit into memory
        known = _latest[model] = _Latest(key, model.prepare(volume))
    _latest[model] = known
    return ReadyImage(volume, known.prepared)


def _of_another_label(model: SegmentationModel) -> _Latest | None:
    """What the same networks made of it for another label, but for the prediction."""
    for other, known in list(_latest.items()):
        if other.splits is model.splits and other.orientation == model.orientation:
            return replace(known, predicted=None)
    return None


def forget_image(model: SegmentationModel) -> None:
    """Free what a model made of the image that it was given last."""
    _latest.pop(model, None)


def predicted_target(
    model: SegmentationModel, prepared: PreparedImage, progress: Progress, cancelled: CancelCheck
) -> np.ndarray:
    """The initial prediction: see `SegmentationModel.predict`. That of the model's last image is computed once."""
    known = _known_of(model, prepared)
    if known is None:
        return model.predict(prepared, progress, cancelled)
    if known.predicted is None:
        known.predicted = BoxedMask.of(model.predict(prepared, progress, cancelled))
    progress("predict", 1.0)
    return known.predicted.mask


def known_prediction(model: SegmentationModel, prepared: PreparedImage) -> BoxedMask | None:
    """The initial prediction in the volume's own axes, where it was computed before."""
    known = _known_of(model, prepared)
    return None if known is None else known.predicted


def encoded_window(model: SegmentationModel, prepared: PreparedImage, box: Box, level: int) -> Window:
    """A window of the network's grid: that which a session of the model's last image holds, else encoded."""
    known = _known_of(model, prepared)
    window = None if known is None else known.windows.get((level, box))
    if window is None:
        window = encode_window(model, prepared, box, level)
        if known is not None:
            known.windows[level, box] = window
    return window


def held_boxes(model: SegmentationModel, prepared: PreparedImage, level: int) -> frozenset[Box]:
    """The windows that need not be encoded, as a session holds them."""
    known = _known_of(model, prepared)
    return frozenset() if known is None else frozenset(box for at, box in known.windows if at == level)


def _known_of(model: SegmentationModel, prepared: PreparedImage) -> _Latest | None:
    known = _latest.get(model)
    return known if known is not None and known.prepared is prepared else None
