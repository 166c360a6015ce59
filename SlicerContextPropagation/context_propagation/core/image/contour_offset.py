"""Contours moved outwards or inwards within slices, and the move that fits a drawing best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.source_volume import SourceVolume

OFFSETS_MM = np.arange(-4.0, 4.01, 0.25)
"""That are tried; above 0 is outwards."""


DSC_PER_MM = 0.002
"""What an offset costs: where the drawing hardly tells two apart, the smaller one is taken."""


TIE_MM = 1e-3
"""A voxel at an offset's distance is within it, however the distance was rounded."""


def contour_depth_mm(mask: np.ndarray, axis: int, spacing_kji_mm: Sequence[float]) -> np.ndarray:
    """Signed distance to the mask's contour within each slice, positive inside; minus infinity on empty slices.

    Args:
        mask: bool `[K, J, I]`.
        axis: Array axis that the slices are perpendicular to.
        spacing_kji_mm: Voxel size.

    Returns:
        float64, the mask's shape.
    """
    plane = [mm for a, mm in enumerate(spacing_kji_mm) if a != axis]
    depth = np.full(mask.shape, -np.inf)
    for of_slice, inside in zip(np.moveaxis(depth, axis, 0), np.moveaxis(mask, axis, 0), strict=True):
        if inside.any():
            image = sitk.GetImageFromArray(inside.astype(np.uint8))
            image.SetSpacing(plane[::-1])
            found = sitk.SignedMaurerDistanceMap(
                image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
            )
            of_slice[:] = sitk.GetArrayFromImage(found)
    return depth


def moved_outwards(depth_mm: np.ndarray, offset_mm: float) -> np.ndarray:
    """The mask whose contour lies so far outside; inside where the offset is below 0. See `contour_depth_mm`."""
    return depth_mm >= -offset_mm - TIE_MM


def moved_contours(mask: np.ndarray, volume: SourceVolume, offset_mm: float) -> np.ndarray:
    """A mask on an image, its contours moved outwards within axial slices; the mask itself where the offset is 0."""
    if not offset_mm:
        return mask
    return moved_outwards(contour_depth_mm(mask, volume.axis_of_plane("axial"), volume.spacing_kji_mm), offset_mm)


def best_offset_mm(depth_mm: np.ndarray, drawn: np.ndarray) -> float:
    """The offset whose mask fits a drawing best by DSC, less `DSC_PER_MM`.

    Args:
        depth_mm: See `contour_depth_mm`.
        drawn: bool, of the same shape.
    """
    fits = [fit(moved_outwards(depth_mm, offset), drawn) - DSC_PER_MM * abs(offset) for offset in OFFSETS_MM]
    return float(OFFSETS_MM[int(np.argmax(fits))])


def fit(mask: np.ndarray, drawn: np.ndarray) -> float:
    """DSC of all slices together, bool of one shape; 1 where both are empty."""
    voxels = int(mask.sum() + drawn.sum())
    return 2 * int((mask & drawn).sum()) / voxels if voxels else 1.0
