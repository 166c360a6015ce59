"""Simulated edits with one base model: the general far network's examples, of phantoms and of other cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, bounding_box, dilate, intersection, slices_of, whole
from context_propagation.core.image.slices import SliceEdit, near_indices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.edit_propagation import EditPropagation
from context_propagation.core.propagation.far_evidence import EvidenceContext, FarEvidence, UpdatedLogits, far_evidence
from context_propagation.core.propagation.updated_features import UpdatedFeatures
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.fusion.contour_styles import contour_styles
from context_propagation.training.fusion.simulated_edit import edit_schedule
from context_propagation.training.general.general_controls import without_drawing
from context_propagation.training.general.general_example import GeneralExample, save_examples
from context_propagation.training.general.hard_images import hard_image
from context_propagation.training.labelled_cases import ModelSource

BORDER_VOXELS = 5
"""Around ground truth and prediction, where the loss counts."""


@dataclass(frozen=True)
class GeneralCase:
    """One phantom, seen by one base model.

    Attributes:
        base: The base model.
        phantom: Its settings.
        hardness: Of the image, see `hard_image`.
        level: Decoder level; the deepest where the model has fewer.
        edits: Of the phantom's own observer.
        styles: Further observers, one edit each.
    """

    base: ModelSource
    phantom: PhantomSettings
    hardness: int
    level: int
    edits: int
    styles: int

    @property
    def name(self) -> str:
        """Of its file."""
        spacing = "x".join(f"{mm:g}" for mm in self.phantom.spacing)
        return f"{self.phantom.name}.{spacing}.{self.phantom.difficulty}.hard{self.hardness}.level{self.level}"


def cached_examples(case: GeneralCase, folder: Path) -> Path:
    """Compute a case's examples once, and keep them in a file; it may hold none."""
    path = examples_file(case, folder)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        save_examples(list(examples_of(case)), path)
    return path


def examples_file(case: GeneralCase, folder: Path) -> Path:
    """What `cached_examples` leaves."""
    return folder / f"{case.name}.safetensors"


def examples_of(case: GeneralCase) -> Iterator[GeneralExample]:
    """Run the simulated edits of one case through the engine."""
    phantom, seed = make_phantom(case.phantom), case.phantom.number
    channels = [phantom.ct] if phantom.pet is None else [phantom.ct, phantom.pet]
    hard = hard_image(np.stack(channels).astype(np.float32), case.hardness, seed)
    volume = SourceVolume.from_sitk([phantom.image(channel) for channel in hard])
    model = case.base.load()
    settings = SessionSettings(level=min(case.level, *(split.max_level for split in model.splits)))
    yield from general_examples(model, settings, volume, phantom.gtv, case.edits, case.styles, seed)


def general_examples(
    model: SegmentationModel,
    settings: SessionSettings,
    volume: SourceVolume,
    truth: np.ndarray,
    edits: int,
    styles: int,
    seed: int,
) -> Iterator[GeneralExample]:
    """Simulated edits of one image, each with what the general far network sees of it.

    Args:
        model: Whose prediction is edited.
        settings: Of the session.
        volume: The image.
        truth: bool `[K, J, I]`.
        edits: Of the truth.
        styles: Further contours, see `contour_styles`, one edit each.
        seed: Of what is random.

    Yields:
        Nothing where the model predicts exactly the truth, or neither predicts nor is to predict anything.
    """
    session = Session(model, settings)
    session.set_image(volume)
    predicted = session.segmentation
    if not session.cache.windows:  # nothing is predicted: in use, the drawing says where to look
        session.set_image(volume, truth)
    axis, spacing = volume.axis_of_plane("axial"), volume.spacing_kji_mm
    for style, drawn in enumerate((truth, *contour_styles(truth, spacing, styles, seed))):
        schedule = edit_schedule(predicted, drawn, axis, spacing, max(edits, 2), seed + style)
        chosen = [schedule[style % len(schedule)]] if style and schedule else schedule[:edits]
        for edit in chosen if session.cache.windows else ():
            example = _example(session.propagation, edit, drawn)
            if example is not None:
                yield example


def _example(propagation: EditPropagation, edit: SliceEdit, truth: np.ndarray) -> GeneralExample | None:
    """None where the edit changes nothing, or lies in no window."""
    cache = propagation.cache
    drawn = propagation.network_edit([edit])
    truth_net = cache.prepared.axes.apply(truth)
    box = bounding_box(truth_net | cache.window_prediction)
    if box is None or drawn.is_satisfied():
        return None
    grown = dilate(box, (BORDER_VOXELS,) * 3, whole(truth_net.shape))
    box = intersection(grown, cache.windows[0].image_box)
    if box is None:
        return None
    updated, _ = propagation.updated_features(drawn)
    seen = _evidence(propagation, drawn, updated, box)
    blind = _evidence(propagation, without_drawing(drawn), (), box)
    if seen is None or blind is None:
        return None
    near = near_indices(drawn.indices, propagation.neighbours, truth_net.shape[drawn.axis])
    start, stop = box[drawn.axis]
    far = torch.ones(stop - start, dtype=torch.bool)
    far[[index - start for index in near if start <= index < stop]] = False
    first = drawn.axis
    return GeneralExample(
        seen.maps.movedim(first + 1, 1).half(),
        seen.numbers,
        blind.maps.movedim(first + 1, 1).half(),
        blind.numbers,
        seen.logit.movedim(first, 0).half(),
        seen.updated_logit.movedim(first, 0).half(),
        torch.from_numpy(np.moveaxis(truth_net[slices_of(box)], first, 0).copy()),
        far,
    )


def _evidence(
    propagation: EditPropagation, edit: NetworkEdit, updated: Sequence[UpdatedFeatures], box: Box
) -> FarEvidence | None:
    cache, spacing = propagation.cache, propagation.network_spacing_mm
    context = EvidenceContext.of(cache, edit, spacing)
    logits = UpdatedLogits.of(cache, 0, updated)
    return None if context is None else far_evidence(edit, logits, context, spacing, box)
