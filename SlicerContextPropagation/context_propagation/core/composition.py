"""The refined volume from the edits so far: Eq. 4, several edits, drawn slices exact (paper II-C, II-D; method 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from context_propagation.core.activation_update import UpdateReport
from context_propagation.core.boxes import Box, slices_of
from context_propagation.core.edited_slices import SliceEdit


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
    """One propagated edit: slices of one axis that were redrawn together.

    Attributes:
        edits: The drawn slices.
        neighbours: How many slices on each side are near.
        near: What the updated features say on the near slices; nothing where they were not needed.
        updates: A report for each window and fold that was updated.
    """

    edits: tuple[SliceEdit, ...]
    neighbours: int
    near: tuple[NearLabels, ...]
    updates: tuple[UpdateReport, ...] = ()

    @property
    def axis(self) -> int:
        return self.edits[0].axis

    def near_indices(self, slices: int) -> list[int]:
        """N(s) of all its slices, among `slices` slices."""
        return near_indices([edit.index for edit in self.edits], self.neighbours, slices)


def near_indices(indices: Iterable[int], neighbours: int, slices: int) -> list[int]:
    """N(s): edited slices and their neighbours, among `slices` slices."""
    reach = range(-neighbours, neighbours + 1)
    return sorted({index + step for index in indices for step in reach if 0 <= index + step < slices})


def superseded(records: Sequence[EditRecord], edits: Sequence[SliceEdit]) -> tuple[EditRecord, ...]:
    """The records left once slices are redrawn: a new drawing replaces the old one of the same slice."""
    redrawn = {(edit.axis, edit.index) for edit in edits}
    left = [
        replace(record, edits=tuple(e for e in record.edits if (e.axis, e.index) not in redrawn)) for record in records
    ]
    return tuple(record for record in left if record.edits)


def compose(untouched: np.ndarray, records: Sequence[EditRecord]) -> np.ndarray:
    """Labels after all edits: R_n of method 5.

    A near slice takes the update of the first edit that it is near to; a far slice keeps what it had; a drawn slice is
    as drawn, and where two drawn slices cross, the later drawing holds.

    Args:
        untouched: bool `[K, J, I]`, R_0: decoded from the untouched cache.
        records: The edits in the order in which they were made.

    Returns:
        bool `[K, J, I]`.

    Source: Chao et al., Eq. 4 and the rule for several edits in section II-D.
    """
    labels = untouched.copy()
    claimed = np.zeros(untouched.shape, bool)
    for record in records:
        indices = record.near_indices(untouched.shape[record.axis])
        for near in record.near:
            if near.index in indices:
                box = slices_of(near.box)
                free = near.changed & ~claimed[box]
                labels[box][free] = near.labels[free]
        for index in indices:
            claimed[_plane(record.axis, index)] = True
    for record in records:
        for edit in record.edits:
            labels[_plane(edit.axis, edit.index)] = edit.mask
    return labels


def drawn_voxels(shape: tuple[int, ...], records: Sequence[EditRecord]) -> np.ndarray:
    """Bool `[K, J, I]`: the slices that were drawn."""
    drawn = np.zeros(shape, bool)
    for record in records:
        for edit in record.edits:
            drawn[_plane(edit.axis, edit.index)] = True
    return drawn


def _plane(axis: int, index: int) -> tuple[slice | int, ...]:
    key: list[slice | int] = [slice(None)] * 3
    key[axis] = index
    return tuple(key)
