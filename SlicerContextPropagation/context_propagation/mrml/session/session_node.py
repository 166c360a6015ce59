"""A saved session on a plain text node: it goes with the scene."""

from __future__ import annotations

from collections.abc import Sequence

import slicer

from context_propagation.core.session.saved_session import SavedSession, session_of, text_of

ATTRIBUTE, ARCHIVED = "ContextPropagation.Session", "ContextPropagation.EarlierSession"


EARLIER = " (earlier)"


SEGMENTATION_ROLE, VOLUME_ROLE = "ContextPropagation.Segmentation", "ContextPropagation.Volume"


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
    node.SetText(text_of(session))
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


def started_segments(
    scene: slicer.vtkMRMLScene,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> list[str]:
    """IDs of the segments of a segmentation that were started on a volume and are still there."""
    found = []
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLTextNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLTextNode")
        same = node.GetNodeReferenceID(SEGMENTATION_ROLE) == segmentation_node.GetID()
        if same and node.GetNthNodeReferenceID(VOLUME_ROLE, 0) == volume_node.GetID():
            found.append(node.GetAttribute(ATTRIBUTE))
    return [one for one in found if one and segmentation_node.GetSegmentation().GetSegment(one) is not None]


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


def read_session(node: slicer.vtkMRMLTextNode, shape_kji: tuple[int, int, int]) -> SavedSession:
    """Read a session that somebody else may have written.

    Args:
        node: A session's node.
        shape_kji: Shape of the first volume.

    Raises:
        UserInputError: It is of another format, damaged, or was made with a volume of another size.
    """
    return session_of(node.GetText() or "", node.GetName(), shape_kji)
