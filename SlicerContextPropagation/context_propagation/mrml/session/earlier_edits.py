"""What is known of earlier edits of a segment, from the session in use or from the scene, before a new one begins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import slicer

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import find_drawing
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.image.slices import SliceEdit, slices_to_keep
from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.core.session.saved_session import SavedSession
from context_propagation.mrml.nodes.segments import own_segment
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume, volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import relative_place
from context_propagation.mrml.session.live_session import LiveSession
from context_propagation.mrml.session.session_node import find_session_node, read_session

PLACE_TOLERANCE_VOXELS = 0.05
"""Of matrices from a saved scene, which are rounded."""
PLACED_OTHERWISE = "Volume and segmentation were moved relative to each other since this segment was edited"


@dataclass(frozen=True)
class Earlier:
    """What the scene knows of earlier edits of a segment.

    Attributes:
        drawn: Slices that are still as they were drawn.
        replayable: Edits that can be replayed; None where there are none, or where they are in use.
        trouble: What is not kept, and why; or empty.
        image_sha256: Of the first channel, on which they were drawn; empty where that is the one in use.
    """

    drawn: tuple[SliceEdit, ...] = ()
    replayable: SavedSession | None = None
    trouble: str = ""
    image_sha256: str = ""

    def on(self, image_sha256: str) -> Earlier:
        """What is known where this is the first channel: nothing, where they were drawn on another one."""
        if self.image_sha256 in ("", image_sha256):
            return self
        return Earlier(trouble="The edits in the scene were made on another image. Slices drawn then are not kept.")


def saved_in_scene(scene: slicer.vtkMRMLScene, selection: Selection) -> SavedSession | None:
    """What a scene holds of earlier edits of a segment; None where there is nothing.

    Raises:
        UserInputError: The record cannot be read.
    """
    node = find_session_node(scene, selection.segmentation_node, selection.segment_id)
    return None if node is None else read_session(node, volume_shape_kji(selection.volume_nodes[0]))


def to_replay(scene: slicer.vtkMRMLScene, loaded: LoadedModel, selection: Selection) -> SavedSession:
    """What a scene holds of earlier edits of a segment, where it can be replayed.

    Raises:
        UserInputError: There is nothing, it was made with another model, or volume and segmentation lay otherwise.
    """
    saved = saved_in_scene(scene, selection)
    if saved is None:
        raise UserInputError("The scene holds no edits of this segment; predict, and redraw a slice")
    model = loaded.model
    saved.require_made_with(model.content_hash, loaded.fusion_sha256, model.target_name, model.orientation)
    if not is_placed_as(saved.place, selection):
        raise UserInputError(f"{PLACED_OTHERWISE}; put them back, or predict anew")
    return saved


def earlier_of(
    live: LiveSession | None,
    scene: slicer.vtkMRMLScene,
    selection: Selection,
    segment: BoxedMask,
    plane: str | None,
) -> Earlier:
    """From the session in use, else from the scene.

    Args:
        live: The session; None where there is none.
        scene: May hold a record.
        selection: What is worked on.
        segment: The segment as it is, on the first volume's grid.
        plane: In which slices are redrawn; None finds it.
    """
    axis = axis_of_plane(planes_of_volume(selection.volume_nodes[0]), plane) if plane else None
    if live is not None:
        return _earlier_in_session(live, selection, segment, axis)
    return _earlier_in_scene(scene, selection, segment, axis)


def _earlier_in_session(live: LiveSession, selection: Selection, segment: BoxedMask, axis: int | None) -> Earlier:
    with suppress(UserInputError):  # moved or changed since: then its last steps are what there is
        live.follow()
    propagation = live.propagation
    known = None if propagation.last_known is None else OwnMask(propagation.grid, propagation.last_known)
    return _earlier(selection, segment, axis, live.drawings, known, propagation.place)


def _earlier_in_scene(
    scene: slicer.vtkMRMLScene, selection: Selection, segment: BoxedMask, axis: int | None
) -> Earlier:
    try:
        saved = saved_in_scene(scene, selection)
    except UserInputError as error:
        return Earlier(trouble=f"{error}. Slices drawn before cannot be kept.")
    if saved is None:
        return Earlier()
    earlier = _earlier(selection, segment, axis, saved.drawings, _known_now(saved, selection), saved.place)
    if not is_placed_as(saved.place, selection):
        return earlier
    replayable = saved if saved.propagations else None
    return replace(earlier, replayable=replayable, image_sha256=saved.image_sha256[0])


def is_placed_as(place: np.ndarray, selection: Selection) -> bool:
    """Whether volume and segmentation lie to each other as they did.

    Args:
        place: `[4, 4]`, from the segmentation's own RAS to the volume's indices (i, j, k), then.
        selection: Both.
    """
    volume_node = selection.volume_nodes[0]
    now = relative_place(volume_node, selection.segmentation_node)
    corners = np.array(list(itertools.product(*[(0, n) for n in volume_shape_kji(volume_node)[::-1]], [1]))).T
    then = place @ np.linalg.inv(now) @ corners  # where the volume's corners lay then, in voxels
    return bool(np.abs(then - corners).max() <= PLACE_TOLERANCE_VOXELS)


def _own(selection: Selection) -> OwnMask:
    return own_segment(selection.segmentation_node, selection.segment_id, selection.volume_nodes[0])


def _known_now(saved: SavedSession, selection: Selection) -> OwnMask | None:
    """What the segment is compared with to find what was redrawn since; None where it lies on another grid now."""
    current = _own(selection).on(saved.own_grid)
    return None if current is None else OwnMask(current.grid, saved.known_in(current.mask)).as_beside_image(current)


def _earlier(
    selection: Selection,
    segment: BoxedMask,
    axis: int | None,
    drawings: Sequence[SliceEdit],
    known: OwnMask | None,
    place: np.ndarray,
) -> Earlier:
    if not is_placed_as(place, selection):
        return Earlier(trouble=f"{PLACED_OTHERWISE}. Slices drawn then are not kept.")
    redrawn: tuple[SliceEdit, ...] = ()
    trouble = ""
    current = None if known is None else _own(selection).on(known.grid)
    if known is not None and current is not None and not known.mask.is_same(current.mask):
        try:
            redrawn = find_drawing(known.grid, known.mask, current.mask, axis).edits
        except UserInputError as error:
            trouble = f"{error}. What was redrawn since the last propagation is not kept."
    return Earlier(slices_to_keep(drawings, segment.mask, redrawn), trouble=trouble)
