"""The edits and where they came from, on a plain text node: saved with the scene, and replayed from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import around
from context_propagation.core.image.slices import SliceEdit

FORMAT = "context-propagation scene session 2"


ATTRIBUTE, ARCHIVED = "ContextPropagation.Session", "ContextPropagation.EarlierSession"


EARLIER = " (earlier)"


SEGMENTATION_ROLE, VOLUME_ROLE = "ContextPropagation.Segmentation", "ContextPropagation.Volume"


MAX_TEXT_BYTES = 500_000_000


@dataclass(frozen=True)
class SavedPropagation:
    """One propagation.

    Attributes:
        edits: The drawn slices.
        drawn: The segment as it was drawn, before it was propagated.
        made_at: UTC, ISO 8601.
        scope: How far it reached.
        changed_per_slice: Voxels that it changed, by slice along the edited axis.
        refused: Voxels that masking refused.
    """

    edits: tuple[SliceEdit, ...]
    drawn: BoxedMask
    made_at: str
    scope: str
    changed_per_slice: dict[int, int]
    refused: int

    @cached_property
    def plain(self) -> dict[str, Any]:
        """As plain JSON, made once: the record is written again after each further propagation."""
        return {
            "edits": _plain_edits(self.edits),
            "drawn": self.drawn.plain(),
            "made_at": self.made_at,
            "scope": self.scope,
            "changed_per_slice": {str(index): count for index, count in self.changed_per_slice.items()},
            "refused": self.refused,
        }


@dataclass(frozen=True)
class SavedSession:
    """What was done to one segment; masks are on the first volume's grid.

    Attributes:
        model_path: Where the model was; it may have moved.
        model_sha256: Its content hash.
        fusion_sha256: The fusion network's, or None.
        label: The label that it refines.
        device: Where it computed.
        versions: Of the programs.
        segment_id: The segment in the referenced segmentation.
        initial: The segmentation before the first edit.
        known: The segment as it was read after the last propagation.
        place: float64 `[4, 4]`, from the segmentation's own RAS to the first volume's indices (i, j, k).
        kept: Slices drawn before the session began, which propagation leaves alone.
        propagations: In their order, those that were undone left out.
    """

    model_path: str
    model_sha256: str
    fusion_sha256: str | None
    label: str
    device: str
    versions: dict[str, str]
    segment_id: str
    initial: BoxedMask
    known: BoxedMask
    place: np.ndarray
    kept: tuple[SliceEdit, ...] = ()
    propagations: tuple[SavedPropagation, ...] = ()

    @property
    def drawings(self) -> list[SliceEdit]:
        """All slices that were drawn, in their order."""
        return [*self.kept, *(edit for done in self.propagations for edit in done.edits)]

    def known_in(self, segment: BoxedMask) -> BoxedMask:
        """What a segment is compared with to find what was drawn since.

        That is `known`, unless the last propagation was undone meanwhile: where all voxels that it wrote are as drawn.
        """
        if not self.propagations:
            return self.known
        drawn = self.propagations[-1].drawn
        box = around(self.known.box, drawn.box)
        as_drawn = drawn.over(box)
        written = self.known.over(box) ^ as_drawn
        undone = written.any() and np.array_equal(segment.over(box)[written], as_drawn[written])
        return drawn if undone else self.known


def write_session(
    scene: slicer.vtkMRMLScene,
    session: SavedSession,
    volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
    segmentation_node: slicer.vtkMRMLSegmentationNode,
) -> slicer.vtkMRMLTextNode:
    """Put a session into the segment's node, which is made where there is none.

    Args:
        scene: Where the node goes.
        session: What was done.
        volume_nodes: One per channel.
        segmentation_node: Holds the segment.

    Returns:
        The node. It refers to volumes and segmentation by MRML references, which follow renamed and imported nodes.
    """
    node = find_session_node(scene, segmentation_node, session.segment_id)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", f"Context propagation: {segmentation_node.GetName()}")
        node.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeNever)  # it lies in the scene itself
        node.SetHideFromEditors(True)
        node.SetAttribute(ATTRIBUTE, session.segment_id)
    node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation_node.GetID())
    node.RemoveNodeReferenceIDs(VOLUME_ROLE)
    for volume in volume_nodes:
        node.AddNodeReferenceID(VOLUME_ROLE, volume.GetID())
    node.SetText(json.dumps(_plain(session)))
    return node


def find_session_node(
    scene: slicer.vtkMRMLScene, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str
) -> slicer.vtkMRMLTextNode | None:
    """The node of a segment's session; None where the scene has none."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLTextNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLTextNode")
        same = node.GetNodeReferenceID(SEGMENTATION_ROLE) == segmentation_node.GetID()
        if same and node.GetAttribute(ATTRIBUTE) == segment_id:
            return node
    return None


def archive_session(node: slicer.vtkMRMLTextNode) -> None:
    """Keep a session's record as text, but no longer as the segment's session: a new one takes its place.

    A record without a propagation is removed: what it keeps, the new one keeps or was told not to.
    """
    if '"propagations": []' in (node.GetText() or ""):
        node.GetScene().RemoveNode(node)
        return
    node.SetAttribute(ARCHIVED, node.GetAttribute(ATTRIBUTE))
    node.RemoveAttribute(ATTRIBUTE)
    node.SetName(f"{node.GetName()}{EARLIER}")


def take_back_archived(node: slicer.vtkMRMLTextNode) -> None:
    """Make an archived record the segment's session again: what was to take its place came to nothing."""
    if node.GetScene() is not None and node.GetAttribute(ARCHIVED):
        node.SetAttribute(ATTRIBUTE, node.GetAttribute(ARCHIVED))
        node.RemoveAttribute(ARCHIVED)
        node.SetName(node.GetName().removesuffix(EARLIER))


def remove_orphaned_sessions(scene: slicer.vtkMRMLScene) -> None:
    """Take sessions out of the scene whose segmentation was deleted.

    Where only the segment was, Undo of the Segment Editor may bring it back under its ID: its record waits for it.
    """
    count = scene.GetNumberOfNodesByClass("vtkMRMLTextNode")
    nodes = [scene.GetNthNodeByClass(number, "vtkMRMLTextNode") for number in range(count)]
    for node in nodes:
        is_session = node.GetAttribute(ATTRIBUTE) or node.GetAttribute(ARCHIVED)
        if is_session and node.GetNodeReference(SEGMENTATION_ROLE) is None:
            scene.RemoveNode(node)


def volumes_of(node: slicer.vtkMRMLTextNode) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The volumes that a session was made with, as far as they are in the scene."""
    count = node.GetNumberOfNodeReferences(VOLUME_ROLE)
    found = [node.GetNthNodeReference(VOLUME_ROLE, number) for number in range(count)]
    return [volume for volume in found if volume is not None]


def read_session(node: slicer.vtkMRMLTextNode, shape_kji: tuple[int, int, int]) -> SavedSession:
    """Read a session that somebody else may have written.

    Args:
        node: A session's node.
        shape_kji: Shape of the first volume.

    Raises:
        UserInputError: It is of another format, damaged, or was made with a volume of another size.
    """
    name, text = node.GetName(), node.GetText() or ""
    try:
        if len(text) > MAX_TEXT_BYTES:
            raise UserInputError(f"'{name}' is too large for a session")
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise UserInputError(f"'{name}' has format {content['format']!r:.60}, not {FORMAT!r}; update this program")
        return _session(content, shape_kji)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(f"'{name}' holds no session that can be restored ({error!r:.100})") from error


def _plain(session: SavedSession) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": {
            "path": session.model_path,
            "sha256": session.model_sha256,
            "fusion_sha256": session.fusion_sha256,
            "label": session.label,
        },
        "device": session.device,
        "versions": session.versions,
        "segment_id": session.segment_id,
        "initial": session.initial.plain(),
        "known": session.known.plain(),
        "place": session.place.tolist(),
        "kept": _plain_edits(session.kept),
        "propagations": [done.plain for done in session.propagations],
    }


def _session(content: dict[str, Any], shape_kji: tuple[int, int, int]) -> SavedSession:
    model, fusion = content["model"], content["model"]["fusion_sha256"]
    return SavedSession(
        model_path=str(model["path"]),
        model_sha256=str(model["sha256"]),
        fusion_sha256=None if fusion is None else str(fusion),
        label=str(model["label"]),
        device=str(content["device"]),
        versions={str(name): str(version) for name, version in content["versions"].items()},
        segment_id=str(content["segment_id"]),
        initial=BoxedMask.from_plain(content["initial"], shape_kji),
        known=BoxedMask.from_plain(content["known"], shape_kji),
        place=np.array(content["place"], np.float64).reshape(4, 4),
        kept=_edits(content["kept"], shape_kji),
        propagations=tuple(_propagation(done, shape_kji) for done in content["propagations"]),
    )


def _propagation(content: dict[str, Any], shape_kji: tuple[int, int, int]) -> SavedPropagation:
    edits = _edits(content["edits"], shape_kji)
    if not edits:
        raise UserInputError("A saved propagation has no drawn slice; the session cannot be restored")
    per_slice = {int(index): int(count) for index, count in content["changed_per_slice"].items()}
    drawn = BoxedMask.from_plain(content["drawn"], shape_kji)
    made_at, scope, refused = str(content["made_at"]), str(content["scope"]), int(content["refused"])
    return SavedPropagation(edits, drawn, made_at, scope, per_slice, refused)


def _plain_edits(edits: Sequence[SliceEdit]) -> list[dict[str, Any]]:
    return [{"axis": e.axis, "index": e.index, "mask": BoxedMask.of(e.mask[None]).plain()} for e in edits]


def _edits(content: list[dict[str, Any]], shape_kji: tuple[int, int, int]) -> tuple[SliceEdit, ...]:
    edits = []
    for edit in content:
        axis, index = int(edit["axis"]), int(edit["index"])
        if axis not in (0, 1, 2) or not 0 <= index < shape_kji[axis]:
            raise UserInputError(f"A saved edit is on slice {index} of axis {axis}, outside the volume")
        height, width = (n for a, n in enumerate(shape_kji) if a != axis)
        edits.append(SliceEdit(axis, index, BoxedMask.from_plain(edit["mask"], (1, height, width)).mask[0]))
    return tuple(edits)
