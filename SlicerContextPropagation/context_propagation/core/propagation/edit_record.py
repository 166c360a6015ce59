"""What is known of an edit that was propagated: drawn slices, near slices, margins of the far ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from context_propagation.core.image.boxed_mask import NO_VOXELS
from context_propagation.core.image.boxes import Box
from context_propagation.core.image.slices import SliceEdit, near_indices
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.update_settings import UpdateReport

if TYPE_CHECKING:
    from context_propagation.core.propagation.updated_features import UpdatedFeatures

FarRule = Literal["latest", "average"]
"""Which edits speak for a far voxel: the last one, or the mean of all."""


@dataclass(frozen=True)
class NearLabels:
    """The target decoded from the updated features, on one slice.

    Attributes:
        index: Slice index along the edit's axis.
        box: Where the labels lie in the image, (k, j, i).
        labels: bool, the box's shape.
        changed: bool, the box's shape: where the update flipped the label; elsewhere R_0 holds.
    """

    index: int
    box: Box
    labels: np.ndarray
    changed: np.ndarray


@dataclass(frozen=True)
class EditRecord:
    """One propagated edit: slices of one axis that were optimised together.

    Attributes:
        edits: The drawn slices.
        neighbours: How many slices on each side are near.
        near: What the updated features say on the near slices; nothing where they were not needed.
        updates: A report for each window and fold that was updated.
        drawn_at: When each slice was drawn: later drawings have larger numbers. Without, 0.
        features: f' where it differs from f, to start the next joint update from.
        far: What the network for far slices says; None without one or where nothing had to be updated.
        strays: Flat indices of the image's voxels where the segmentation is not as the edits so far have it, because
            strays were taken back; the next edit looks at them anew.
        confirmed: Whether the slices were not redrawn but said to be right as they are: they are protected as drawn
            ones are, and nothing is propagated from them.
    """

    edits: tuple[SliceEdit, ...]
    neighbours: int
    near: tuple[NearLabels, ...]
    updates: tuple[UpdateReport, ...] = ()
    drawn_at: tuple[int, ...] = ()
    features: tuple[UpdatedFeatures, ...] = ()
    far: Margins | None = None
    strays: np.ndarray = field(default_factory=lambda: NO_VOXELS)
    confirmed: bool = False

    @property
    def axis(self) -> int:
        return self.edits[0].axis

    @property
    def satisfied(self) -> bool:
        """Whether nothing was updated: the untouched features decode to the drawing already, or it was confirmed."""
        return self.confirmed or any(update.stop_reason == "already satisfied" for update in self.updates)

    def drawings(self) -> list[tuple[int, SliceEdit]]:
        """When each slice was drawn, and the slice."""
        return list(zip(self.drawn_at or (0,) * len(self.edits), self.edits, strict=True))

    def near_indices(self, slices: int) -> list[int]:
        """N(s) of all its slices, among `slices` slices."""
        return near_indices([edit.index for edit in self.edits], self.neighbours, slices)


def drawn_slices(records: Sequence[EditRecord]) -> list[SliceEdit]:
    """All slices that were drawn; without those that were confirmed."""
    return [edit for record in records if not record.confirmed for edit in record.edits]


def superseded(records: Sequence[EditRecord], edits: Sequence[SliceEdit]) -> tuple[EditRecord, ...]:
    """The records left once slices are redrawn: a new drawing replaces the old one of the same slice."""
    redrawn = {(edit.axis, edit.index) for edit in edits}
    left = []
    for record in records:
        kept = [(at, edit) for at, edit in record.drawings() if (edit.axis, edit.index) not in redrawn]
        drawn_at = tuple(at for at, _ in kept) if record.drawn_at else ()
        left.append(replace(record, edits=tuple(edit for _, edit in kept), drawn_at=drawn_at))
    return tuple(record for record in left if record.edits)
