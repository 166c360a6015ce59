"""The edit that a simulated oncologist makes: the worst slice, redrawn as the ground truth (paper III-B)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit


def worst_slice(predicted: np.ndarray, truth: np.ndarray, axis: int, spacing_kji_mm: tuple[float, ...]) -> int:
    """The slice with the largest Hausdorff distance.

    Among slices in which both masks are non-empty; where there is none, the slice with the largest symmetric
    difference. Ties go to the lower index.

    Args:
        predicted: bool `[K, J, I]`.
        truth: bool `[K, J, I]`.
        axis: Array axis that the slices are perpendicular to.
        spacing_kji_mm: Voxel size along k, j, i.

    Raises:
        UserInputError: The masks are equal, so that no slice needs an edit.

    Source: Chao et al., III-B.
    """
    predicted, truth = np.moveaxis(predicted, axis, 0), np.moveaxis(truth, axis, 0)
    difference = (predicted ^ truth).sum(axis=(1, 2))
    if not difference.any():
        raise UserInputError("Prediction and ground truth are equal; there is no slice to edit")
    both = np.flatnonzero(predicted.any(axis=(1, 2)) & truth.any(axis=(1, 2)) & (difference > 0))
    if both.size == 0:
        return int(np.argmax(difference))
    plane_spacing = tuple(mm for a, mm in enumerate(spacing_kji_mm) if a != axis)
    distances = [_hausdorff_mm(predicted[index], truth[index], plane_spacing) for index in both]
    return int(both[int(np.argmax(distances))])


def largest_slice(truth: np.ndarray, axis: int, taken: Collection[int] = ()) -> int:
    """The slice with most ground-truth voxels, none that is taken; ties go to the lower index."""
    areas = np.moveaxis(truth, axis, 0).sum(axis=(1, 2), dtype=np.int64)
    areas[list(taken)] = -1
    return int(np.argmax(areas))


def redrawn_as(truth: np.ndarray, axis: int, index: int) -> SliceEdit:
    """The edit that draws one slice as the ground truth has it."""
    return SliceEdit(axis, index, truth.take(index, axis).astype(bool))


def _hausdorff_mm(a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, ...]) -> float:
    images = []
    for mask in (a, b):
        image = sitk.GetImageFromArray(np.ascontiguousarray(mask).astype(np.uint8))
        image.SetSpacing(spacing_mm[::-1])
        images.append(image)
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    return float(measure.GetHausdorffDistance())


def drawn_bad_slice(
    predicted: np.ndarray, truth: np.ndarray, axis: int, generator: np.random.Generator, taken: Collection[int] = ()
) -> int | None:
    """A slice drawn at random, worse ones more often: in proportion to the symmetric difference.

    Args:
        predicted: bool `[K, J, I]`.
        truth: bool `[K, J, I]`.
        axis: Array axis that the slices are perpendicular to.
        generator: Where the chance comes from.
        taken: Slices not to draw.

    Returns:
        The index; None where no other slice differs.
    """
    difference = np.moveaxis(predicted ^ truth, axis, 0).sum(axis=(1, 2)).astype(float)
    difference[list(taken)] = 0
    if not difference.any():
        return None
    return int(generator.choice(difference.size, p=difference / difference.sum()))


def edit_schedule(
    predicted: np.ndarray, truth: np.ndarray, axis: int, spacing_kji_mm: tuple[float, ...], count: int, seed: int
) -> list[SliceEdit]:
    """Single-slice edits to train on: the worst slice, the largest one, then bad ones at random, none twice.

    Slices on which prediction and ground truth agree are left out, so there may be fewer.

    Source: worst slice: Chao et al., III-B; the others: ours, so that the network serves any edit.
    """
    if np.array_equal(predicted, truth):
        return []
    generator = np.random.default_rng(seed)
    chosen = [worst_slice(predicted, truth, axis, spacing_kji_mm)]
    largest = largest_slice(truth, axis)
    if largest not in chosen and (predicted ^ truth).take(largest, axis).any():
        chosen.append(largest)
    while len(chosen) < count:
        index = drawn_bad_slice(predicted, truth, axis, generator, chosen)
        if index is None:
            break
        chosen.append(index)
    return [redrawn_as(truth, axis, index) for index in chosen[:count]]
