"""One edit on one window: the slabs that it needs, and the update of its features (Eq. 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck
from context_propagation.core.image.boxes import Box, box_of, slices_of, whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.network.split_network import CachedFeatures, SplitNetwork
from context_propagation.core.propagation.activation_update import (
    UpdateReport,
    UpdateSettings,
    segmentation_loss,
    update_features,
)
from context_propagation.core.propagation.drawn_slices import SliceTarget
from context_propagation.core.propagation.window import Window


def _on_slices(
    model: SegmentationModel, grid: GridMap, logits: torch.Tensor, origin: tuple[int, ...], target: SliceTarget
) -> torch.Tensor:
    """The target logit in the loss box of the drawn slices, `[voxels]`."""
    boxes = [target.box_at(index) for index in target.indices]
    return torch.cat([model.target_logit(grid.to_image(logits, origin, box)).flatten() for box in boxes])


@dataclass(frozen=True)
class _Piece:
    """What some of the drawn slices depend on.

    Attributes:
        target: These slices.
        features: The features cut down to what they depend on.
        f_box: Where the cut lies in the window's f.
        origin: Where its logits start on the network's grid.
    """

    target: SliceTarget
    features: CachedFeatures
    f_box: Box
    origin: tuple[int, ...]


def _slab_piece(
    split: SplitNetwork, grid: GridMap, window: Window, features: CachedFeatures, target: SliceTarget
) -> _Piece:
    start = tuple(span[0] for span in window.network_box)
    support = grid.support(target.box())
    slab = split.slab(features, box_of([(a - o, b - o) for (a, b), o in zip(support, start, strict=True)]))
    origin = tuple(o + span[0] for o, span in zip(start, slab.output_box, strict=True))
    return _Piece(target, slab.features, slab.f_box, origin)


def _pieces(
    split: SplitNetwork,
    grid: GridMap,
    window: Window,
    features: CachedFeatures,
    target: SliceTarget,
    frozen_statistics: bool,
) -> list[_Piece]:
    """One slab for each cluster of drawn slices, in order along the axis; with live statistics, the whole window.

    Slices whose boxes of f overlap or touch are one cluster. All clusters' boxes are equal across the axis, because the
    loss box is.
    """
    if not frozen_statistics:
        start = tuple(span[0] for span in window.network_box)
        return [_Piece(target, features, whole(features.f.shape[2:]), start)]
    pieces: list[_Piece] = []
    for index in sorted(target.indices):
        piece = _slab_piece(split, grid, window, features, replace(target, indices=(index,)))
        if pieces and piece.f_box[target.axis][0] <= pieces[-1].f_box[target.axis][1]:
            together = (*pieces.pop().target.indices, index)
            piece = _slab_piece(split, grid, window, features, replace(target, indices=together))
        pieces.append(piece)
    return pieces


def update_window(
    model: SegmentationModel,
    split: SplitNetwork,
    grid: GridMap,
    window: Window,
    features: CachedFeatures,
    target: SliceTarget,
    settings: UpdateSettings,
    progress: Callable[[float], None],
    cancelled: CancelCheck,
    start: torch.Tensor | None = None,
) -> tuple[torch.Tensor, Box, UpdateReport]:
    """Move one fold's features so that they decode to the drawn slices.

    With frozen norm statistics this runs on the slabs that the loss depends on, one for each cluster of drawn slices,
    which gives the same as the whole window; with live ones, on the whole window. The slabs are optimised together,
    because the loss is that of all slices. The optimisation begins at `start` (the whole window's f' of an earlier
    edit), else at the untouched f; the proximal term holds f' near the untouched f either way. Between the slabs f' is
    the untouched f.

    Returns:
        f' (`[1, C', D', H', W']`, the whole window's), the box of f around all that may differ, and the report.
    """
    pieces = _pieces(split, grid, window, features, target, settings.frozen_statistics)
    drawn = _drawn(pieces).to(features.logits)
    along = 2 + target.axis
    places = [(slice(None), slice(None), *slices_of(piece.f_box)) for piece in pieces]
    f_new, report = update_features(
        torch.cat([features.f[place] for place in places], along),
        lambda f: _joint_loss(model, split, grid, pieces, drawn, f, settings),
        features.f.numel() // features.f.shape[along],
        settings,
        progress,
        cancelled,
        None if start is None else torch.cat([start[place] for place in places], along),
    )
    f = features.f.clone()
    for place, part in zip(places, _parts(f_new, pieces), strict=True):
        f[place] = part
    spans = list(pieces[0].f_box)
    spans[target.axis] = (spans[target.axis][0], pieces[-1].f_box[target.axis][1])
    return f, box_of(spans), report


def _drawn(pieces: Sequence[_Piece]) -> torch.Tensor:
    """What was drawn in the loss box of all drawn slices, bool `[voxels]`, in the order of `_on_slices`."""
    targets = [piece.target for piece in pieces]
    shown = [target.drawn[slices_of(target.box_at(index))] for target in targets for index in target.indices]
    return torch.from_numpy(np.concatenate([part.ravel() for part in shown]))


def _joint_loss(
    model: SegmentationModel,
    split: SplitNetwork,
    grid: GridMap,
    pieces: Sequence[_Piece],
    drawn: torch.Tensor,
    f: torch.Tensor,
    settings: UpdateSettings,
) -> torch.Tensor:
    """The loss of all drawn slices together, of the pieces' f one after another along the axis; differentiable."""
    z = []
    for piece, part in zip(pieces, _parts(f, pieces), strict=True):
        logits = split.decode(piece.features, part, settings.frozen_statistics)
        z.append(_on_slices(model, grid, logits, piece.origin, piece.target))
    return segmentation_loss(torch.cat(z), drawn, settings.loss or model.loss)


def _parts(f: torch.Tensor, pieces: Sequence[_Piece]) -> tuple[torch.Tensor, ...]:
    """Each piece's part of their f, which lie one after another along the axis."""
    along = 2 + pieces[0].target.axis
    return torch.split(f, [piece.features.f.shape[along] for piece in pieces], along)
