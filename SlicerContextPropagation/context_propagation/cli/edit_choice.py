"""Which slices of the edited segmentation are taken as edits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import Drawing, changes_on_slices, find_drawing
from context_propagation.core.image.own_grid import OwnGrid
from context_propagation.core.image.slices import edits_on_slices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.segmentation import ReadSegmentation

logger = logging.getLogger(__name__)


AUTO = "auto"


def parse_slices(text: str) -> list[int] | None:
    """Slice indices from "12,40"; None for "auto".

    Raises:
        UserInputError: The text is neither.
    """
    if text == AUTO:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserInputError(
            f"--slices '{text}' is not a list of slices; give numbers such as 12,40, or auto"
        ) from error


@dataclass(frozen=True)
class ChosenEdits:
    """What is taken as edits.

    Attributes:
        drawing: The slices.
        by_hand: All voxels in which the segmentations differ, on the grid on which they were compared.
        grid: That grid.
    """

    drawing: Drawing
    by_hand: BoxedMask
    grid: OwnGrid


def choose_edits(
    initial: ReadSegmentation,
    edited: ReadSegmentation,
    volume: SourceVolume,
    plane: str,
    slices: Sequence[int] | None,
) -> ChosenEdits:
    """Find the edited slices, or take those that are named.

    Segmentations on one grid are compared there, voxel by voxel; on two different ones, on the image's.

    Args:
        initial: Before the edit.
        edited: With the redrawn slices.
        volume: The image, which knows its planes.
        plane: "auto", "axial", "sagittal" or "coronal".
        slices: Indices from 0 along the image's array axis; None takes all that differ.

    Raises:
        UserInputError: Nothing was edited, the plane is unclear, or a slice is out of range or was not edited.
    """
    axis = None if plane == AUTO else volume.axis_of_plane(plane)
    grid, before, after = _on_one_grid(initial, edited)
    found = find_drawing(grid, before, after, axis)
    by_hand = BoxedMask.of(before.mask ^ after.mask)
    if slices is None:
        return ChosenEdits(found, by_hand, grid)
    edits = edits_on_slices(edited.mask, found.axis, slices)
    changed = {edit.index for edit in found.edits}
    unchanged = [edit.index for edit in edits if edit.index not in changed]
    if unchanged:
        raise UserInputError(
            f"--slices names {_listed(unchanged)}, where the two segmentations are equal; "
            f"they differ on {volume.plane_of_axis[found.axis]} slices {_listed(sorted(changed))}"
        )
    ignored = sorted(changed - {edit.index for edit in edits})
    if ignored:
        logger.warning(
            "changes on slices %s are kept and not propagated: --slices does not name them", _listed(ignored)
        )
    named = [edit.index for edit in edits]
    drawn = changes_on_slices(grid, before, after, found.axis, named)
    return ChosenEdits(find_drawing(grid, before, drawn, found.axis), by_hand, grid)


def _on_one_grid(initial: ReadSegmentation, edited: ReadSegmentation) -> tuple[OwnGrid, BoxedMask, BoxedMask]:
    first, after = (read.own or read.on_image for read in (initial, edited))
    before = first.on(after.grid)
    if before is None:
        before, after = initial.on_image, edited.on_image
    return after.grid, before.mask, after.mask


def _listed(indices: Sequence[int]) -> str:
    return ", ".join(str(index) for index in indices[:10]) + (", ..." if len(indices) > 10 else "")
