"""Axes at right angles: what every file that is written needs, and not every file that is read has."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError

logger = logging.getLogger(__name__)


LARGEST_SHIFT = 0.5
"""How far a voxel may move when axes are set at right angles, in voxels: its nearest voxel stays the same."""


TOLD_SHIFT = 0.005
"""From how much on that is said, in voxels; below lies what headers round."""


ROUNDING = 1e-6
"""Below this a grid stays as it is, bit by bit; in voxels."""


def at_right_angles(ijk_to_lps: np.ndarray, shape_ijk: Sequence[int], what: str) -> np.ndarray:
    """The grid with its axes turned to the nearest right angles around the middle of the image.

    Args:
        ijk_to_lps: float `[4, 4]`, from voxel indices to mm.
        shape_ijk: Size of the image.
        what: Starts the message, such as "Image 'ct.nii.gz'".

    Returns:
        float `[4, 4]`; voxel sizes stay.

    Raises:
        UserInputError: An axis has no length, or the grid is sheared: a voxel would move by more than half its size.
    """
    columns = np.asarray(ijk_to_lps, float)[:3, :3]
    sizes_mm = np.linalg.norm(columns, axis=0)
    if not np.isfinite(ijk_to_lps).all() or not (sizes_mm > 0).all():
        raise UserInputError(
            f"{what} has voxels of {' x '.join(f'{size:g}' for size in sizes_mm)} mm; correct the spacing in its header"
        )
    left, strength, right = np.linalg.svd(columns / sizes_mm)
    if strength[-1] < 1e-3:
        raise UserInputError(f"{what} has two axes of one direction; correct the directions in its header")
    nearest = left @ right * sizes_mm
    middle = (np.asarray(shape_ijk) - 1) / 2
    shift_mm = _farthest(nearest - columns, middle)
    shift = _farthest(left @ right @ (nearest - columns) / sizes_mm, middle)
    if shift < ROUNDING:
        return np.asarray(ijk_to_lps, float)
    if shift > LARGEST_SHIFT:
        raise UserInputError(
            f"{what} is sheared: its axes are {_off_degrees(columns / sizes_mm):.3g} degrees off a right angle, and "
            f"setting them right would move voxels by up to {shift_mm:.3g} mm; resample it onto a grid at right angles"
        )
    if shift > TOLD_SHIFT:
        logger.warning(
            "%s has axes %.2g degrees off a right angle; they are set right, which moves no voxel by more than %.2g mm",
            *(what, _off_degrees(columns / sizes_mm), shift_mm),
        )
    matrix = np.eye(4)
    matrix[:3, :3] = nearest
    matrix[:3, 3] = np.asarray(ijk_to_lps)[:3, 3] + (columns - nearest) @ middle
    return matrix


def image_on(voxels: np.ndarray, ijk_to_lps: np.ndarray) -> sitk.Image:
    """An image of voxels `[K, J, I]` on a grid whose axes are at right angles."""
    image = sitk.GetImageFromArray(voxels)
    sizes_mm = np.linalg.norm(ijk_to_lps[:3, :3], axis=0)
    image.SetSpacing(sizes_mm.tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / sizes_mm).ravel().tolist())
    return image


def _farthest(change: np.ndarray, middle: np.ndarray) -> float:
    """How far a corner of the image moves when its middle stays."""
    signs = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)]).T
    return float(np.linalg.norm(change @ (signs * middle[:, None]), axis=0).max())


def _off_degrees(directions: np.ndarray) -> float:
    """The largest angle by which two axes miss a right one."""
    between = directions.T @ directions
    return float(np.degrees(np.arcsin(np.clip(np.abs(between - np.diag(np.diag(between))).max(), 0, 1))))
