"""The target on image voxels, piece by piece: only what decides on it is interpolated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, box_of, box_shape, inside_of, pieces_of, slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel

PIECE_VOXELS = 2**19
"""Image voxels that are decoded at a time: few enough for a processor's cache, and no second copy of all logits."""


GPU_PIECE_VOXELS = 2**23
"""On a GPU, where each piece costs a few calls."""


@torch.no_grad()
def decoded_pieces(
    model: SegmentationModel, grid: GridMap, fold_logits: Sequence[torch.Tensor], origin: Sequence[int], box: Box
) -> Iterator[tuple[Box, torch.Tensor]]:
    """Decode the margins of a box of image voxels; see `SegmentationModel.target_margin`.

    Args:
        model: Says what decides on the target, and where it is computed.
        grid: The map to image voxels.
        fold_logits: `[1, C, d, h, w]` of each fold: the same piece of the network's grid, which starts at `origin`.
        origin: (d, h, w) of its first voxel.
        box: Image voxels in network axis order; their support lies inside the piece.

    Yields:
        Boxes that together are the box, each with its margins, `[a, b, c]`, on the model's device.
    """
    for piece in pieces_of(box, PIECE_VOXELS if model.device.type == "cpu" else GPU_PIECE_VOXELS):
        support = grid.support(piece)
        start = tuple(span[0] for span in support)
        place = (..., *slices_of(box_of([(a - o, b - o) for (a, b), o in zip(support, origin, strict=True)])))
        deciding = [model.deciding_logits(logits[place].to(model.device)) for logits in fold_logits]
        yield piece, model.margin_of_deciding([grid.to_image(z, start, piece) for z in deciding])[0]


def decoded_margins(
    model: SegmentationModel, grid: GridMap, fold_logits: Sequence[torch.Tensor], origin: Sequence[int], box: Box
) -> np.ndarray:
    """The margins of a box, float16, the box's shape; see `decoded_pieces`."""
    margins = torch.empty(box_shape(box), dtype=torch.float16)
    for piece, decoded in decoded_pieces(model, grid, fold_logits, origin, box):
        margins[slices_of(inside_of(piece, box))].copy_(decoded)
    return np.asarray(margins.numpy())


def decoded_target(
    model: SegmentationModel, grid: GridMap, fold_logits: Sequence[torch.Tensor], origin: Sequence[int], box: Box
) -> np.ndarray:
    """The target in a box, bool, the box's shape; see `decoded_pieces`."""
    target = torch.empty(box_shape(box), dtype=torch.bool)
    for piece, decoded in decoded_pieces(model, grid, fold_logits, origin, box):
        target[slices_of(inside_of(piece, box))].copy_(decoded > 0)
    return np.asarray(target.numpy())
