"""What the fusion network takes (Fig. 2c; ours: all but f and f'): drawn slices on f's grid, the edit in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, Span, slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.edit_description import DrawnSlice, describe
from context_propagation.core.propagation.feature_cache import NO_WINDOW, FeatureCache
from context_propagation.core.propagation.updated_features import UpdatedFeatures, with_updates
from context_propagation.core.propagation.window import Window


def edit_map(
    grid: GridMap, network_box: Box, f_shape: Sequence[int], drawn: np.ndarray, axis: int, indices: Sequence[int]
) -> torch.Tensor:
    """Fractions of each cell of f that the drawn target, and that the edited slices, fill.

    Args:
        grid: The map between image voxels and the network's grid.
        network_box: The window on the network's grid.
        f_shape: (D', H', W') of f, which covers the window.
        drawn: bool, the image in network axis order; only the edited slices count.
        axis: Network axis that they are perpendicular to.
        indices: Their image indices, each once.

    Returns:
        float32 `[1, 2, D', H', W']`.
    """
    planes = np.moveaxis(drawn.take(list(indices), axis), axis, 0)
    occupied = torch.from_numpy(np.stack([planes, np.ones_like(planes)]).astype(np.float32))  # [2, P, a, b]
    overlaps = [_overlaps(grid, a, network_box[a], f_shape[a], drawn.shape[a]) for a in range(3)]
    along = overlaps.pop(axis)[:, list(indices)]
    filled = torch.einsum("cpab,ha,wb,dp->cdhw", occupied, *overlaps, along)
    return filled.movedim(1, axis + 1)[None].contiguous()


def _overlaps(grid: GridMap, axis: int, span: Span, cells: int, voxels: int) -> torch.Tensor:
    """`[cells, voxels]`: the share of each cell of f that each image voxel fills, along one axis."""
    edges = grid.image_edges(axis, np.linspace(*span, cells + 1))
    numbers = np.arange(voxels)
    shared = np.minimum(edges[1:, None], numbers + 1) - np.maximum(edges[:-1, None], numbers)
    return torch.from_numpy((np.clip(shared, 0, None) / np.diff(edges)[:, None]).astype(np.float32))


SMALLEST_DRAWING = 0.05
"""Cells of f that a drawn target must fill for anything to be compared with it."""


def edit_maps(cache: FeatureCache, edit: NetworkEdit) -> tuple[torch.Tensor, ...]:
    """For each window its `edit_map`, on the device of f; the same for every fold, whose f are equally large."""
    maps = []
    for window in cache.windows:
        f = window.features[0].f
        shown = edit_map(cache.prepared.grid, window.network_box, f.shape[2:], edit.drawn, edit.axis, edit.indices)
        maps.append(shown.to(f))
    return tuple(maps)


def prototypes(cache: FeatureCache, fold: int, maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Means of the untouched features over the drawn target, and over the rest of the drawn slices, of all windows.

    Args:
        cache: The image's features.
        fold: The fold's number.
        maps: The drawn slices, see `edit_maps`.

    Returns:
        `[1, 2, C']` on the device of f; zeros where too little target is drawn to compare anything with.

    Source: Wang et al., PANet, ICCV 2019.
    """
    total, weight = torch.zeros(()), torch.zeros(())
    for window, (shown,) in zip(cache.windows, maps, strict=True):
        f, (target, edited) = window.features[fold].f, shown
        parts = torch.stack((target, edited - target))
        total = total.to(f) + torch.einsum("pdhw,cdhw->pc", parts, f[0])
        weight = weight.to(f) + parts.sum((1, 2, 3))
    means = total / (weight[:, None] + 1e-3)
    return (means * (weight[0] > SMALLEST_DRAWING))[None]


@dataclass(frozen=True)
class FusionInputs:
    """What every fusion network takes: E edits of one window and fold, each alone.

    Attributes:
        f: `[1, C', D', H', W']`, the untouched features, the same for every edit.
        f_updated: `[E, C', D', H', W']`, f' of each edit; f itself where the edit does not reach.
        edit_maps: `[E, 2, D', H', W']`, see `edit_map`.
        descriptions: `[E, 8]`, see `edit_description.describe`; of an oracle `[E, 8 + T]`, with the hidden truth.
        prototypes: `[E, 2, C']`, see `prototypes`; zeros where nothing can be compared with them.
    """

    f: torch.Tensor
    f_updated: torch.Tensor
    edit_maps: torch.Tensor
    descriptions: torch.Tensor
    prototypes: torch.Tensor

    def __len__(self) -> int:
        """How many edits."""
        return self.f_updated.shape[0]

    @property
    def f_of_each(self) -> torch.Tensor:
        """The untouched features once for every edit, `[E, C', D', H', W']`; a view."""
        return self.f.expand_as(self.f_updated)

    def tensors(self) -> dict[str, torch.Tensor]:
        """By their names, as a file holds them."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def within(self, box: Box) -> FusionInputs:
        """The same in a box of f; views."""
        place = (..., *slices_of(box))
        f, f_updated, edit_maps = (tensor[place] for tensor in (self.f, self.f_updated, self.edit_maps))
        return replace(self, f=f, f_updated=f_updated, edit_maps=edit_maps)

    def to(self, device: torch.device) -> FusionInputs:
        """A copy on a device."""
        return FusionInputs(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    @classmethod
    def together(cls, edits: Sequence[FusionInputs]) -> FusionInputs:
        """The inputs of several edits of one window and fold."""
        of_each = {item.name: torch.cat([getattr(one, item.name) for one in edits]) for item in fields(cls)[1:]}
        return cls(edits[0].f, **of_each)


@dataclass(frozen=True)
class EditContext:
    """What an edit says to every fusion network, on the device of f: brought there once for all windows and folds.

    Attributes:
        maps: `[1, 2, D', H', W']` for each window, see `edit_map`.
        description: `[1, E]`, see `edit_description.describe`.
        prototypes: `[1, 2, C']` for each fold, see `prototypes`.
    """

    maps: tuple[torch.Tensor, ...]
    description: torch.Tensor
    prototypes: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, cache: FeatureCache, edit: NetworkEdit, spacing_mm: Sequence[float]) -> EditContext:
        """Gather it from the untouched features on the drawn slices."""
        maps = edit_maps(cache, edit)
        description = torch.from_numpy(describe_edit(cache, edit, spacing_mm))[None].to(maps[0])
        return cls(maps, description, tuple(prototypes(cache, fold, maps) for fold in range(len(cache.model.splits))))


def describe_edit(cache: FeatureCache, edit: NetworkEdit, spacing_mm: Sequence[float]) -> np.ndarray:
    """What the drawn slices say against the window prediction, float32 `[E]`; see `edit_description.describe`.

    Args:
        cache: The image's features.
        edit: The drawn slices.
        spacing_mm: The image's voxel size along the network's axes.
    """
    slices = [_drawn_slice(cache, edit, index, spacing_mm) for index in edit.indices]
    return describe([piece for piece in slices if piece is not None])


def fusion_inputs(
    cache: FeatureCache, window: int, fold: int, updated: Sequence[UpdatedFeatures], context: EditContext
) -> FusionInputs:
    """The fusion network's inputs of one edit for one window and fold, on the device of f.

    Args:
        cache: The image's features.
        window: The window's number.
        fold: The fold's number.
        updated: The pieces of f', of any windows and folds.
        context: What the edit says.
    """
    f = cache.windows[window].features[fold].f
    f_updated = with_updates(f, window, fold, updated)
    return FusionInputs(f, f_updated, context.maps[window], context.description, context.prototypes[fold])


def _drawn_slice(cache: FeatureCache, edit: NetworkEdit, index: int, spacing_mm: Sequence[float]) -> DrawnSlice | None:
    """One drawn slice and the untouched target logit on it, of the window that owns most of it; None without one."""
    either = edit.drawn.take(index, edit.axis) | edit.window_prediction.take(index, edit.axis)
    owners = cache.owner.take(index, edit.axis)[either]
    owners = owners[owners != NO_WINDOW]
    if not owners.size:
        return None
    window = cache.windows[int(np.bincount(owners).argmax())]
    target = edit.target(window.image_box, [index])
    if target is None:
        return None
    box = target.box_at(index)
    first, second = (spacing_mm[axis] for axis in range(3) if axis != edit.axis)
    drawn, window_prediction = (
        mask[slices_of(box)].squeeze(edit.axis) for mask in (edit.drawn, edit.window_prediction)
    )
    return DrawnSlice(
        drawn, window_prediction, _untouched_logit(cache, window, box).squeeze(edit.axis), (first, second)
    )


@torch.no_grad()
def _untouched_logit(cache: FeatureCache, window: Window, box: Box) -> np.ndarray:
    """The target logit of the untouched features on image voxels (network axis order), mean over the folds."""
    model, origin = cache.model, tuple(span[0] for span in window.network_box)
    logits = [cache.prepared.grid.to_image(features.logits, origin, box) for features in window.features]
    return np.asarray(torch.stack([model.target_logit(piece)[0] for piece in logits]).mean(0).cpu().numpy())
