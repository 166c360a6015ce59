"""Arrays as labelmaps that lie at given indices of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import (
    Box,
    bounding_box,
    box_shape,
    inside_of,
    intersection,
    slices_of,
)
from context_propagation.mrml.nodes.world_matrices import to_numpy, to_vtk


@dataclass(frozen=True)
class Labelmap:
    """A labelmap's voxels and where they lie. It is a view: read what is needed before the image changes.

    Attributes:
        scalars: `[K, J, I]`, the image's own.
        box: Indices of the voxels on the labelmap's grid; may start below zero.
        ijk_to_ras: float64 `[4, 4]`, from indices of the grid to the segmentation's own RAS (no parent transform).
        label_value: The value that counts; None for all above zero.
    """

    scalars: np.ndarray
    box: Box
    ijk_to_ras: np.ndarray
    label_value: int | None = None

    @property
    def voxels(self) -> np.ndarray:
        """All voxels, bool `[K, J, I]`; of a large image, this takes a while."""
        return self._are_inside(self.scalars)

    @property
    def start_kji(self) -> tuple[int, int, int]:
        """Where the voxels start on the labelmap's grid."""
        (k, _), (j, _), (i, _) = self.box
        return k, j, i

    @property
    def mask(self) -> BoxedMask:
        """The voxels as bits, counted from the first one; far quicker than all of them where the image is large."""
        k, j, i = self.scalars.shape
        bytes_only = self.scalars.dtype.itemsize == 1
        box = bounding_box(self.scalars.view(bool) if bytes_only else self.scalars)  # not one comparison per voxel
        if box is None:
            return BoxedMask((k, j, i), EMPTY, np.zeros(0, np.uint8))
        voxels = self.scalars[slices_of(box)]
        if not all(self._are_inside(voxels.take(end, axis)).any() for axis in range(3) for end in (0, -1)):
            return BoxedMask.placed((k, j, i), box, self._are_inside(voxels))  # other segments reach farther
        eight_slices = [np.packbits(self._are_inside(voxels[at : at + 8])) for at in range(0, len(voxels), 8)]
        return BoxedMask((k, j, i), box, np.concatenate(eight_slices))

    def crop(self, box: Box) -> np.ndarray:
        """The scalars of a box that lies in the labelmap, a view."""
        return self.scalars[slices_of(inside_of(box, self.box))]

    def over(self, box: Box) -> np.ndarray:
        """The voxels of another box of the same grid, bool; `False` outside the labelmap."""
        common = intersection(box, self.box)
        if common == box:
            return self._are_inside(self.crop(box))
        result = np.zeros(box_shape(box), bool)
        if common is not None:
            result[slices_of(inside_of(common, box))] = self._are_inside(self.crop(common))
        return result

    def _are_inside(self, scalars: np.ndarray) -> np.ndarray:
        return np.asarray(scalars > 0 if self.label_value is None else scalars == self.label_value)


def labelmap_from_image(image: slicer.vtkOrientedImageData, label_value: int | None = None) -> Labelmap:
    """The voxels of one value, or all above zero, of an oriented image; an empty image gives an empty box."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    if i1 < i0 or j1 < j0 or k1 < k0 or image.GetPointData().GetScalars() is None:
        return Labelmap(np.zeros((0, 0, 0), np.uint8), ((0, 0), (0, 0), (0, 0)), to_numpy(matrix))
    box = ((k0, k1 + 1), (j0, j1 + 1), (i0, i1 + 1))
    return Labelmap(scalars_kji(image), box, to_numpy(matrix), label_value)


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
