"""The working windows: which parts of the image are cached, and at what cost in memory."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch

from context_propagation.core.errors import NotEnoughMemory, UserInputError
from context_propagation.core.image.boxes import Box, Span, box_of, dilate, slices_of, whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import PreparedImage, SegmentationModel
from context_propagation.core.network.split_network import CachedFeatures


@dataclass(frozen=True)
class Window:
    """One cached piece of the network's grid.

    Attributes:
        network_box: Its place; parts outside the grid were padded as the model pads.
        image_box: The image voxels that it can decode, network axis order.
        features: The cache of each fold.
        kept: What fusion networks compute of f alone, by network and fold; for as long as there is the network.
    """

    network_box: Box
    image_box: Box
    features: tuple[CachedFeatures, ...]
    kept: WeakKeyDictionary[torch.nn.Module, dict[int, torch.Tensor]] = field(
        default_factory=WeakKeyDictionary, compare=False, repr=False
    )

    def of_f(self, network: torch.nn.Module, fold: int) -> torch.Tensor | None:
        """What a fusion network computes of a fold's f alone, where it is kept; see `FusionNetwork.of_f`."""
        return self.kept.get(network, {}).get(fold)

    def cached_bytes(self, model: SegmentationModel) -> int:
        """Memory that it holds, as its model has it."""
        d, h, w = (stop - start for start, stop in self.network_box)
        of_folds = zip(model.splits, self.features, strict=True)
        cached = sum(split.cached_bytes((d, h, w), features.level) for split, features in of_folds)
        by_network = [self.kept.get(network, {}) for ref in self.kept.keyrefs() if (network := ref()) is not None]
        return cached + sum(tensor.nbytes for by_fold in by_network for tensor in list(by_fold.values()))


@dataclass(frozen=True)
class WindowPlan:
    """Boxes to cache, before anything is allocated.

    Attributes:
        boxes: Network boxes.
        cached_bytes: What stays in memory; nothing for boxes that are held already.
        peak_bytes: What encoding needs at its peak, the cache of earlier boxes included.
        messages: What the user should know.
    """

    boxes: tuple[Box, ...]
    cached_bytes: int
    peak_bytes: int
    messages: tuple[str, ...] = ()


def plan_windows(
    model: SegmentationModel,
    target: Box,
    network_shape: tuple[int, int, int],
    border: int,
    level: int,
    budget: int,
    held: Container[Box] = (),
) -> WindowPlan:
    """Choose the windows that cover a target.

    Args:
        model: Gives the patch size, the strides and the memory of its splits.
        target: Network box that must be covered.
        network_shape: Size (D, H, W) of the network's grid.
        border: Voxels of the network's grid to cover around the target, where they fit.
        level: Decoder level.
        budget: Bytes that may be used.
        held: Boxes that other sessions hold: they need no memory.

    Raises:
        UserInputError: Not even tiles of the model's patch size fit; the message says how much is needed.
    """
    for wanted in sorted({border, border // 2, 0}, reverse=True):
        around = dilate(target, (wanted,) * 3, whole(network_shape))
        shrunk = f"The border around the target was shrunk from {border} to {wanted} voxels, because memory is short"
        box = _placed(around, _window_shape(model, around), network_shape)
        plan = _plan(model, [box], level, [] if wanted == border else [shrunk], held)
        if plan.peak_bytes <= budget:
            return plan
    return _tiled(model, target, network_shape, level, budget, held)


def _tiled(
    model: SegmentationModel,
    target: Box,
    network_shape: tuple[int, int, int],
    level: int,
    budget: int,
    held: Container[Box],
) -> WindowPlan:
    shape = list(_window_shape(model, target))
    least: float = math.inf
    while True:
        tiles = _tile_boxes(target, (shape[0], shape[1], shape[2]), network_shape)
        message = f"The target is cached in {len(tiles)} tiles of {tuple(shape)} voxels, because memory is short"
        plan = _plan(model, tiles, level, [message], held)
        if plan.peak_bytes <= budget:
            return plan
        least = min(least, plan.peak_bytes)
        splittable = [axis for axis in range(3) if shape[axis] > model.patch_size[axis]]
        if not splittable:
            raise NotEnoughMemory(
                f"Caching the target needs {least / 2**20:.0f} MiB and {budget / 2**20:.0f} MiB may be used; "
                "close other programs, or choose another device (cpu where a GPU is in use)"
            )
        axis = max(splittable, key=lambda a: shape[a] / model.patch_size[a])
        shape[axis] = max(model.patch_size[axis], _round_up(shape[axis] // 2, model.total_stride[axis]))


def _plan(
    model: SegmentationModel, boxes: list[Box], level: int, messages: list[str], held: Container[Box]
) -> WindowPlan:
    cached, transient = 0, 0
    for box in boxes:
        if box in held:
            continue
        d, h, w = (stop - start for start, stop in box)
        for split in model.splits:
            stays = split.cached_bytes((d, h, w), level)
            cached += stays
            transient = max(transient, split.peak_bytes((d, h, w), level) - stays)
    return WindowPlan(tuple(boxes), cached, cached + transient, tuple(messages))


def _window_shape(model: SegmentationModel, box: Box) -> tuple[int, int, int]:
    sizes = [
        max(_round_up(stop - start, stride), _round_up(patch, stride))
        for (start, stop), stride, patch in zip(box, model.total_stride, model.patch_size, strict=True)
    ]
    return sizes[0], sizes[1], sizes[2]


def _placed(target: Box, shape: tuple[int, int, int], network_shape: tuple[int, int, int]) -> Box:
    return box_of([_placed_span(span, size, n) for span, size, n in zip(target, shape, network_shape, strict=True)])


def _placed_span(span: Span, size: int, grid_size: int) -> Span:
    """A span of `size` centred on a target, moved into the grid where it fits, else padded on both sides."""
    if size >= grid_size:
        start = -((size - grid_size) // 2)
    else:
        start = min(max(0, (span[0] + span[1] - size) // 2), grid_size - size)
    return start, start + size


def _tile_boxes(target: Box, shape: tuple[int, int, int], network_shape: tuple[int, int, int]) -> list[Box]:
    """Equally spaced boxes that cover the target and overlap by at least a quarter of their size."""
    per_axis: list[list[Span]] = []
    for span, size, n in zip(target, shape, network_shape, strict=True):
        extent = span[1] - span[0]
        count = 1 if extent <= size else 1 + math.ceil((extent - size) / (0.75 * size))
        first = [span[0] + round(t * (extent - size) / max(1, count - 1)) for t in range(count)]
        per_axis.append(sorted({_placed_span((s, s + min(size, extent)), size, n) for s in first}))
    return [box_of([d, h, w]) for d in per_axis[0] for h in per_axis[1] for w in per_axis[2]]


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def encode_window(model: SegmentationModel, prepared: PreparedImage, box: Box, level: int) -> Window:
    """Run the encoder of every fold on one box and cache; the only place where encoders run for an edit."""
    inside = box_of([(max(0, s), min(e, n)) for (s, e), n in zip(box, prepared.grid.network_shape, strict=True)])
    piece = prepared.network_input[(slice(None), *slices_of(inside))]
    padding = [p for (s, e), (a, b) in zip(box[::-1], inside[::-1], strict=True) for p in (a - s, e - b)]
    x = model.padding.around(piece, padding)[None].to(model.device)
    image_box = _image_box(prepared.grid, box)
    return Window(box, image_box, tuple(split.encode(x, level) for split in model.splits))


def _image_box(grid: GridMap, box: Box) -> Box:
    covered = grid.covered(box)
    if covered is None:
        raise UserInputError(f"The window {box} covers no image voxel; the image is too small for the model")
    return covered
