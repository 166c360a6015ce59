"""Which slices of the edited segmentation are taken as edits."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit, edits_on_slices, find_edited_slices
from context_propagation.core.image.source_volume import SourceVolume

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


def choose_edits(
    initial: np.ndarray, edited: np.ndarray, volume: SourceVolume, plane: str, slices: Sequence[int] | None
) -> list[SliceEdit]:
    """Find the edited slices, or take those that are named.

    Args:
        initial: bool `[K, J, I]`.
        edited: bool `[K, J, I]`.
        volume: The image, which knows its planes.
        plane: "auto", "axial", "sagittal" or "coronal".
        slices: Indices from 0 along the image's array axis; None takes all that differ.

    Raises:
        UserInputError: Nothing was edited, the plane is unclear, or a slice is out of range or was not edited.
    """
    axis = None if plane == AUTO else volume.axis_of_plane(plane)
    found = find_edited_slices(initial, edited, axis)
    if slices is None:
        return found
    edits = edits_on_slices(edited, found[0].axis, slices)
    changed = {edit.index for edit in found}
    unchanged = [edit.index for edit in edits if edit.index not in changed]
    if unchanged:
        raise UserInputError(
            f"--slices names {_listed(unchanged)}, where the two segmentations are equal; "
            f"they differ on {volume.plane_of_axis[found[0].axis]} slices {_listed(sorted(changed))}"
        )
    ignored = sorted(changed - {edit.index for edit in edits})
    if ignored:
        logger.warning(
            "changes on slices %s are kept and not propagated: --slices does not name them", _listed(ignored)
        )
    return edits


def _listed(indices: Sequence[int]) -> str:
    return ", ".join(str(index) for index in indices[:10]) + (", ..." if len(indices) > 10 else "")
