"""What the general far network takes: maps on the image's voxels and numbers, as many for every model.

Lengths are in units of the drawn target's radius, values in units of what the drawn slices show, so that a network
trained on some organs, images and models reads those of others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, around, dilate, inside_of, intersection, offset, slices_of
from context_propagation.core.propagation.drawn_samples import (
    DrawnSamples,
    depth_mm,
    drawn_samples,
    features_on_image,
    image_maps,
    mean_target_logit,
    target_logit,
)
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.fusion_inputs import describe_edit
from context_propagation.core.propagation.slice_readers import PROBES, READERS, Readers, fit_readers
from context_propagation.core.propagation.updated_features import UpdatedFeatures, updated_part
from context_propagation.core.propagation.window import Window

MAPS = 9 + READERS
"""Logit in two scales, what the update added to it, the readers, brightness in two scales, depth in the prediction,
depth in the drawing as far as it is carried along the axis, nearness to a drawn slice, the drawing itself."""


NUMBERS = DESCRIPTION_SIZE + len(PROBES) + 4
"""The description, how well each probe foretells, two voxel sizes, the number of drawn slices, and 1."""


MOST_RADII = 2.0


USUAL_RADIUS_MM = 10.0


@dataclass(frozen=True)
class FarEvidence:
    """What one window's far voxels are judged by.

    Attributes:
        maps: float32 `[MAPS, *box]`.
        numbers: float32 `[NUMBERS]`.
        logit: float32 `[*box]`, the untouched target logit, within +-10.
        updated_logit: float32 `[*box]`, that of f'.
    """

    maps: torch.Tensor
    numbers: torch.Tensor
    logit: torch.Tensor
    updated_logit: torch.Tensor


@dataclass(frozen=True)
class EvidenceContext:
    """What the drawn slices of one edit say, gathered once for all windows.

    Attributes:
        readers: See `Readers`.
        brightness: `[3 I]` weights and a threshold: 0 as outside, 1 as inside the drawing; see `_brightness`.
        numbers: `[NUMBERS]`.
        radius_mm: Of a disc as large as the drawn target, mean over the slices.
    """

    readers: Readers
    brightness: tuple[torch.Tensor, torch.Tensor]
    numbers: torch.Tensor
    radius_mm: float

    @classmethod
    def of(cls, cache: FeatureCache, edit: NetworkEdit, spacing_mm: Sequence[float]) -> EvidenceContext | None:
        """Fit to the drawn slices; None where neither drawing nor prediction lies in a window."""
        samples = drawn_samples(cache, edit, spacing_mm)
        if samples is None:
            return None
        readers, radius_mm = fit_readers(samples), _radius_mm(edit, spacing_mm)
        numbers = [*describe_edit(cache, edit, spacing_mm).tolist(), *readers.gains]
        plane = [mm for axis, mm in enumerate(spacing_mm) if axis != edit.axis]
        sizes = (math.sqrt(plane[0] * plane[1]), spacing_mm[edit.axis])
        numbers += [math.log(5 * size / radius_mm) / 2 for size in sizes]
        numbers += [math.log(len(edit.indices)), 1.0]
        return cls(readers, _brightness(samples), torch.tensor(numbers, dtype=torch.float32), radius_mm)


@torch.no_grad()
def far_evidence(
    edit: NetworkEdit,
    updated: UpdatedLogits,
    context: EvidenceContext,
    spacing_mm: Sequence[float],
    box: Box,
) -> FarEvidence:
    """The evidence in a box of image voxels of a window.

    Args:
        edit: The drawn slices.
        updated: What the window decodes from f'.
        context: What the drawn slices say.
        spacing_mm: The image's voxel size along the network's axes.
        box: Image voxels (network axis order) that the window decodes.
    """
    cache, window = updated.cache, updated.cache.windows[updated.number]
    logit = target_logit(cache, window, box)
    image = image_maps(cache, box, spacing_mm)
    read = _read(cache, window, context.readers, logit, image, box)
    probes, contrasts = read[: len(PROBES)], read[len(PROBES) :]
    updated_logit = mean_target_logit(cache, *updated.for_box(box), box)
    maps = [
        torch.stack((torch.tanh(logit / 2), logit / 5)),
        torch.tanh((updated_logit - logit) / 2)[None],
        torch.tanh(probes / 2),
        contrasts.clamp(-2, 2),
        _bright(image, context.brightness),
        torch.from_numpy(_places(edit, spacing_mm, context.radius_mm, box)).to(logit),
    ]
    return FarEvidence(torch.cat(maps), context.numbers.to(logit.device), logit, updated_logit)


def _read(
    cache: FeatureCache, window: Window, readers: Readers, logit: torch.Tensor, image: torch.Tensor, box: Box
) -> torch.Tensor:
    """What each reader says: `[READERS, *box]`."""
    of_logit, of_image, threshold = (w.to(logit) for w in (readers.logit, readers.image, readers.threshold))
    read = torch.einsum("k,dhw->kdhw", of_logit, logit) + torch.einsum("ki,idhw->kdhw", of_image, image)
    for fold, weights in enumerate(readers.features):
        read += features_on_image(cache, window, fold, box, weights.to(logit))
    return read + threshold[:, None, None, None]


@dataclass(frozen=True)
class UpdatedLogits:
    """What the folds decode from f' in one window: kept where an update reaches, elsewhere the untouched logits hold.

    Attributes:
        cache: The image's features.
        number: The window's.
        reached: For each fold a box of the window's logits, and what they become there, `[1, C, d, h, w]`; None where
            f' is f.
    """

    cache: FeatureCache
    number: int
    reached: tuple[tuple[Box, torch.Tensor] | None, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, cache: FeatureCache, number: int, updated: Sequence[UpdatedFeatures]) -> UpdatedLogits:
        """Decode f', given where it differs from f, in a window."""
        reached: list[tuple[Box, torch.Tensor] | None] = []
        for fold, (split, features) in enumerate(zip(cache.model.splits, cache.windows[number].features, strict=True)):
            own = [piece for piece in updated if (piece.window, piece.fold) == (number, fold)]
            if not own:
                reached.append(None)
                continue
            local = split.local(features, reduce(around, (split.affected_box(features, piece.box) for piece in own)))
            reached.append((local.output_box, local.run(updated_part(features.f, number, fold, own, local.f_box))))
        return cls(cache, number, tuple(reached))

    def for_box(self, box: Box) -> tuple[list[torch.Tensor], tuple[int, ...]]:
        """The logits of each fold that a box of image voxels needs, and where they begin on the network's grid."""
        window = self.cache.windows[self.number]
        support = inside_of(self.cache.prepared.grid.support(box), window.network_box)
        logits = []
        for features, reached in zip(window.features, self.reached, strict=True):
            part = features.logits[(..., *slices_of(support))]
            common = None if reached is None else intersection(reached[0], support)
            if reached is not None and common is not None:
                part = part.clone()
                of_update = reached[1][(..., *slices_of(inside_of(common, reached[0])))]
                part[(..., *slices_of(inside_of(common, support)))] = of_update
            logits.append(part)
        return logits, tuple(span[0] for span in offset(support, window.network_box))


def _brightness(samples: DrawnSamples) -> tuple[torch.Tensor, torch.Tensor]:
    """For each image map, a weight and a threshold that bring the outside's mean to 0 and the inside's to 1.

    `[3 I]` each; of the I channels only the one that tells inside from outside best has weights.
    """
    drawn = samples.drawn > 0
    weights, thresholds = (torch.zeros(samples.image.shape[1], device=samples.image.device) for _ in range(2))
    if min(int(drawn.sum()), int((~drawn).sum())) < 2:
        return weights, thresholds
    inside, outside = samples.image[drawn].double(), samples.image[~drawn].double()
    between = inside.mean(0) - outside.mean(0)
    spread = (inside.var(0, correction=0) + outside.var(0, correction=0) + 1e-12).sqrt()
    channels = samples.image.shape[1] // 3
    best = int((between / spread)[:channels].abs().argmax())
    for row in range(3):
        at = row * channels + best
        if abs(float(between[at])) > 1e-6:
            weights[at] = 1 / between[at]
            thresholds[at] = -outside.mean(0)[at] / between[at]
    return weights, thresholds


def _bright(image: torch.Tensor, brightness: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The image as it is and smoothed a little, each in units of the drawn slices' contrast, `[2, *box]`."""
    weights, thresholds = (of.to(image)[:, None, None, None] for of in brightness)
    scaled: torch.Tensor = (image * weights + thresholds).reshape(3, -1, *image.shape[1:]).sum(1)[:2]
    return (scaled - 0.5).clamp(-2, 2)


def _places(edit: NetworkEdit, spacing_mm: Sequence[float], radius_mm: float, box: Box) -> np.ndarray:
    """Depth in the prediction, depth in the drawing carried along the axis, nearness, the drawing: `[4, *box]`."""
    border = tuple(math.ceil(MOST_RADII * radius_mm / mm) for mm in spacing_mm)
    limits: Box = tuple((0, n) for n in edit.drawn.shape)  # type: ignore[assignment]
    outer = dilate(box, (border[0], border[1], border[2]), limits)
    predicted = depth_mm(edit.window_prediction[slices_of(outer)], spacing_mm)[slices_of(inside_of(box, outer))]
    carried, nearness = _carried(edit, spacing_mm, radius_mm, box)
    shown = np.zeros([stop - start for start, stop in box], np.float32)
    start, stop = box[edit.axis]
    for index in edit.indices:
        if start <= index < stop:
            place = [slice(*span) for span in box]
            place[edit.axis] = slice(index, index + 1)
            np.moveaxis(shown, edit.axis, 0)[index - start] = 2.0 * edit.drawn[tuple(place)].squeeze(edit.axis) - 1
    depth = np.clip(predicted / radius_mm, -MOST_RADII, MOST_RADII)
    return np.stack((depth, carried, nearness, shown)).astype(np.float32)


def _carried(
    edit: NetworkEdit, spacing_mm: Sequence[float], radius_mm: float, box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """Depth in the drawn contours, interpolated between drawn slices and carried on beyond them; and how near they are.

    Returns:
        In radii, at most `MOST_RADII` either way; and exp(-distance along the axis / radius). Both of the box's shape.
    """
    plane_box = [span for axis, span in enumerate(box) if axis != edit.axis]
    plane_mm = [mm for axis, mm in enumerate(spacing_mm) if axis != edit.axis]
    place = tuple(slice(*span) for span in plane_box)
    indices = sorted(edit.indices)
    contours = np.stack([_plane_depth(edit.drawn.take(index, edit.axis), plane_mm)[place] for index in indices])
    contours = np.clip(contours / radius_mm, -MOST_RADII, MOST_RADII)
    places = np.arange(*box[edit.axis])
    position = np.interp(places, indices, np.arange(len(indices)))
    lower = np.floor(position).astype(int)
    upper, weight = np.minimum(lower + 1, len(indices) - 1), (position - lower)[:, None, None]
    depth = (1 - weight) * contours[lower] + weight * contours[upper]
    away = np.abs(places[:, None] - np.array(indices)).min(1) * spacing_mm[edit.axis]
    nearness = np.broadcast_to(np.exp(-away / radius_mm)[:, None, None], depth.shape)
    return np.moveaxis(depth, 0, edit.axis), np.moveaxis(nearness, 0, edit.axis)


def _plane_depth(drawn: np.ndarray, plane_mm: Sequence[float]) -> np.ndarray:
    return depth_mm(drawn[None], (1.0, *plane_mm))[0] if drawn.any() else np.full(drawn.shape, -np.inf, np.float32)


def _radius_mm(edit: NetworkEdit, spacing_mm: Sequence[float]) -> float:
    """Of a disc as large as the drawn target, mean over the slices with one; else the prediction's; else usual."""
    pixel = math.prod(mm for axis, mm in enumerate(spacing_mm) if axis != edit.axis)
    for mask in (edit.drawn, edit.window_prediction):
        areas = [float(mask.take(index, edit.axis).sum()) * pixel for index in edit.indices]
        radii = [math.sqrt(area / math.pi) for area in areas if area]
        if radii:
            return max(sum(radii) / len(radii), 2.0)
    return USUAL_RADIUS_MM
