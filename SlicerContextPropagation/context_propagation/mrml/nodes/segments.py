"""Segments to masks on a volume's grid, and masks to new segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import Box, intersection, offset, whole
from context_propagation.core.image.nearest_pull import index_of_array, mapped_box, pull_nearest
from context_propagation.core.image.own_grid import OwnGrid, OwnMask
from context_propagation.mrml.nodes.labelmap_images import Labelmap, image_from_mask, labelmap_from_image
from context_propagation.mrml.nodes.volume_nodes import spacing_kji_mm, volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import between_nodes, relative_place, volume_ijk_to_ras

Color = tuple[float, float, float]
"""Red, green and blue from 0 to 1."""


DEFAULT_COLOR: Color = (0.9, 0.3, 0.2)


ONE_VOXEL: Box = ((0, 1), (0, 1), (0, 1))
"""The labelmap of an empty segment has a voxel, and so a grid."""


@dataclass(frozen=True)
class GridMapping:
    """How a segment's grid and a volume's grid lie to each other.

    Attributes:
        segment_ijk_to_ras: `[4, 4]`, from indices of the segment's grid to the segmentation's own RAS.
        volume_from_segment_ijk: `[4, 4]`, from indices of the segment's grid to indices of the volume.
    """

    segment_ijk_to_ras: np.ndarray
    volume_from_segment_ijk: np.ndarray

    @property
    def segment_from_volume_ijk(self) -> np.ndarray:
        return np.asarray(np.linalg.inv(self.volume_from_segment_ijk))


def segment_mask(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> np.ndarray:
    """A segment on a volume's grid: each voxel of the volume takes the nearest voxel of the segment's labelmap.

    Returns:
        bool `[K, J, I]` of the volume; all `False` for an empty segment.

    Raises:
        UserInputError: As `part_of_segment`, or a segment that lies outside the volume.
    """
    return boxed_segment(segmentation_node, segment_id, volume_node).mask


def boxed_segment(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> BoxedMask:
    """As `segment_mask`, in the box around it: in a large volume far quicker to make, keep and compare.

    Raises:
        UserInputError: As `segment_mask`.
    """
    labelmap = segment_labelmap(segmentation_node, segment_id)
    part = _part_of(labelmap, segmentation_node, volume_node)
    if part.is_empty and labelmap.voxels.any():
        raise _elsewhere(segmentation_node, segment_id, volume_node)
    return part


def _elsewhere(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> UserInputError:
    return UserInputError(
        f"Segment '{segment_name(segmentation_node, segment_id)}' covers no voxel of volume "
        f"'{volume_node.GetName()}'; select the volume it was drawn on, or check the transforms of both"
    )


def own_segment(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> OwnMask:
    """A segment on the grid that its voxels are stored on, as far as it lies on a volume.

    Raises:
        UserInputError: As `segment_mask`.
    """
    labelmap = segment_labelmap(segmentation_node, segment_id)
    matrix = segment_grid(segmentation_node, segment_id, volume_node).volume_from_segment_ijk
    grid = OwnGrid.on_lattice(matrix, volume_shape_kji(volume_node), spacing_kji_mm(volume_node))
    mask = labelmap.mask
    segment = OwnMask.placed(grid, mask, labelmap.start_kji)
    if segment.mask.is_empty and not mask.is_empty:
        raise _elsewhere(segmentation_node, segment_id, volume_node)
    return segment


def part_of_segment(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> np.ndarray:
    """What of a segment lies on a volume's grid, bool `[K, J, I]`; it may lie wholly outside.

    Raises:
        UserInputError: No such segment, a source representation other than binary labelmap, or a parent transform that
            is not linear.
    """
    labelmap = segment_labelmap(segmentation_node, segment_id)
    return _part_of(labelmap, segmentation_node, volume_node).mask


def _part_of(
    labelmap: Labelmap,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> BoxedMask:
    shape, mask = volume_shape_kji(volume_node), labelmap.mask
    nothing = BoxedMask(shape, EMPTY, np.zeros(0, np.uint8))
    if mask.is_empty:
        return nothing
    own_box = offset(mask.box, labelmap.box)
    mapping = grid_mapping(segmentation_node, labelmap.ijk_to_ras, volume_node)
    box = intersection(mapped_box(own_box, mapping.volume_from_segment_ijk), whole(shape))
    if box is None:
        return nothing
    index_from_volume = index_of_array(mapping.segment_from_volume_ijk, [start for start, _ in own_box])
    return BoxedMask.placed(shape, box, pull_nearest(mask.inside, index_from_volume, box, back=True))


def segment_labelmap(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Labelmap:
    """One segment's labelmap on its own grid, also where it shares a layer with others.

    Raises:
        UserInputError: No such segment, or a source representation other than binary labelmap.
    """
    require_segment(segmentation_node, segment_id)
    require_binary_labelmap(segmentation_node)
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    layer = segment.GetRepresentation(_binary_labelmap())
    if layer is None:
        return Labelmap(np.zeros((0, 0, 0), np.uint8), ((0, 0), (0, 0), (0, 0)), np.eye(4))
    return labelmap_from_image(layer, segment.GetLabelValue())


def segment_grid(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> GridMapping:
    """The grid that voxels of a segment are written on: its labelmap's (the whole shared layer's, where others lie in
    it), else the segmentation's reference geometry, else the volume's.

    Raises:
        UserInputError: As `segment_labelmap`, or a parent transform that is not linear.
    """
    labelmap = segment_labelmap(segmentation_node, segment_id)
    if labelmap.scalars.size:
        return grid_mapping(segmentation_node, labelmap.ijk_to_ras, volume_node)
    geometry = slicer.vtkSlicerSegmentEditorLogic.GetReferenceImageGeometryStringFromSegmentation(
        segmentation_node.GetSegmentation()
    )
    if geometry:
        image = slicer.vtkOrientedImageData()
        slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, False)
        return grid_mapping(segmentation_node, labelmap_from_image(image).ijk_to_ras, volume_node)
    return grid_mapping(segmentation_node, _volume_in_segmentation(segmentation_node, volume_node), volume_node)


def grid_mapping(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_ijk_to_ras: np.ndarray,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> GridMapping:
    """Relate a grid in a segmentation to a volume through world coordinates, parent transforms of both included."""
    return GridMapping(segment_ijk_to_ras, relative_place(volume_node, segmentation_node) @ segment_ijk_to_ras)


def add_segmentation(
    scene: slicer.vtkMRMLScene, volume_node: slicer.vtkMRMLScalarVolumeNode, name: str, shown_to_user: bool = True
) -> slicer.vtkMRMLSegmentationNode:
    """Add an empty segmentation on a volume's grid, under the volume's parent transform.

    Args:
        scene: Where the node goes.
        volume_node: Gives grid and transform.
        name: The node's name.
        shown_to_user: Otherwise selectors do not offer it, and it is not saved with the scene.
    """
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(scene.GenerateUniqueName(name))
    node.SetSaveWithScene(shown_to_user)
    node = scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    node.SetHideFromEditors(not shown_to_user)  # only now: Slicer logs errors for a segmentation that is added hidden
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    return node


def add_segment_from_mask(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    mask: np.ndarray,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    name: str,
    color: Color = DEFAULT_COLOR,
) -> str:
    """Add a mask as a new segment on the volume's grid; other segments are not touched.

    Args:
        segmentation_node: Where the segment goes.
        mask: bool `[K, J, I]` of the volume; may be empty.
        volume_node: The volume whose grid the mask lies on.
        name: The segment's name.
        color: Its color.

    Returns:
        The new segment's ID.

    Raises:
        UserInputError: The mask has another shape than the volume, the segmentation's source representation is not
            binary labelmap, or a parent transform is not linear.
    """
    return add_segment_in_box(segmentation_node, BoxedMask.of(mask), volume_node, name, color)


def add_segment_in_box(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    mask: BoxedMask,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    name: str,
    color: Color = DEFAULT_COLOR,
) -> str:
    """As `add_segment_from_mask`: the labelmap is no larger than the mask's box, as Slicer leaves it after a stroke."""
    shape = volume_shape_kji(volume_node)
    if mask.shape != shape:
        raise UserInputError(
            f"The mask has shape {mask.shape} and volume '{volume_node.GetName()}' has {shape} (k, j, i); "
            "give a mask on the volume's grid"
        )
    grid = OwnGrid.of_image(shape)
    return add_own_segment(segmentation_node, OwnMask(grid, mask), volume_node, name, color)


def add_own_segment(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment: OwnMask,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    name: str,
    color: Color = DEFAULT_COLOR,
) -> str:
    """As `add_segment_in_box`, of a mask on any grid beside the volume's."""
    require_binary_labelmap(segmentation_node)
    mask = segment.mask
    box = ONE_VOXEL if mask.is_empty else mask.box
    matrix = _volume_in_segmentation(segmentation_node, volume_node) @ segment.grid.image_from_own_ijk
    image = image_from_mask(mask.over(box), box, matrix)
    segment_id: str = segmentation_node.AddSegmentFromBinaryLabelmapRepresentation(image, name, list(color), "")
    if not segment_id:
        raise UserInputError(
            f"Segment '{name}' could not be added to '{segmentation_node.GetName()}'; add it to a new segmentation"
        )
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    segment.SetNameAutoGenerated(False)  # or Slicer may rename and recolour it by its terminology
    segment.SetColorAutoGenerated(False)
    return segment_id


def convert_to_binary_labelmap(
    segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Make binary labelmap the source representation, on a volume's grid. Ask the user first: contours are resampled.

    Args:
        segmentation_node: A segmentation of closed surfaces or planar contours, e.g. an imported RTSTRUCT.
        volume_node: The volume whose grid the labelmaps take.

    Raises:
        UserInputError: Slicer has no conversion from this representation.
    """
    segmentation = segmentation_node.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    if source == _binary_labelmap():
        return
    surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    had_surface = segmentation.ContainsRepresentation(surface)
    segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    if not segmentation.CreateRepresentation(_binary_labelmap(), True):
        raise UserInputError(
            f"Segmentation '{segmentation_node.GetName()}' ({source}) cannot be converted to binary labelmap; "
            "export it to a labelmap, with SlicerRT for planar contours, and import that"
        )
    segmentation.SetSourceRepresentationName(_binary_labelmap())  # drops all other representations
    if had_surface:
        segmentation.CreateRepresentation(surface)


def is_binary_labelmap(segmentation_node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a segmentation is stored as voxels, or has no segment yet."""
    segmentation = segmentation_node.GetSegmentation()
    return not segmentation.GetNumberOfSegments() or segmentation.GetSourceRepresentationName() == _binary_labelmap()


def require_binary_labelmap(segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
    """Raises:
    UserInputError: The segmentation has segments and its source representation is not binary labelmap.
    """
    if not is_binary_labelmap(segmentation_node):
        source = segmentation_node.GetSegmentation().GetSourceRepresentationName()
        raise UserInputError(
            f"Segmentation '{segmentation_node.GetName()}' is stored as '{source}'; "
            "convert it to binary labelmap first (this resamples its contours)"
        )


def require_segment(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
    """Raises:
    UserInputError: The segmentation has no segment of this ID.
    """
    segmentation = segmentation_node.GetSegmentation()
    if segment_id not in segmentation.GetSegmentIDs():
        ids = ", ".join(segmentation.GetSegmentIDs()) or "none"
        raise UserInputError(
            f"Segmentation '{segmentation_node.GetName()}' has no segment '{segment_id}'; its segments are: {ids}"
        )


def segment_named(segmentation_node: slicer.vtkMRMLSegmentationNode, wanted: str | None) -> str:
    """The ID of the segment with this ID or name; without either, of the only one.

    Raises:
        UserInputError: There is none, or several.
    """
    ids = list(segmentation_node.GetSegmentation().GetSegmentIDs())
    if wanted in ids:
        return str(wanted)
    names = {segment_id: segment_name(segmentation_node, segment_id) for segment_id in ids}
    found = [segment_id for segment_id, name in names.items() if wanted in (None, name)]
    if len(found) != 1:
        asked = "" if wanted is None else f" named '{wanted}'"
        listed = ", ".join(f"'{name}'" for name in names.values()) or "none"
        raise UserInputError(
            f"Segmentation '{segmentation_node.GetName()}' has {len(found)} segments{asked}; name one of: {listed}"
        )
    return str(found[0])


def segment_name(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> str:
    """The name that the user sees."""
    return str(segmentation_node.GetSegmentation().GetSegment(segment_id).GetName())


def _volume_in_segmentation(
    segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray:
    """From a volume's indices to the segmentation's own RAS."""
    return np.asarray(between_nodes(volume_node, segmentation_node) @ volume_ijk_to_ras(volume_node))


def _binary_labelmap() -> str:
    return str(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName())
