"""Connected pieces of a mask. Voxels are connected where they touch, also at edges and corners."""

from __future__ import annotations

from itertools import product

import numpy as np
import SimpleITK as sitk


def connected_pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the pieces.

    Args:
        mask: bool `[K, J, I]`.

    Returns:
        The number of each voxel's piece, from 1, int `[K, J, I]`; and how many voxels each number has.
    """
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    pieces = sitk.GetArrayFromImage(labels)
    sizes = np.bincount(pieces[mask], minlength=1)  # most of an image is background
    sizes[0] = mask.size - sizes.sum()
    return pieces, sizes


def overlaps(pieces: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each two pieces, one of either kind, with voxels in common: their numbers, and how many voxels.

    Args:
        pieces: int `[K, J, I]`, numbers from 1.
        others: The same.
    """
    both, count = (pieces > 0) & (others > 0), int(others.max(initial=0)) + 1
    pairs, shared = np.unique(pieces[both].astype(np.int64) * count + others[both], return_counts=True)
    return *np.divmod(pairs, count), shared


def touching(numbers: np.ndarray, among: np.ndarray) -> dict[int, set[int]]:
    """For each region that touches another one, the regions that it touches.

    Args:
        numbers: int `[K, J, I]`, of regions, from 1.
        among: bool `[K, J, I]`: of two voxels that touch, one is one of these.
    """
    padded, count = np.pad(numbers, 1), int(numbers.max(initial=0)) + 1
    flat, at = padded.reshape(-1), np.flatnonzero(np.pad(among, 1))
    own, pairs = flat[at].astype(np.int64), [np.zeros(0, np.int64)]
    for offset in product((-1, 0, 1), repeat=3):
        beside = flat[at + np.dot(offset, [padded.shape[1] * padded.shape[2], padded.shape[2], 1])]
        both = (own > 0) & (beside > 0) & (own != beside)
        pairs.append(np.unique(own[both] * count + beside[both]))
    found: dict[int, set[int]] = {}
    for one, other in zip(*(half.tolist() for half in np.divmod(np.unique(np.concatenate(pairs)), count)), strict=True):
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return found
