"""What a segment on a grid of its own loses where it is written on the image's slices."""

from __future__ import annotations

from collections.abc import Iterator

from context_propagation.core.errors import counted
from context_propagation.core.image.own_grid import OwnMask


def grid_losses(name: str, own: OwnMask) -> Iterator[str]:
    """All of it."""
    yield from off_image(name, own)
    if not own.grid.is_image_s:
        yield from finer_detail(name, own)


def off_image(name: str, own: OwnMask) -> Iterator[str]:
    """What lies beside the image."""
    if own.off_image:
        yield f"{size_of(own.off_image, own.grid.voxel_mm3)} of {name} outside the image"


def finer_detail(name: str, own: OwnMask) -> Iterator[str]:
    """What the image's coarser grid cannot show, found by going there and back."""
    back = own.grid.from_image(own.grid.to_image(own.mask)).mask
    mask = own.mask.mask
    gone, added = int((mask & ~back).sum()), int((back & ~mask).sum())
    if gone or added:
        lost, more = size_of(gone, own.grid.voxel_mm3), "1 is" if added == 1 else f"{added} are"
        yield f"{lost} of {name} that the image's slices cannot show, while {more} added beside them"


def size_of(voxels: int, voxel_mm3: float) -> str:
    """For a message."""
    return f"{counted(voxels, 'voxel')}, {voxels * voxel_mm3:.5g} mm3"
