"""Near slices: phi'(f'), the first line of Eq. 4."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, box_of, intersection
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.window import Window


@torch.no_grad()
def decode_near(
    model: SegmentationModel,
    grid: GridMap,
    window: Window,
    updated: Sequence[torch.Tensor],
    f_boxes: Sequence[Box],
    axis: int,
    indices: Sequence[int],
    frozen_statistics: bool,
) -> tuple[Box, np.ndarray] | None:
    """Decode the target on the near slices from the updated features, folds averaged.

    Args:
        model: Gives the splits and the label.
        grid: The map to image voxels.
        window: The window that was updated.
        updated: f' of each fold.
        f_boxes: For each fold, the box of f that was updated.
        axis: Network axis of the edit.
        indices: Image indices of the near slices.
        frozen_statistics: Norm statistics of the cached pass, as in the update.

    Returns:
        The image box (network axis order) and its labels (bool), or None where no near slice lies in the window.
    """
    start = tuple(span[0] for span in window.network_box)
    spans = list(window.image_box)
    spans[axis] = (min(indices), max(indices) + 1)
    box = intersection(box_of(spans), window.image_box)
    if box is None:
        return None
    if frozen_statistics:
        box = _reached(model, grid, window, f_boxes, box)
        if box is None:
            return None
    support = box_of([(a - o, b - o) for (a, b), o in zip(grid.support(box), start, strict=True)])
    fold_logits = []
    for split, features, f in zip(model.splits, window.features, updated, strict=True):
        piece, origin, part = features, start, f
        if frozen_statistics:
            slab = split.slab(features, support)
            piece, part = slab.features, f[(slice(None), slice(None), *(slice(*span) for span in slab.f_box))]
            origin = tuple(o + span[0] for o, span in zip(start, slab.output_box, strict=True))
        fold_logits.append(grid.to_image(split.decode(piece, part, frozen_statistics), origin, box))
    return box, model.is_target(fold_logits)[0].cpu().numpy()


def _reached(model: SegmentationModel, grid: GridMap, window: Window, f_boxes: Sequence[Box], box: Box) -> Box | None:
    """The part of an image box whose logits the updates can reach."""
    start = tuple(span[0] for span in window.network_box)
    spans = []
    affected = [
        split.affected_box(features, f_box)
        for split, features, f_box in zip(model.splits, window.features, f_boxes, strict=True)
    ]
    for axis in range(3):
        low = start[axis] + min(b[axis][0] for b in affected)
        high = start[axis] + max(b[axis][1] for b in affected)
        first, last = grid.image_edges(axis, np.array((low - 0.5, high + 0.5)))
        spans.append((math.floor(first - 0.5), math.ceil(last - 0.5) + 1))
    return intersection(box_of(spans), box)
