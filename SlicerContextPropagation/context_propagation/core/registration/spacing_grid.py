"""A grid with another voxel spacing over the same piece of the patient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import PLANES, SourceVolume, ijk_to_lps_of

ROUNDING = 1e-6
"""Spacing in files is rounded: 10.4999999 voxels are 10.5."""


def grid_with_spacing(image: sitk.Image, spacing_lps_mm: Sequence[float]) -> sitk.Image:
    """An empty image with the direction and the centre of `image`, and its extent up to half a voxel.

    The extent is that of the voxels, not of their centres. It is divided by the new spacing and rounded, so that every
    new voxel's centre lies within the old extent; what is left over is shared between both ends.

    Args:
        image: 3D, any direction cosines.
        spacing_lps_mm: Left-right, anterior-posterior, superior-inferior; each goes to the array axis closest to it.

    Raises:
        UserInputError: A spacing is not a positive number, or leaves fewer than two voxels along an axis.
    """
    wanted = _spacing_ijk(image, spacing_lps_mm)
    old_size, old_spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    size = [
        math.floor(extent / step + 0.5 + ROUNDING) for extent, step in zip(old_size * old_spacing, wanted, strict=True)
    ]
    if min(size) < 2:
        raise UserInputError(
            f"Spacing {_text(spacing_lps_mm)} mm leaves {' x '.join(map(str, size))} voxels of a CT that measures "
            f"{_text(old_size * old_spacing)} mm; give a smaller spacing"
        )
    direction = np.reshape(image.GetDirection(), (3, 3))
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint(((old_size - 1) / 2).tolist()))
    grid = sitk.Image(size, sitk.sitkFloat32)
    grid.SetSpacing(wanted)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin((centre - direction @ ((np.array(size) - 1) / 2 * wanted)).tolist())
    return grid


def _spacing_ijk(image: sitk.Image, spacing_lps_mm: Sequence[float]) -> list[float]:
    if len(spacing_lps_mm) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing_lps_mm):
        raise UserInputError(
            f"Spacing {_text(spacing_lps_mm)} is not three positive numbers of mm; give e.g. 1.0 2.0 2.5"
        )
    volume = SourceVolume(np.zeros((1, 2, 2, 2), np.float32), ijk_to_lps_of(image))
    wanted = [0.0, 0.0, 0.0]
    for plane, spacing in zip(PLANES, spacing_lps_mm, strict=True):
        wanted[2 - volume.axis_of_plane(plane)] = float(spacing)
    return wanted


def _text(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
