"""Where the voxels of two grids lie, in plain numpy with voxel centres in millimetres: knows no resampling, no rule of
the product. The image's axes are at right angles.
"""

from dataclasses import dataclass

import numpy as np

TIE_MM = 1e-5


@dataclass
class Nearest:
    """For each voxel of an own grid `[K, J, I]`: the nearest image voxel.

    Attributes:
        kji: `[3, K, J, I]`, its indices.
        tied: bool `[3, K, J, I]`, whether another index along that axis is as near.
        on_image: bool `[K, J, I]`, whether the centre lies in a voxel of the image; not on its outermost face.
    """

    kji: np.ndarray
    tied: np.ndarray
    on_image: np.ndarray


def nearest_image_voxels(own_to_world, own_shape, image_to_world, image_shape):
    """By the distance of each voxel's centre to the image's slices, in millimetres; every slice is tried."""
    k, j, i = np.indices(own_shape).reshape(3, -1)
    centres = own_to_world[:3] @ np.vstack([i, j, k, np.ones(k.size)])
    nearest, tied, on_image = [], [], np.ones(k.size, bool)
    for axis in range(3):
        step = image_to_world[:3, 2 - axis]
        size_mm = np.linalg.norm(step)
        along_mm = (centres - image_to_world[:3, 3:]).T @ step / size_mm
        distances = np.abs(along_mm[:, None] - size_mm * np.arange(-1, image_shape[axis] + 1))
        order = np.sort(distances, axis=1)
        index = distances.argmin(axis=1) - 1
        nearest.append(index)
        tied.append(order[:, 1] - order[:, 0] < TIE_MM)
        on_image &= (index >= 0) & (index < image_shape[axis])
        on_image &= ~(tied[-1] & ((index <= 0) | (index >= image_shape[axis] - 1)))
    shape = (3, *own_shape)
    return Nearest(np.reshape(nearest, shape), np.reshape(tied, shape), on_image.reshape(own_shape))


def nearest_in_own_slice(own_to_world, own_shape, own_axis, index, image_to_world, image_shape):
    """For each image voxel: the nearest voxel of one slice of the own grid, as (k, j, i) `[3, K, J, I]`.

    And bool `[K, J, I]`, where that is doubtful: as near as another one, or outside the grid.
    """
    k, j, i = np.indices(image_shape).reshape(3, -1)
    world = image_to_world @ np.vstack([i, j, k, np.ones(k.size)])
    own_kji = (np.linalg.inv(own_to_world) @ world)[2::-1]
    own_kji[own_axis] = index
    nearest = np.round(own_kji).astype(int)
    limits = np.reshape(own_shape, (3, 1))
    doubtful = (np.abs(np.abs(own_kji - np.floor(own_kji)) - 0.5) < 1e-4).any(axis=0)
    doubtful |= ((nearest < 0) | (nearest >= limits)).any(axis=0)
    return np.clip(nearest, 0, limits - 1).reshape(3, *image_shape), doubtful.reshape(image_shape)


def angle_degrees(own_to_world, own_axis, image_to_world, axis):
    """Between slices of the two grids."""

    def normal(matrix, across):
        first, second = (matrix[:3, 2 - other] for other in range(3) if other != across)
        return np.cross(first, second) / np.linalg.norm(np.cross(first, second))

    return np.degrees(np.arccos(min(1.0, abs(normal(own_to_world, own_axis) @ normal(image_to_world, axis)))))
