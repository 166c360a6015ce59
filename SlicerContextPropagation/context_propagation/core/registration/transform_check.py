"""What a transform does on a grid: displacement, folding, and how much of the body the moving image covers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import Cancelled

SLAB_VOXELS = 4_000_000
"""How much of the displacement field is in memory at a time; a voxel takes some 100 bytes."""


@dataclass(frozen=True)
class TransformCheck:
    """A transform over all voxels of a grid.

    Attributes:
        voxels: Of the grid.
        negative_jacobians: Voxels at which the determinant of the Jacobian is 0 or below: space is folded.
        jacobian_min: Smallest determinant; 1 keeps volumes.
        jacobian_max: Largest determinant.
        displacement_mean_mm: Mean distance from a voxel to where the transform sends it.
        displacement_max_mm: Largest such distance.
    """

    voxels: int
    negative_jacobians: int
    jacobian_min: float
    jacobian_max: float
    displacement_mean_mm: float
    displacement_max_mm: float

    @property
    def negative_share(self) -> float:
        """Share of voxels that are folded."""
        return self.negative_jacobians / self.voxels


def check_transform(
    transform: sitk.Transform,
    grid: sitk.Image,
    progress: Progress = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> TransformCheck:
    """Measure a transform on each voxel of a 3D grid, any direction cosines.

    Raises:
        Cancelled: As `cancelled` says; asked before each slab of slices.
    """
    voxels, negative, total = 0, 0, 0.0
    low, high, furthest = np.inf, -np.inf, 0.0
    for start, stop in _slabs(grid):
        if cancelled():
            raise Cancelled
        field = _field(transform, grid, max(0, start - 1), min(grid.GetSize()[2], stop + 1))
        inner = slice(min(start, 1), min(start, 1) + stop - start)
        jacobian = sitk.GetArrayFromImage(jacobian_determinant(field))[inner]
        distance = np.linalg.norm(sitk.GetArrayViewFromImage(field)[inner], axis=-1)
        voxels += jacobian.size
        negative += int((jacobian <= 0).sum())
        low, high = min(low, float(jacobian.min())), max(high, float(jacobian.max()))
        total, furthest = total + float(distance.sum()), max(furthest, float(distance.max()))
        progress("checking", stop / grid.GetSize()[2])
    return TransformCheck(voxels, negative, low, high, total / voxels, furthest)


def jacobian_determinant(field: sitk.Image) -> sitk.Image:
    """Determinants of the Jacobian of x + u(x), by central differences, one-sided at the border.

    ITK's filter reads components as if they ran along the array axes, and halves derivatives at the border. So u is
    turned into the frame of the grid, D^T u, and goes on in a straight line for a voxel on each side. The determinant
    is that of the patient frame: det(I + G D^T) = det(I + D^T G), with G the derivatives of u along the array axes.

    Args:
        field: u in patient coordinates, in mm; two voxels or more along each axis.
    """
    direction = np.reshape(field.GetDirection(), (3, 3))
    turned = sitk.GetArrayViewFromImage(field) @ direction
    padded = np.pad(turned, [(1, 1), (1, 1), (1, 1), (0, 0)], mode="reflect", reflect_type="odd")
    image = sitk.GetImageFromArray(padded, isVector=True)
    image.SetSpacing(field.GetSpacing())
    determinant: sitk.Image = sitk.Crop(sitk.DisplacementFieldJacobianDeterminant(image), (1, 1, 1), (1, 1, 1))
    return determinant


def covered_share(body: sitk.Image, moving: sitk.Image, transform: sitk.Transform) -> float:
    """Share of the voxels of a mask that the transform sends into the moving image; 0 for an empty mask."""
    inside = sitk.Image(moving.GetSize(), sitk.sitkUInt8) + 1
    inside.CopyInformation(moving)
    covered = sitk.Resample(inside, body, transform, sitk.sitkNearestNeighbor, 0)
    mask = sitk.GetArrayViewFromImage(body) > 0
    return float(sitk.GetArrayViewFromImage(covered)[mask].mean()) if mask.any() else 0.0


def _slabs(grid: sitk.Image) -> Iterator[tuple[int, int]]:
    i, j, k = grid.GetSize()
    step = max(1, SLAB_VOXELS // (i * j))
    for start in range(0, k, step):
        yield start, min(start + step, k)


def _field(transform: sitk.Transform, grid: sitk.Image, start: int, stop: int) -> sitk.Image:
    """Displacements on slices `start` to `stop`."""
    i, j, _ = grid.GetSize()
    field: sitk.Image = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        (i, j, stop - start),
        grid.TransformIndexToPhysicalPoint((0, 0, start)),
        grid.GetSpacing(),
        grid.GetDirection(),
    )
    return field
