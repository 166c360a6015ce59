"""A propagated labelmap on the grid that the drawn one has: no other organ, and no thin part, is lost by resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.boxes import Box, around, bounding_box, inside_of, offset, slices_of, whole
from context_propagation.core.image.nearest_pull import index_of_array, mapped_box, pull_nearest
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.image.source_volume import SourceVolume, ijk_to_lps_of
from context_propagation.files.labelmap_files import Labelmap, labels_with, write_sitk
from context_propagation.files.segmentation import Propagated


def write_on_own_grid(
    path: Path,
    labelmap: Labelmap,
    own: OwnMask,
    values: tuple[int, ...],
    done: Propagated,
    volume: SourceVolume,
    outer: Sequence[int] = (),
) -> int:
    """Write `changed_on_own_grid`.

    Returns:
        Voxels that are not given to the label, because another one lies there.
    """
    written, start, refused = changed_on_own_grid(labelmap, own, values, done, volume, outer)
    image = sitk.GetImageFromArray(written)
    image.SetSpacing(labelmap.image.GetSpacing())
    image.SetDirection(labelmap.image.GetDirection())
    image.SetOrigin(labelmap.image.TransformIndexToPhysicalPoint(list(start[::-1])))
    write_sitk(path, image)
    return refused


def changed_on_own_grid(
    labelmap: Labelmap,
    own: OwnMask,
    values: tuple[int, ...],
    done: Propagated,
    volume: SourceVolume,
    outer: Sequence[int] = (),
) -> tuple[np.ndarray, tuple[int, int, int], int]:
    """A labelmap with what propagation changed in one label; where that lies beside its grid, the grid grows.

    Args:
        labelmap: As it was drawn.
        own: The label in it.
        values: The label's values; the first is given to new voxels.
        done: What propagation came to.
        volume: The image.
        outer: See `labels_with`.

    Returns:
        The labels `[K, J, I]`, at which index (k, j, i) of the given grid they start, and the voxels that are not given
        to the label, because another one lies there.
    """
    labels = sitk.GetArrayFromImage(labelmap.image)
    matrix = np.linalg.inv(volume.ijk_to_lps) @ ijk_to_lps_of(labelmap.image)
    flips, box = _flips(own, done, matrix)
    grown = around(whole(labels.shape), box)
    wide = np.zeros([stop - start for start, stop in grown], labels.dtype)
    wide[slices_of(inside_of(whole(labels.shape), grown))] = labels
    before = np.isin(wide, values)
    after = before.copy()
    after[slices_of(inside_of(box, grown))] ^= flips
    written, refused = labels_with(wide, before, after, values[0], outer)
    k, j, i = (int(start) for start, _ in grown)
    return written, (k, j, i), refused


def labelmap_of(path: Path, own: OwnMask, volume: SourceVolume) -> tuple[Labelmap, OwnMask]:
    """A segment on its own grid as a labelmap of 0 and 1, and the segment with indices of that labelmap.

    Raises:
        UserInputError: The grid is sheared, which an image file cannot hold.
    """
    grid = replace(own.grid, start_kji=(0, 0, 0))
    place = SourceVolume(np.zeros((1, *grid.shape), np.float32), volume.ijk_to_lps @ grid.image_from_own_ijk)
    return Labelmap(path, place.mask_to_sitk(own.mask.mask), (1,)), OwnMask(grid, own.mask)


def _flips(own: OwnMask, done: Propagated, matrix: np.ndarray) -> tuple[np.ndarray, Box]:
    """Which voxels of the labelmap's grid change, bool, and the box that they lie in."""
    around_change = bounding_box(done.to_write)
    if around_change is None:
        return np.zeros((0, 0, 0), bool), ((0, 0), (0, 0), (0, 0))
    box = mapped_box(around_change, np.linalg.inv(matrix))
    index = index_of_array(matrix, [start for start, _ in around_change])
    taken = pull_nearest(done.to_write[slices_of(around_change)], index, box)
    wanted = pull_nearest(done.segmentation[slices_of(around_change)], index, box)
    start = own.grid.start_kji
    old = own.mask.over(_moved(box, start))
    flips = taken & (old ^ wanted) & ~done.spared(box, start)
    tight = bounding_box(flips)
    if tight is None:
        return np.zeros((0, 0, 0), bool), ((0, 0), (0, 0), (0, 0))
    return flips[slices_of(tight)], offset(tight, box)


def _moved(box: Box, start_kji: tuple[int, int, int]) -> Box:
    return inside_of(box, ((start_kji[0], 0), (start_kji[1], 0), (start_kji[2], 0)))
