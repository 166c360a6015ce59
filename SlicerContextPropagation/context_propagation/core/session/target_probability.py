"""The target's probability after the edits so far, voxel by voxel, and how undecided that leaves the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Protocol

import numpy as np

from context_propagation.core.image.boxes import Box, around, bounding_box, inside_of, offset, slices_of, whole
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.composition import compose, composed_box
from context_propagation.core.session.decisive_margins import decisive_margins

if TYPE_CHECKING:
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.core.propagation.edit_record import EditRecord
    from context_propagation.core.propagation.feature_cache import FeatureCache
    from context_propagation.core.session.session_settings import SessionSettings


class Decoding(Protocol):
    """What of a `Session` decides."""

    settings: SessionSettings
    records: tuple[EditRecord, ...]

    @property
    def volume(self) -> SourceVolume:
        """The image."""
        ...

    @property
    def cache(self) -> FeatureCache:
        """What is cached of it."""
        ...

    @property
    def window_prediction(self) -> np.ndarray:
        """R_0."""
        ...


@dataclass(frozen=True)
class TargetProbability:
    """The target's probability in a part of the image; it is 0 in all other voxels.

    Attributes:
        box: The part of the image.
        values: float32, the box's shape, 0 to 1.
    """

    box: Box
    values: np.ndarray

    @property
    def uncertainty(self) -> np.ndarray:
        """1 - |2 p - 1|, float32, the box's shape: 1 where target and the rest are as likely as each other, 0 where
        one of them is sure. It is 0 in all other voxels, too.

        `slice_uncertainty_mm2` counts the pixel area times the same.
        """
        uncertainty: np.ndarray = 1.0 - np.abs(2.0 * self.values - 1.0)
        return uncertainty

    def on_image(self, shape_kji: tuple[int, int, int]) -> np.ndarray:
        """The probability in the whole image, float32 `[K, J, I]`."""
        image = np.zeros(shape_kji, np.float32)
        image[slices_of(self.box)] = self.values
        return image


def target_probability(session: Decoding, drawn: Sequence[SliceEdit] = ()) -> TargetProbability:
    """How likely the model holds the target in each voxel, after the edits so far.

    It is (1 + margin) / 2 with the margin of `SegmentationModel.target_margin`: the target's probability less the
    largest other one. So it is the model's own probability where a network has one label or regions, and where it has
    several labels, how the target stands against the strongest other one. It is above .5 where the target wins, which
    is R_n before the thresholds on far slices and before strays are taken away; a voxel of exactly .5 is a tie.

    - On far slices the margin is what the edits' networks say together; without one, what the untouched features say.
    - On slices that were drawn and on their near slices it is 1 in the target and 0 elsewhere.
    - Where no window decodes anything it is 0, as R_0 has no target there.

    Args:
        session: With an image.
        drawn: Slices drawn before the session began, which are as drawn.

    Returns:
        In the box around all voxels in which it is not 0; one voxel where it is 0 everywhere.

    Raises:
        UserInputError: No image is set.
    """
    shape, records, prediction = session.volume.shape_kji, session.records, session.window_prediction
    margins = session.cache.window_margins
    if margins is not None:
        margins = margins.undone(session.cache.prepared.axes, session.cache.owner.shape)
    decisive = decisive_margins(margins, records, shape, session.settings.far_rule)
    nothing = np.broadcast_to(np.zeros((), bool), shape)
    found = [composed_box(prediction, records), *(edit.differs_within(nothing) for edit in drawn)]
    boxes = [box for box in found if box is not None] + ([] if decisive is None else [decisive.box])
    box = reduce(around, boxes) if boxes else whole((1, 1, 1))
    values = compose(prediction, records, box=box).astype(np.float32)
    if decisive is not None:
        part = values[slices_of(inside_of(decisive.box, box))]
        np.copyto(part, (1.0 + decisive.values) / 2.0, where=~np.isnan(decisive.values))
    for edit in drawn:
        edit.draw_into(values, box)
    inner = bounding_box(values > 0) or whole((1, 1, 1))
    return TargetProbability(offset(inner, box), values[slices_of(inner)].copy())
