"""f' of an edit, kept as small as it is: only the boxes in which it differs from the cached f, on the device of f."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from context_propagation.core.image.boxes import Box, inside_of, intersection, slices_of, whole


@dataclass(frozen=True)
class UpdatedFeatures:
    """f' of one window and fold.

    Attributes:
        window: The window's number in the cache.
        fold: The fold's number in the model.
        box: The box of f in which f' may differ.
        values: `[C', d, h, w]`, f' inside the box, on the device of f.
    """

    window: int
    fold: int
    box: Box
    values: torch.Tensor


def with_updates(f: torch.Tensor, window: int, fold: int, updated: Sequence[UpdatedFeatures]) -> torch.Tensor:
    """The whole f' of a window and fold, `[1, C', D', H', W']`; f itself where no edit reached it."""
    return updated_part(f, window, fold, updated, whole(tuple(f.shape[2:])))


def updated_part(f: torch.Tensor, window: int, fold: int, updated: Sequence[UpdatedFeatures], box: Box) -> torch.Tensor:
    """A box of f' of a window and fold, `[1, C', *box]`; a view of f where no edit reached it."""
    part = f[(slice(None), slice(None), *slices_of(box))]
    untouched = True
    for piece in updated:
        common = intersection(piece.box, box) if (piece.window, piece.fold) == (window, fold) else None
        if common is not None:
            part, untouched = part.clone() if untouched else part, False
            values = piece.values[(slice(None), *slices_of(inside_of(common, piece.box)))]
            part[(0, slice(None), *slices_of(inside_of(common, box)))] = values
    return part
