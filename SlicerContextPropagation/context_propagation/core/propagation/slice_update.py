"""One edit on one window: what its drawn slices depend on, and the update of these features (Eq. 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck, never_cancelled
from context_propagation.core.image.boxes import Box, box_of, box_shape, inside_of, offset, slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.network.split_network import (
    CachedFeatures,
    LocalDecode,
    SplitNetwork,
    whole_decode,
)
from context_propagation.core.propagation.activation_update import segmentation_loss, update_features
from context_propagation.core.propagation.drawn_slices import SliceTarget
from context_propagation.core.propagation.update_settings import UpdateReport, UpdateSettings
from context_propagation.core.propagation.window import Window


@dataclass(frozen=True)
class _Piece:
    """What some of the drawn slices depend on.

    Attributes:
        target: These slices.
        local: The decode of their logits.
        origin: Where these logits start on the network's grid.
    """

    target: SliceTarget
    local: LocalDecode
    origin: tuple[int, ...]

    @property
    def place(self) -> tuple[slice, ...]:
        """Where its part of f lies."""
        return slice(None), slice(None), *slices_of(self.local.f_box)


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
    enough: CancelCheck = never_cancelled,
) -> tuple[torch.Tensor, Box, UpdateReport]:
    """Move one fold's features so that they decode to the drawn slices.

    With frozen norm statistics this decodes the drawn slices alone, from the boxes of f that they depend on, one for
    each cluster of slices, which gives the same as the whole window; with live ones, the whole window. The boxes are
    optimised together, because the loss is that of all slices. The optimisation begins at `start` (the whole window's
    f' of an earlier edit), else at the untouched f; the proximal term holds f' near the untouched f either way. Between
    the boxes f' is the untouched f.

    Returns:
        f' in the box of f around all that may differ, `[1, C', *box]`, the box, and the report.
    """
    pieces = _pieces(split, grid, window, features, target, settings.frozen_statistics)
    drawn = _drawn(pieces).to(features.logits)
    along = 2 + target.axis
    f_new, report = update_features(
        torch.cat([features.f[piece.place] for piece in pieces], along),
        lambda f: _joint_loss(model, grid, pieces, drawn, f, settings),
        features.f.numel() // features.f.shape[along],
        settings,
        progress,
        cancelled,
        None if start is None else torch.cat([start[piece.place] for piece in pieces], along),
        enough,
    )
    spans = list(pieces[0].local.f_box)
    spans[target.axis] = (spans[target.axis][0], pieces[-1].local.f_box[target.axis][1])
    box = box_of(spans)
    f = features.f[(slice(None), slice(None), *slices_of(box))].clone()
    for piece, part in zip(pieces, _parts(f_new, pieces), strict=True):
        f[(slice(None), slice(None), *slices_of(inside_of(piece.local.f_box, box)))] = part
    return f, box, report


def _pieces(
    split: SplitNetwork,
    grid: GridMap,
    window: Window,
    features: CachedFeatures,
    target: SliceTarget,
    frozen_statistics: bool,
) -> list[_Piece]:
    """One for each cluster of drawn slices, in order along the axis; with live statistics, the whole window.

    Slices whose boxes of f overlap or touch are one cluster. All clusters' boxes are equal across the axis, because the
    loss box is.
    """
    if not frozen_statistics:
        start = tuple(span[0] for span in window.network_box)
        return [_Piece(target, whole_decode(split, features, frozen_statistics=False), start)]
    pieces: list[_Piece] = []
    for index in sorted(target.indices):
        piece = _local_piece(split, grid, window, features, replace(target, indices=(index,)))
        if pieces and piece.local.f_box[target.axis][0] <= pieces[-1].local.f_box[target.axis][1]:
            together = (*pieces.pop().target.indices, index)
            piece = _local_piece(split, grid, window, features, replace(target, indices=together))
        pieces.append(piece)
    return pieces


def _local_piece(
    split: SplitNetwork, grid: GridMap, window: Window, features: CachedFeatures, target: SliceTarget
) -> _Piece:
    local = split.local(features, inside_of(grid.support(target.box()), window.network_box))
    return _Piece(target, local, tuple(span[0] for span in offset(local.output_box, window.network_box)))


def _drawn(pieces: Sequence[_Piece]) -> torch.Tensor:
    """What was drawn in the loss box of all drawn slices, bool `[voxels]`, in the order of `_on_slices`."""
    targets = [piece.target for piece in pieces]
    shown = [target.drawn[slices_of(target.box_at(index))] for target in targets for index in target.indices]
    return torch.from_numpy(np.concatenate([part.ravel() for part in shown]))


def _joint_loss(
    model: SegmentationModel,
    grid: GridMap,
    pieces: Sequence[_Piece],
    drawn: torch.Tensor,
    f: torch.Tensor,
    settings: UpdateSettings,
) -> torch.Tensor:
    """The loss of all drawn slices together, of the pieces' f one after another along the axis; differentiable."""
    parts = zip(pieces, _parts(f, pieces), strict=True)
    z = [_on_slices(model, grid, piece.local.run(part), piece.origin, piece.target) for piece, part in parts]
    return segmentation_loss(torch.cat(z), drawn, settings.loss or model.loss)


def _on_slices(
    model: SegmentationModel, grid: GridMap, logits: torch.Tensor, origin: tuple[int, ...], target: SliceTarget
) -> torch.Tensor:
    """The target logit in the loss box of the drawn slices, `[voxels]`."""
    boxes = [target.box_at(index) for index in target.indices]
    return torch.cat([model.target_logit(grid.to_image(logits, origin, box)).flatten() for box in boxes])


def _parts(f: torch.Tensor, pieces: Sequence[_Piece]) -> tuple[torch.Tensor, ...]:
    """Each piece's part of their f, which lie one after another along the axis."""
    axis = pieces[0].target.axis
    return torch.split(f, [box_shape(piece.local.f_box)[axis] for piece in pieces], 2 + axis)
