"""Near slices: phi'(f'), the first line of Eq. 4."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, box_of, inside_of, intersection, offset
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.network.split_network import whole_decode
from context_propagation.core.propagation.updated_features import UpdatedFeatures, updated_part
from context_propagation.core.propagation.window import Window


@torch.no_grad()
def decode_near(
    model: SegmentationModel,
    grid: GridMap,
    number: int,
    window: Window,
    updated: Sequence[UpdatedFeatures],
    axis: int,
    indices: Sequence[int],
    frozen_statistics: bool,
) -> tuple[Box, np.ndarray] | None:
    """Decode the target on the near slices from the updated features, folds averaged.

    Args:
        model: Gives the splits and the label.
        grid: The map to image voxels.
        number: The window's number.
        window: The window that was updated.
        updated: f' of each of its folds, where it differs from f.
        axis: Network axis of the edit.
        indices: Image indices of the near slices.
        frozen_statistics: Norm statistics of the cached pass, as in the update.

    Returns:
        The image box (network axis order) and its labels (bool), or None where no near slice lies in the window.
    """
    spans = list(window.image_box)
    spans[axis] = (min(indices), max(indices) + 1)
    box = intersection(box_of(spans), window.image_box)
    if box is not None and frozen_statistics:
        box = _reached(model, grid, window, [piece.box for piece in updated], box)
    if box is None:
        return None
    support = inside_of(grid.support(box), window.network_box)
    fold_logits = []
    for fold, (split, features) in enumerate(zip(model.splits, window.features, strict=True)):
        local = split.local(features, support) if frozen_statistics else whole_decode(split, features, False)
        logits = local.run(updated_part(features.f, number, fold, updated, local.f_box))
        origin = tuple(span[0] for span in offset(local.output_box, window.network_box))
        fold_logits.append(grid.to_image(logits, origin, box))
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
