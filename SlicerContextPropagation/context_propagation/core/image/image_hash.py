"""Which image it is: equal hashes are equal voxels on equal grids."""

from __future__ import annotations

import hashlib

import numpy as np

from context_propagation.core.image.axis_map import axes_towards
from context_propagation.core.image.source_volume import SourceVolume


def image_sha256(volume: SourceVolume) -> tuple[str, ...]:
    """SHA-256 of each channel: voxels, shape, spacing, where its axes run to; not where the patient lies."""
    spacing_mm = [round(mm, 4) for mm in volume.spacing_kji_mm]
    grid = repr((volume.shape_kji, spacing_mm, axes_towards(volume, "LPS"))).encode()
    return tuple(_sha256(grid, channel) for channel in volume.channels)


def _sha256(grid: bytes, voxels: np.ndarray) -> str:
    """Without a copy of the voxels, which would hold Python's lock, and Slicer with it, for as long as it takes."""
    hashed = hashlib.sha256(grid)
    hashed.update(np.ascontiguousarray(voxels).data)
    return hashed.hexdigest()
