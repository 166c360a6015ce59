"""What the untouched features, their decode and the image say at voxels of the drawn slices, around either contour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from context_propagation.core.image.boxes import Box, dilate, inside_of, intersection, slices_of, whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.window import Window

RING_MM = 8.0
"""Voxels so near to the drawing or the prediction are looked at."""


SMOOTHED_MM = (1.5, 4.0)
"""The image is also seen as its mean over so much to each side."""


LOGIT_LIMIT = 10.0


QUARTERS = 4


@dataclass(frozen=True)
class DrawnSamples:
    """N voxels of the drawn slices.

    Attributes:
        logit: `[N]`, the target logit of the untouched features, mean of the folds.
        features: `[N, C']` of each fold, the untouched features.
        image: `[N, 3 I]`, see `image_maps`.
        drawn: `[N]`, 0 or 1.
        predicted: `[N]`, 0 or 1: R_0.
        quarter: int64 `[N]`, in which quarter of its slice it lies, around the contours' middle.
    """

    logit: torch.Tensor
    features: tuple[torch.Tensor, ...]
    image: torch.Tensor
    drawn: torch.Tensor
    predicted: torch.Tensor
    quarter: torch.Tensor

    def __len__(self) -> int:
        return len(self.drawn)


@torch.no_grad()
def drawn_samples(cache: FeatureCache, edit: NetworkEdit, spacing_mm: Sequence[float]) -> DrawnSamples | None:
    """All voxels of the drawn slices near either contour that a window owns; None without one.

    Args:
        cache: The image's features.
        edit: The drawn slices.
        spacing_mm: The image's voxel size along the network's axes.
    """
    parts = []
    for index in edit.indices:
        ring = _ring(edit, index, spacing_mm)
        for number, window in enumerate(cache.windows):
            box = None if ring is None else intersection(ring[0], window.image_box)
            if ring is None or box is None:
                continue
            chosen = ring[1][slices_of(inside_of(box, ring[0]))] & (cache.owner[slices_of(box)] == number)
            if chosen.any():
                parts.append(_samples(cache, edit, window, box, chosen, spacing_mm))
    if not parts:
        return None
    joined = (
        torch.cat(pieces)
        for pieces in zip(*((p.logit, p.image, p.drawn, p.predicted, p.quarter) for p in parts), strict=True)
    )
    logit, image, drawn, predicted, quarter = joined
    features = tuple(torch.cat(of_fold) for of_fold in zip(*(part.features for part in parts), strict=True))
    return DrawnSamples(logit, features, image, drawn, predicted, quarter)


def _ring(edit: NetworkEdit, index: int, spacing_mm: Sequence[float]) -> tuple[Box, np.ndarray] | None:
    """A box on one slice, and in it the voxels near drawing or prediction; None without either."""
    target = edit.target(whole(edit.drawn.shape), [index])
    if target is None:
        return None
    border = [math.ceil(RING_MM / mm) for mm in spacing_mm]
    border[edit.axis] = 0
    box = dilate(target.box_at(index), (border[0], border[1], border[2]), whole(edit.drawn.shape))
    either = edit.drawn[slices_of(box)] | edit.window_prediction[slices_of(box)]
    return box, depth_mm(either, spacing_mm) >= -RING_MM


def _samples(
    cache: FeatureCache, edit: NetworkEdit, window: Window, box: Box, chosen: np.ndarray, spacing_mm: Sequence[float]
) -> DrawnSamples:
    logit = target_logit(cache, window, box)
    mask = torch.from_numpy(chosen).to(logit.device)
    drawn, predicted = (
        torch.from_numpy(of[slices_of(box)]).to(logit.device) for of in (edit.drawn, edit.window_prediction)
    )
    places = np.nonzero(chosen)
    middles = [float(place.mean()) for place in places]
    first, second = (places[a] > middles[a] for a in range(3) if a != edit.axis)
    return DrawnSamples(
        logit[mask],
        tuple(features_on_image(cache, window, fold, box)[:, mask].T for fold in range(len(window.features))),
        image_maps(cache, box, spacing_mm)[:, mask].T,
        drawn[mask].to(logit),
        predicted[mask].to(logit),
        torch.from_numpy(2 * first.astype(np.int64) + second).to(logit.device),
    )


def target_logit(cache: FeatureCache, window: Window, box: Box) -> torch.Tensor:
    """The untouched target logit in a box of image voxels that a window decodes, see `mean_target_logit`: `[*box]`."""
    origin = tuple(span[0] for span in window.network_box)
    return mean_target_logit(cache, [features.logits for features in window.features], origin, box)


def mean_target_logit(
    cache: FeatureCache, fold_logits: Sequence[torch.Tensor], origin: tuple[int, ...], box: Box
) -> torch.Tensor:
    """The target logit in a box of image voxels, mean of the folds, within +-10: `[*box]`.

    Args:
        cache: The image's features.
        fold_logits: `[1, C, d, h, w]` of each fold, which hold what the box needs.
        origin: Where they begin on the network's grid.
        box: In network axis order.
    """
    decoded = [cache.model.target_logit(cache.prepared.grid.to_image(z, origin, box))[0] for z in fold_logits]
    return torch.stack(decoded).float().mean(0).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


def features_on_image(
    cache: FeatureCache, window: Window, fold: int, box: Box, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The untouched features, or weighted sums of their channels, interpolated to a box of image voxels.

    Args:
        cache: The image's features.
        window: It decodes the box.
        fold: The fold's number.
        box: In network axis order.
        weights: `[K, C']`; None for the features themselves.

    Returns:
        `[K or C', *box]`.
    """
    f = window.features[fold].f
    grid = grid_of_features(cache.prepared.grid, window.network_box, f.shape[2:])
    support = grid.support(box)
    piece = f[(..., *slices_of(support))].float()
    if weights is not None:
        piece = torch.einsum("kc,ncdhw->nkdhw", weights, piece)
    return grid.to_image(piece, tuple(span[0] for span in support), box)[0]


def grid_of_features(grid: GridMap, network_box: Box, f_shape: Sequence[int]) -> GridMap:
    """The map between image voxels and the cells of f, which covers a window."""
    lines = []
    for axis, ((start, stop), cells) in enumerate(zip(network_box, f_shape, strict=True)):
        first, second = (_network_coordinate(grid, axis, index) for index in (0, 1))
        share = cells / (stop - start)
        lines.append(((first - start + 0.5) * share - 0.5, (second - first) * share))
    d, h, w = (int(n) for n in f_shape)
    return GridMap(grid.crop, (d, h, w), (lines[0], lines[1], lines[2]))


def _network_coordinate(grid: GridMap, axis: int, index: int) -> float:
    if grid.linear is not None:
        first, step = grid.linear[axis]
        return first + step * index
    start, stop = grid.crop[axis]
    return (index - start + 0.5) * grid.network_shape[axis] / (stop - start) - 0.5


def image_maps(cache: FeatureCache, box: Box, spacing_mm: Sequence[float]) -> torch.Tensor:
    """The preprocessed image in a box of image voxels, as it is and as means over `SMOOTHED_MM`: `[3 I, *box]`."""
    grid = cache.prepared.grid
    borders = [[max(1, round(mm / size)) for size in spacing_mm] for mm in SMOOTHED_MM]
    outer = dilate(box, (borders[-1][0], borders[-1][1], borders[-1][2]), grid.crop)
    support = grid.support(outer)
    piece = cache.prepared.network_input[(slice(None), *slices_of(support))][None].to(cache.model.device).float()
    seen = grid.to_image(piece, tuple(span[0] for span in support), outer)
    inside = (..., *slices_of(inside_of(box, outer)))
    maps = [seen[inside][0]]
    for border in borders:
        smooth = seen
        for axis, voxels in enumerate(border):  # one axis after the other: the mean over a box
            means = _means(seen.shape[axis + 2], voxels).to(seen)
            smooth = torch.einsum("ab,...b->...a", means, smooth.movedim(axis + 2, -1)).movedim(-1, axis + 2)
        maps.append(smooth[inside][0])
    return torch.cat(maps)


def _means(count: int, voxels: int) -> torch.Tensor:
    """`[count, count]`: each row the mean over so many voxels to each side, as far as there are any."""
    places = torch.arange(count)
    near = (places[:, None] - places).abs() <= voxels
    return near / near.sum(1, keepdim=True)


def depth_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Signed distance to a mask's outline in mm, positive inside, float32; far outside or inside without an outline."""
    if not mask.any() or mask.all():
        return np.full(mask.shape, np.inf if mask.any() else -np.inf, np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).astype(np.uint8))
    image.SetSpacing([float(mm) for mm in spacing_mm[::-1]])
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance), np.float32)
