"""One edit on one window: the slab it needs, the update of its features, the near slices decoded (Eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck
from context_propagation.core.image.boxes import Box, box_of, dilate, intersection, slices_of, whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.network.split_network import CachedFeatures, SplitNetwork
from context_propagation.core.propagation.activation_update import (
    UpdateReport,
    UpdateSettings,
    segmentation_loss,
    update_features,
)
from context_propagation.core.propagation.window import Window

IN_PLANE_BORDER = 8
"""Image voxels around the drawing and the prediction on which the loss is counted."""


@dataclass(frozen=True)
class SliceTarget:
    """What a window must decode to. All in network axis order.

    Attributes:
        axis: Network axis that the slices are perpendicular to.
        indices: Their image indices.
        plane_box: The box of each slice on which the loss is counted; its span along `axis` is ignored.
        drawn: bool, the image in network axis order.
    """

    axis: int
    indices: tuple[int, ...]
    plane_box: Box
    drawn: np.ndarray

    def box_at(self, index: int) -> Box:
        """The loss box on one slice."""
        spans = list(self.plane_box)
        spans[self.axis] = (index, index + 1)
        return box_of(spans)

    def box(self) -> Box:
        """The loss box around all slices."""
        spans = list(self.plane_box)
        spans[self.axis] = (min(self.indices), max(self.indices) + 1)
        return box_of(spans)


def slice_target(
    axis: int, indices: Sequence[int], drawn: np.ndarray, window_prediction: np.ndarray, limits: Box
) -> SliceTarget | None:
    """The loss box: around drawing and prediction on the edited slices, with a border, within the window.

    Args:
        axis: Network axis of the edit.
        indices: Edited slices.
        drawn: bool, the image in network axis order; only the edited slices count.
        window_prediction: bool, R_0, the same.
        limits: The image voxels that the window decodes.

    Returns:
        None where the window has no part in the edit.
    """
    used = tuple(index for index in indices if limits[axis][0] <= index < limits[axis][1])
    if not used:
        return None
    either = (drawn | window_prediction).take(used, axis).any(axis=axis)
    if not either.any():
        return None
    spans = list(limits)
    for number, plane_axis in enumerate(a for a in range(3) if a != axis):
        touched = np.flatnonzero(either.any(axis=1 - number))
        spans[plane_axis] = (int(touched[0]), int(touched[-1]) + 1)
    border = [IN_PLANE_BORDER] * 3
    border[axis] = 0
    box = intersection(dilate(box_of(spans), tuple(border), whole(drawn.shape)), limits)
    return None if box is None else SliceTarget(axis, used, box, drawn)


@dataclass(frozen=True)
class NetworkEdit:
    """Drawn slices as the network sees them: all arrays are the image in network axis order.

    Attributes:
        axis: Network axis that the slices are perpendicular to.
        indices: Their image indices.
        drawn: bool; only the drawn slices count.
        window_prediction: bool, R_0.
    """

    axis: int
    indices: tuple[int, ...]
    drawn: np.ndarray
    window_prediction: np.ndarray

    def is_satisfied(self) -> bool:
        """Whether R_0 shows the drawing already."""
        drawn, said = (mask.take(self.indices, self.axis) for mask in (self.drawn, self.window_prediction))
        return bool((drawn == said).all())

    def target(self, limits: Box, indices: Sequence[int] | None = None) -> SliceTarget | None:
        """What a window that decodes `limits` must decode to, on all slices or some; see `slice_target`."""
        chosen = self.indices if indices is None else indices
        return slice_target(self.axis, chosen, self.drawn, self.window_prediction, limits)


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
