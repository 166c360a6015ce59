"""A CT of the usual size with a phantom in its middle, and segments on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from context_propagation.core.image.boxes import whole
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
from context_propagation.mrml.nodes.labelmap_images import image_from_mask
from context_propagation.mrml.nodes.volume_nodes import add_volume
from context_propagation.mrml.nodes.world_matrices import volume_ijk_to_ras, volume_ijk_to_world

SHAPE_KJI = (160, 512, 512)
SPACING_IJK_MM = (0.98, 0.98, 3.0)
SEED = 0


def phantom_voxels(shape_kji: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A phantom's CT in the middle of a field of view, int16, and the mask of its true GTV.

    Around it is zero, which nnU-Net crops away: so the network, which runs elsewhere, does not take minutes.
    """
    phantom = make_phantom(PhantomSettings("nasopharynx", SEED, 905, spacing_ijk_mm=SPACING_IJK_MM))
    margins = [((n - m) // 2, n - m - (n - m) // 2) for n, m in zip(shape_kji, phantom.gtv.shape, strict=True)]
    voxels = np.zeros(shape_kji, np.int16)
    voxels[tuple(slice(low, n - high) for (low, high), n in zip(margins, shape_kji, strict=True))] = phantom.ct
    return voxels, np.pad(phantom.gtv, margins)


def add_ct(scene: Any, voxels: np.ndarray) -> Any:
    """Voxels as a volume."""
    return add_volume(scene, SourceVolume(voxels[None], np.diag([*SPACING_IJK_MM, 1.0])), "CT")


def add_whole_grid_segment(node: Any, mask: np.ndarray, volume_node: Any, name: str) -> str:
    """A segment whose labelmap fills the volume, as after an import."""
    image = image_from_mask(mask, whole(mask.shape), volume_ijk_to_world(volume_node))
    return str(node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [0.9, 0.3, 0.2], ""))


def add_acquired_segment(node: Any, mask: np.ndarray, volume_node: Any, name: str) -> str:
    """A segment in its box on the grid of a volume that is under an acquisition transform, and under that one too."""
    from context_propagation.core.image.boxes import bounding_box, slices_of

    box = bounding_box(mask)
    image = image_from_mask(mask[slices_of(box)], box, volume_ijk_to_ras(volume_node))
    return str(node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [0.9, 0.3, 0.2], ""))


def large_blobs(shape_kji: tuple[int, int, int], count: int) -> list[np.ndarray]:
    """Ellipsoids that are nearly as wide as the image, each moved a little from the one before."""
    k, j, i = np.indices(shape_kji, np.float32, sparse=True)
    slices, rows, columns = shape_kji
    return [
        ((k - slices / 2) / (0.47 * slices)) ** 2
        + ((j - rows * (0.4 + 0.022 * number)) / (0.27 * rows)) ** 2
        + ((i - columns / 2) / (0.39 * columns)) ** 2
        <= 1
        for number in range(count)
    ]
