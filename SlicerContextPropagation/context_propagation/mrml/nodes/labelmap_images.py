"""Arrays as labelmaps that lie at given indices of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from context_propagation.core.image.boxes import Box, box_shape
from context_propagation.mrml.nodes.world_matrices import to_numpy, to_vtk


@dataclass(frozen=True)
class Labelmap:
    """A labelmap's voxels and where they lie.

    Attributes:
        voxels: bool `[K, J, I]`.
        box: Indices of the voxels on the labelmap's grid; may start below zero.
        ijk_to_ras: float64 `[4, 4]`, from indices of the grid to the segmentation's own RAS (no parent transform).
    """

    voxels: np.ndarray
    box: Box
    ijk_to_ras: np.ndarray

    def over(self, box: Box) -> np.ndarray:
        """The voxels of another box of the same grid, bool; `False` outside the labelmap."""
        result = np.zeros(box_shape(box), bool)
        theirs, ours = [], []
        for (start, stop), (own_start, own_stop) in zip(box, self.box, strict=True):
            low, high = max(start, own_start), min(stop, own_stop)
            theirs.append(slice(low - start, max(high, low) - start))
            ours.append(slice(low - own_start, max(high, low) - own_start))
        result[tuple(theirs)] = self.voxels[tuple(ours)]
        return result


def labelmap_from_image(image: slicer.vtkOrientedImageData, label_value: int | None = None) -> Labelmap:
    """The voxels of one value, or all above zero, of an oriented image; an empty image gives an empty box."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    if i1 < i0 or j1 < j0 or k1 < k0 or image.GetPointData().GetScalars() is None:
        return Labelmap(np.zeros((0, 0, 0), bool), ((0, 0), (0, 0), (0, 0)), to_numpy(matrix))
    box = ((k0, k1 + 1), (j0, j1 + 1), (i0, i1 + 1))
    scalars = scalars_kji(image)
    return Labelmap(scalars > 0 if label_value is None else scalars == label_value, box, to_numpy(matrix))


def image_from_mask(mask: np.ndarray, box: Box, ijk_to_ras: np.ndarray) -> slicer.vtkOrientedImageData:
    """An oriented image, unsigned char, 1 inside a mask.

    Args:
        mask: bool, the box's shape.
        box: Where the mask lies on the grid.
        ijk_to_ras: `[4, 4]`, from indices of the grid to RAS.
    """
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(to_vtk(ijk_to_ras))
    (k0, k1), (j0, j1), (i0, i1) = box
    image.SetExtent(i0, i1 - 1, j0, j1 - 1, k0, k1 - 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    scalars_kji(image)[...] = mask
    return image


def scalars_kji(image: vtk.vtkImageData) -> np.ndarray:
    """The scalars of an image `[K, J, I]`, a view."""
    return np.asarray(vtk_to_numpy(image.GetPointData().GetScalars())).reshape(image.GetDimensions()[::-1])
