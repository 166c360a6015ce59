"""Work that was kept from before Slicer stopped, put back into the scene as a saved scene would hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import slicer

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import around, box_of, whole
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.session.kept_work import KeptWork
from context_propagation.core.session.saved_session import SavedSession
from context_propagation.mrml.nodes.labelmap_images import image_from_mask
from context_propagation.mrml.nodes.segments import own_segment, segment_grid, segment_labelmap, segment_name
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import image_state
from context_propagation.mrml.nodes.world_matrices import relative_place
from context_propagation.mrml.session.session_node import write_session
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import Flips, write_flips


@dataclass(frozen=True)
class Offer:
    """Kept work on the image that is worked on.

    Attributes:
        file: Where it is kept.
        work: What it is.
        drawn_slices: On how many slices of the image something was drawn.
        confirmed_slices: How many others were confirmed.
        fits: Whether the selected segment is empty, or as it once was in that work; else it is left alone.
        not_replayed: Why its edits cannot be replayed, as another model or a second volume is chosen; or empty.
        image_state: Of the volumes when they were looked at.
    """

    file: Path
    work: KeptWork
    drawn_slices: int
    confirmed_slices: int = 0
    fits: bool = False
    not_replayed: str = ""
    image_state: tuple[tuple[int, bytes], ...] = ()


def offered(offers: Sequence[Offer], selection: Selection, loaded: LoadedModel) -> tuple[Offer, ...]:
    """The same, made to what is selected and loaded."""
    if not offers:
        return ()
    segment, state = _own(selection), image_state(selection.volume_nodes)
    return tuple(
        replace(
            offer,
            fits=offer.work.went_on_from(segment),
            not_replayed=offer.not_replayed or _other_model(offer.work.saved, loaded),
            image_state=state,
        )
        for offer in offers
    )


def _other_model(saved: SavedSession, loaded: LoadedModel) -> str:
    """Why edits cannot be replayed with a model; empty where they can."""
    model = loaded.model
    try:
        saved.require_made_with(model.content_hash, loaded.fusion_sha256, model.target_name, model.orientation)
    except UserInputError as error:
        return str(error)
    return ""


def put_back(scene: slicer.vtkMRMLScene, selection: Selection, offer: Offer) -> None:
    """Make the segment what it was last, voxel by voxel on the grid that it had, and put the record into the scene.

    Raises:
        UserInputError: The volume is not the one that it was offered for, or the segment was drawn on otherwise;
            nothing is changed.
    """
    if image_state(selection.volume_nodes) != offer.image_state:
        raise UserInputError("The volume is another one than when this work was offered; press Predict or Start again")
    current = _own(selection)
    name = segment_name(selection.segmentation_node, selection.segment_id)
    if not offer.work.went_on_from(current):
        raise UserInputError(f"Segment '{name}' is not as it was in that work, and is left alone; choose an empty one")
    saved, segment = offer.work.saved, offer.work.segment
    there = current.on(saved.own_grid)
    if there is None:
        _put_on_own_grid(selection, OwnMask(saved.own_grid, segment))
    else:
        _flip(scene, selection, there, segment)
    place = relative_place(selection.volume_nodes[0], selection.segmentation_node)
    saved = replace(saved, segment_id=selection.segment_id, place=place)
    write_session(scene, saved, selection.volume_nodes, selection.segmentation_node)


def _own(selection: Selection) -> OwnMask:
    return own_segment(selection.segmentation_node, selection.segment_id, selection.volume_nodes[0])


def _flip(scene: slicer.vtkMRMLScene, selection: Selection, now: OwnMask, then: BoxedMask) -> None:
    """Write what differs; other segments and masks of the Segment Editor are none of this."""
    box = around(now.mask.box, then.box)
    old, new = now.mask.over(box), then.over(box)
    node, segment_id, volume_node = selection.segmentation_node, selection.segment_id, selection.volume_nodes[0]
    matrix = segment_grid(node, segment_id, volume_node).segment_ijk_to_ras
    on_lattice = box_of([(a + s, b + s) for (a, b), s in zip(box, now.grid.start_kji, strict=True)])
    flips = Flips(matrix, on_lattice, remove=old > new, add=new > old)
    write_flips(EditorLogicWriter(scene, node, volume_node), node, segment_id, flips)


def _put_on_own_grid(selection: Selection, segment: OwnMask) -> None:
    """Give an empty segment the labelmap that it had on another grid than its segmentation's.

    Where the segmentation holds nothing else, it takes that grid too, as the Segment Editor draws on it.
    """
    node, segment_id, mask = selection.segmentation_node, selection.segment_id, segment.mask
    from_image = np.linalg.inv(relative_place(selection.volume_nodes[0], node))
    matrix = np.asarray(from_image @ segment.grid.image_from_own_ijk)
    segmentation, name = node.GetSegmentation(), slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    others = [other for other in segmentation.GetSegmentIDs() if other != segment_id]
    if all(segment_labelmap(node, other).mask.is_empty for other in others):
        whole_grid = image_from_mask(np.zeros(mask.shape, bool), whole(mask.shape), matrix)
        geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(whole_grid)
        parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        segmentation.SetConversionParameter(parameter, geometry)
    segmentation.SeparateSegmentLabelmap(segment_id)  # from a layer that it shares
    own = segmentation.GetSegment(segment_id)
    own.SetLabelValue(1)
    own.AddRepresentation(name, image_from_mask(mask.inside, mask.box, matrix))
