"""Scalar volume nodes to source volumes and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume, planes_of_axes, same_places
from context_propagation.mrml.nodes.world_matrices import RAS_TO_LPS, to_vtk, volume_ijk_to_world


def deferred_source_volume(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> Callable[[], SourceVolume]:
    """Check volume nodes that are the channels of one image; converting them takes time, and may be done elsewhere.

    Arrays are taken as they lie in the nodes; origins, directions and parent transforms only enter the matrix.

    Args:
        nodes: One node per channel, in the order that the model was trained with.

    Returns:
        A function that copies and converts the voxels; once, on any thread. It raises `UserInputError` for NaN.

    Raises:
        UserInputError: No node, a node without voxels or with several components, a parent transform that is not
            linear, or grids that differ.
    """
    # Each array holds on to its VTK array: it outlives its node, and VTK allocates another one for new voxels.
    arrays, matrix = _channels_of(nodes)

    def convert() -> SourceVolume:
        channels = np.stack(arrays, dtype=np.float32, casting="unsafe")
        arrays.clear()  # on this thread: to give back so much memory takes a while
        return SourceVolume(channels, RAS_TO_LPS @ matrix)

    return convert


def require_one_image(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
    """Raises:
    UserInputError: As `deferred_source_volume`.
    """
    _channels_of(nodes)


def _channels_of(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> tuple[list[np.ndarray], np.ndarray]:
    """The voxels of each node, views, and the matrix `[4, 4]` from their indices to world RAS."""
    if not nodes:
        raise UserInputError("No volume is selected; select one volume per channel")
    arrays = [volume_array(node) for node in nodes]
    matrices = [volume_ijk_to_world(node) for node in nodes]
    for node, array, matrix in zip(nodes, arrays, matrices, strict=True):
        if array.shape != arrays[0].shape or not same_places(matrix, matrices[0], array.shape[::-1]):
            raise UserInputError(
                f"Volume '{node.GetName()}' {_describe(array, matrix)} is not on the grid of "
                f"'{nodes[0].GetName()}' {_describe(arrays[0], matrices[0])}; press Align... in the module first"
            )
    return arrays, matrices[0]


def planes_of_volume(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[str, str, str]:
    """The anatomical plane of the slices along each array axis (k, j, i) of a volume."""
    return planes_of_axes(RAS_TO_LPS @ volume_ijk_to_world(node))


def spacing_kji_mm(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float, float]:
    """Voxel size along k, j, i in world millimetres, parent transforms included."""
    i, j, k = np.linalg.norm(volume_ijk_to_world(node)[:3, :3], axis=0)
    return float(k), float(j), float(i)


def volume_array(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The voxels of a volume node `[K, J, I]`, a view.

    Raises:
        UserInputError: The node has no voxels, or several components per voxel.
    """
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise UserInputError(f"Volume '{node.GetName()}' has no voxels; load an image into it")
    if image.GetNumberOfScalarComponents() != 1:
        raise UserInputError(
            f"Volume '{node.GetName()}' has {image.GetNumberOfScalarComponents()} components per voxel; "
            "split it into one scalar volume per channel"
        )
    return np.asarray(vtk_to_numpy(image.GetPointData().GetScalars())).reshape(image.GetDimensions()[::-1])


def volume_shape_kji(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[int, int, int]:
    """The shape (k, j, i) of a volume node's array.

    Raises:
        UserInputError: The node has no voxels.
    """
    k, j, i = volume_array(node).shape
    return k, j, i


def image_times(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> tuple[int, ...]:
    """When the voxels of each volume were last changed, or the image replaced: VTK's modification times; -1 without."""
    images = [node.GetImageData() for node in nodes]
    return tuple(-1 if image is None else image.GetMTime() for image in images)


def image_state(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> tuple[tuple[int, bytes], ...]:
    """Equal to an earlier one where no voxels were changed since and no volume was moved."""
    matrices = [volume_ijk_to_world(node).tobytes() for node in nodes]
    return tuple(zip(image_times(nodes), matrices, strict=True))


def add_volume(
    scene: slicer.vtkMRMLScene, volume: SourceVolume, name: str, channel: int = 0, owned: bool = False
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add one channel of an image to a scene as a volume node.

    Args:
        scene: Where the node goes.
        volume: The image.
        name: The node's name.
        channel: Which channel.
        owned: Whether the voxels are nobody else's, and need not be copied: of a large image, that takes a while.
    """
    voxels = np.ascontiguousarray(volume.channels[channel])
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=not owned))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(to_vtk(RAS_TO_LPS @ volume.ijk_to_lps))
    node.SetAndObserveImageData(image)
    return node


def _describe(array: np.ndarray, matrix: np.ndarray) -> str:
    spacing = np.linalg.norm(matrix[:3, :3], axis=0).round(7).tolist()
    origin = matrix[:3, 3].round(5).tolist()
    return f"(size {list(array.shape[::-1])}, spacing {spacing} mm, origin {origin} RAS)"
