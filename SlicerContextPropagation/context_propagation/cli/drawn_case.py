"""A case as `propagate` reads it, and what of a result may be written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from context_propagation.cli.edit_choice import ChosenEdits, choose_edits
from context_propagation.cli.model_and_image import read_image_for
from context_propagation.cli.propagate_request import PropagateRequest
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.own_grid import NO_SLICES
from context_propagation.core.image.slices import SliceEdit, mask_of_slices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.session.session_settings import PropagationResult
from context_propagation.files.segmentation import Propagated, ReadSegmentation, Wanted
from context_propagation.segmentations.losses import refuse_losses
from context_propagation.segmentations.segmentation_files import read_together


@dataclass(frozen=True)
class DrawnCase:
    """What was read: an image, its segmentation before the edit and with it.

    Attributes:
        volume: The image.
        initial: The segmentation before the edit, bool `[K, J, I]`, on the image.
        edited: The one with the redrawn slices, also on a grid of its own.
        chosen: What is taken as edits.
    """

    volume: SourceVolume
    initial: np.ndarray
    edited: ReadSegmentation
    chosen: ChosenEdits

    @property
    def edits(self) -> tuple[SliceEdit, ...]:
        """The redrawn slices."""
        return self.chosen.drawing.edits

    @property
    def edited_on_image(self) -> np.ndarray:
        """The edited segmentation, bool `[K, J, I]`, with the redrawn slices as they are propagated."""
        mask = self.edited.mask.copy()
        for edit in self.edits:
            mask[edit.place] = edit.mask
        return mask

    def propagated(self, result: PropagationResult, protected: np.ndarray) -> Propagated:
        """What may be written of a result; never what was protected before, bool `[K, J, I]`."""
        drawing, by_hand = self.chosen.drawing, self.chosen.by_hand
        own = self.edited.own
        if own is not None and not self.chosen.grid.is_same(own.grid):  # compared on the image, whose slices are drawn
            drawing, by_hand = replace(drawing, own_slices=NO_SLICES), BoxedMask.of(np.zeros((0, 0, 0), bool))
        by_hand_elsewhere = self.edited_on_image ^ self.initial
        by_hand_elsewhere[mask_of_slices(protected.shape, self.edits)] = False
        box = result.changed_box_kji or EMPTY
        to_write, _ = drawing.to_write(result.changed, box, protected | by_hand_elsewhere)
        return Propagated(result.segmentation, to_write, drawing, by_hand)


def read_drawn_case(request: PropagateRequest, model: SegmentationModel) -> DrawnCase:
    """Read image and segmentations, and find the redrawn slices.

    Raises:
        UserInputError: A file cannot be used, no slice was redrawn, or the output would lose what was drawn.
    """
    volume = read_image_for(model, request.image, request.suv)
    wanted = Wanted(
        request.segment or model.target.name, model.target.label, model.target.outer, model.target.only_trained
    )
    initial, edited = read_together([request.initial, request.edited], wanted, volume, request.image)
    refuse_losses(request.output, edited, volume, request.allow_loss)
    chosen = choose_edits(initial, edited, volume, request.plane, request.slices)
    return DrawnCase(volume, initial.mask, edited, chosen)
