"""The figures of a case: what lies between its first contour and its final one, as a whole and slice by slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.image.slices import SliceEdit, mask_of_slices
from context_propagation.core.image.source_volume import SourceVolume

if TYPE_CHECKING:
    from context_propagation.core.session.saved_session import SavedSession


@dataclass(frozen=True)
class Case:
    """What was done to one image, and what came of it.

    Attributes:
        volume: The image.
        final: bool `[K, J, I]`, the segment as it is.
        saved: What was done; without what was undone.
        by_hand: bool `[K, J, I]`, what propagation never writes: what was drawn, and other voxels changed by hand.
        changed_since: Voxels that were changed since the last propagation, on the segment's own grid; None where its
            grid is not that of then.
        model_kind: "nnU-Net", "PSNN" or "MONAI"; or empty.
    """

    volume: SourceVolume
    final: np.ndarray
    saved: SavedSession
    by_hand: np.ndarray
    changed_since: int | None = 0
    model_kind: str = ""

    @property
    def axes(self) -> list[int]:
        """Array axes that slices were drawn or confirmed along; the axial one where none was."""
        drawn = {edit.axis for edit in self.saved.drawings}
        return sorted(drawn) or [self.volume.axis_of_plane("axial")]

    def drawn_on(self, axis: int) -> list[SliceEdit]:
        """The slices that were drawn along an array axis, as each was drawn last, by their index."""
        drawings = [*self.saved.kept, *(edit for done in self.saved.edited for edit in done.edits)]
        edits = {edit.index: edit for edit in drawings if edit.axis == axis}
        return [edits[index] for index in sorted(edits)]

    def confirmed_on(self, axis: int) -> set[int]:
        """The slices that were confirmed along an array axis, and not drawn."""
        confirmed = {edit.index for done in self.saved.propagations for edit in done.confirmed if edit.axis == axis}
        return confirmed - {edit.index for edit in self.drawn_on(axis)}


@dataclass(frozen=True)
class SliceRow:
    """What changed on one slice.

    Attributes:
        index: Along the image's array, from 0.
        drawn: Whether it was drawn.
        confirmed: Whether it was said to be right as it is.
        added: Voxels of the final contour that the first one has not.
        removed: Voxels of the first contour that the final one has not.
        dsc: Between both on this slice; None where one has nothing there.
        changed: By each propagation in this plane, its number and the voxels that it changed here.
    """

    index: int
    drawn: bool
    confirmed: bool
    added: int
    removed: int
    dsc: float | None
    changed: dict[int, int]


@dataclass(frozen=True)
class PlaneChanges:
    """What changed in the slices along one array axis.

    Attributes:
        axis: The axis.
        plane: Its plane's name.
        numbers: Of the propagations in this plane, from 1, counting all.
        rows: The slices that were drawn, or in which a voxel changed.
        most_changed: The slice in which most voxels differ between first and final contour; without a difference, one
            that was drawn, or the one with most of the contour, or the middle one.
    """

    axis: int
    plane: str
    numbers: tuple[int, ...]
    rows: tuple[SliceRow, ...]
    most_changed: int

    @property
    def differs(self) -> bool:
        """Whether first and final contour differ."""
        return any(row.added or row.removed for row in self.rows)


@dataclass(frozen=True)
class CaseMeasures:
    """Of the first contour and the final one, on the image's grid.

    Attributes:
        first_ml: Volume of the first contour in millilitres.
        final_ml: Of the final one.
        added: Voxels of the final contour that the first one has not.
        removed: Voxels of the first contour that the final one has not.
        dsc: Between both; None where one of them is empty.
        hd95_mm: Between both; None where one of them is empty.
        added_path_mm: Contour to be drawn, slice by slice, to turn the first one into the final one.
        added_path_drawn_mm: The part of it on slices that were drawn.
        by_hand_elsewhere: Voxels changed by hand on other slices than those that were drawn, as far as known.
        planes: By array axis; in the first one's plane the path is measured.
    """

    first_ml: float
    final_ml: float
    added: int
    removed: int
    dsc: float | None
    hd95_mm: float | None
    added_path_mm: float
    added_path_drawn_mm: float
    by_hand_elsewhere: int
    planes: tuple[PlaneChanges, ...]


def case_measures(case: Case) -> CaseMeasures:
    """Measure a case.

    Raises:
        MissingDependencyError: MONAI is not installed.
    """
    from context_propagation.core.measures.accuracy import added_path_length_mm, measure  # imports torch

    first, final, spacing_mm = case.saved.initial.mask, case.final, case.volume.spacing_kji_mm
    axis = max(case.axes, key=lambda a: len(case.drawn_on(a)))
    drawn = [edit.index for edit in case.drawn_on(axis)]
    found = measure(first, final, spacing_mm, axis)
    both = bool(first.any() and final.any())
    voxel_ml = math.prod(spacing_mm) / 1000
    return CaseMeasures(
        first_ml=int(first.sum()) * voxel_ml,
        final_ml=int(final.sum()) * voxel_ml,
        added=int((final & ~first).sum()),
        removed=int((first & ~final).sum()),
        dsc=found.dsc if both else None,
        hd95_mm=found.hd95_mm if both else None,
        added_path_mm=found.added_path_length_mm,
        added_path_drawn_mm=added_path_length_mm(first.take(drawn, axis), final.take(drawn, axis), spacing_mm, axis),
        by_hand_elsewhere=int((case.by_hand & ~mask_of_slices(case.volume.shape_kji, case.saved.drawings)).sum()),
        planes=tuple(_plane(case, first, a) for a in sorted(case.axes, key=lambda a: a != axis)),
    )


def _plane(case: Case, first: np.ndarray, axis: int) -> PlaneChanges:
    from context_propagation.core.measures.regression import slice_dsc  # imports torch

    others = tuple(a for a in range(3) if a != axis)
    added, removed = ((one & ~other).sum(axis=others) for one, other in ((case.final, first), (first, case.final)))
    in_both = first.any(axis=others) & case.final.any(axis=others)
    dsc, drawn = slice_dsc(first, case.final, axis), [edit.index for edit in case.drawn_on(axis)]
    done = [(n, step) for n, step in enumerate(case.saved.edited, start=1) if step.edits[0].axis == axis]
    confirmed, rows = case.confirmed_on(axis), []
    for index in range(case.volume.shape_kji[axis]):
        changed = {n: step.changed_per_slice[index] for n, step in done if step.changed_per_slice.get(index)}
        if changed or added[index] or removed[index] or index in drawn or index in confirmed:
            said, is_right = float(dsc[index]) if in_both[index] else None, index in confirmed
            rows.append(
                SliceRow(index, index in drawn, is_right, int(added[index]), int(removed[index]), said, changed)
            )
    return PlaneChanges(
        axis=axis,
        plane=case.volume.plane_of_axis[axis],
        numbers=tuple(n for n, _ in done),
        rows=tuple(rows),
        most_changed=_most_changed(added + removed, drawn, (first | case.final).sum(axis=others)),
    )


def _most_changed(differs: np.ndarray, drawn: Sequence[int], size: np.ndarray) -> int:
    """See `PlaneChanges`; all arrays are int `[slices]`."""
    if differs.any():
        return int(differs.argmax())
    if drawn:
        return drawn[len(drawn) // 2]
    return int(size.argmax()) if size.any() else len(size) // 2
