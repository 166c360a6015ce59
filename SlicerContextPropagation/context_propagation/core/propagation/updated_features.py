"""f' of an edit, kept as small as it is: only the boxes in which it differs from the cached f, on the device of f."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from context_propagation.core.image.boxes import Box, slices_of


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

    @classmethod
    def cut(cls, window: int, fold: int, box: Box, f_updated: torch.Tensor) -> UpdatedFeatures:
        """The piece of f' (`[1, C', D', H', W']`) inside a box."""
        return cls(window, fold, box, f_updated[(0, slice(None), *slices_of(box))].detach().clone())


def with_updates(f: torch.Tensor, window: int, fold: int, updated: Sequence[UpdatedFeatures]) -> torch.Tensor:
    """The whole f' of a window and fold, `[1, C', D', H', W']`; f itself where no edit reached it."""
    for piece in updated:
        if (piece.window, piece.fold) == (window, fold):
            f = f.clone()
            f[(0, slice(None), *slices_of(piece.box))] = piece.values
    return f
