"""What is looked at before an image is cached: the volumes, the memory, and what was drawn before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import deferred_source_volume, image_state
from context_propagation.mrml.session.earlier_edits import Earlier
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.put_back import Offer
from context_propagation.mrml.session.room import Room, first_that_fits

if TYPE_CHECKING:
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.core.session.forecast import MemoryForecast
    from context_propagation.core.session.ready_image import ReadyImage

AFTER_CLOSING = "Its edits stay in the scene: choose it and press Predict to replay them."


@dataclass(frozen=True)
class StartCheck:
    """What was found. Ask the user before going on where there are warnings.

    Attributes:
        warnings: What looks wrong with the volumes for this model, or with the scene's record of earlier edits.
        memory: What caching will need.
        earlier: What was drawn before.
        image: The volumes as the model sees them, not to be made twice.
        model_sha256: The model's content hash.
        state: Of the volumes when they were looked at; see `image_state`.
        kept: Work on this image from before Slicer stopped, the newest first.
        closes: Segments whose sessions are closed for want of memory; the warnings name them.
        beside: Names of other segments of the segmentation that were started on this image.
        is_empty: Whether the segment is.
        image_sha256: Of the volumes' channels, where anything asks for it.
        upload_question: What to ask before they are sent to a server; empty where they stay here, or it was agreed to.
    """

    warnings: tuple[str, ...]
    memory: MemoryForecast
    earlier: Earlier
    image: ReadyImage
    model_sha256: str
    state: tuple[tuple[int, bytes], ...]
    kept: tuple[Offer, ...] = ()
    closes: tuple[Selection, ...] = ()
    beside: tuple[str, ...] = ()
    is_empty: bool = False
    image_sha256: tuple[str, ...] = ()
    upload_question: str = ""

    def image_for(
        self, loaded: LoadedModel, volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]
    ) -> ReadyImage | None:
        """The image, if it was made for this model and still is that of these volumes."""
        same = self.model_sha256 == loaded.model.content_hash and image_state(volume_nodes) == self.state
        return self.image if same else None


def check_operation(
    loaded: LoadedModel,
    volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
    segment: BoxedMask,
    earlier: Earlier,
    rooms: Sequence[Room],
    beside: tuple[str, ...],
    kept_on: Callable[[tuple[str, ...], tuple[int, int, int]], tuple[Offer, ...]] | None = None,
) -> Operation[StartCheck]:
    """Look at the volumes, and plan the cache.

    Args:
        loaded: The model.
        volume_nodes: One per channel.
        segment: The segment as it is, on the first volume's grid.
        earlier: What was drawn before.
        rooms: What is free, with more and more sessions of other segments closed.
        beside: Names of other segments of the segmentation that were started on this image.
        kept_on: Gives, on any thread, the kept work on an image, by the SHA-256 of its channels and its shape; None
            where nothing is kept.

    Raises:
        UserInputError: Volumes cannot be used, or the cache does not fit into memory, now or when it runs.
    """
    volume_of, state = deferred_source_volume(volume_nodes), image_state(volume_nodes)
    names = {selection: selection.name for selection in rooms[-1].closes}

    def compute(progress: Progress, cancelled: CancelCheck) -> StartCheck:
        from context_propagation.core.image.image_hash import image_sha256

        image, warnings = _looked_at(loaded, volume_of(), progress, cancelled)
        mask = segment.mask
        room, memory = first_that_fits(rooms, lambda room: loaded.forecast(image, mask, room.freed_bytes, room.held))
        if room.closes:
            closed = ", ".join(f"'{names[selection]}'" for selection in room.closes)
            warnings.append(f"Memory is short beside other lesions: {closed} will be closed. {AFTER_CLOSING}")
        sha256 = image_sha256(image.volume) if earlier.image_sha256 or kept_on or loaded.server else ("",)
        known = earlier.on(sha256[0]) if earlier.image_sha256 else earlier
        if known.trouble:
            warnings.append(known.trouble)
        kept = kept_on(sha256, image.volume.shape_kji) if kept_on else ()
        of_image = image, loaded.model.content_hash, state, kept
        question = loaded.upload_question(image.volume, sha256)
        of_segment = beside, segment.is_empty
        return StartCheck(tuple(warnings), memory, known, *of_image, room.closes, *of_segment, sha256, question)

    return Operation("Check volumes", compute, lambda check: check)


def _looked_at(
    loaded: LoadedModel, volume: SourceVolume, progress: Progress, cancelled: CancelCheck
) -> tuple[ReadyImage, list[str]]:
    """The volumes as the model sees them, and what looks wrong with them.

    Raises:
        UserInputError: They cannot be used.
    """
    from context_propagation.core.device import out_of_memory_reported
    from context_propagation.core.model.intensity_check import intensity_warnings
    from context_propagation.core.session.session_checks import check_channels

    progress("check", 0.0)
    check_channels(volume, loaded.model)
    warnings = list(intensity_warnings(volume.channels, loaded.model.channel_expectations))
    if cancelled():
        raise Cancelled
    progress("preprocess", 0.0)
    with out_of_memory_reported("Preparing the image"):
        return loaded.ready(volume), warnings
