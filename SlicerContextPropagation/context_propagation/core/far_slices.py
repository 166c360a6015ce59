"""Far slices: phi'(fusion(f, f')), the second line of Eq. 4. Training and use share these functions (method 3, 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from context_propagation.core.boxes import Box, bounding_box, slices_of
from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.edit_description import DrawnSlice, describe
from context_propagation.core.edit_map import edit_map
from context_propagation.core.errors import Cancelled
from context_propagation.core.feature_cache import NO_WINDOW, FeatureCache
from context_propagation.core.fusion_network import Fusion
from context_propagation.core.prototypes import prototypes
from context_propagation.core.slice_update import NetworkEdit
from context_propagation.core.updated_features import UpdatedFeatures, with_updates
from context_propagation.core.window import Window


class FusionInputs(NamedTuple):
    """What `FusionNetwork.forward` takes, of one window and fold: call `network(*inputs)`.

    Attributes:
        f: `[1, C', D', H', W']`, untouched.
        f_updated: f', the same shape; f itself where the edit does not reach.
        edit_map: `[1, 2, D', H', W']`.
        description: `[1, E]`.
        prototypes: `[1, 2, C']`.
    """

    f: torch.Tensor
    f_updated: torch.Tensor
    edit_map: torch.Tensor
    description: torch.Tensor
    prototypes: torch.Tensor


@dataclass(frozen=True)
class EditContext:
    """What an edit says to every window alike.

    Attributes:
        description: float32 `[1, E]`, see `edit_description.describe`.
        prototypes: `[1, 2, C']` for each fold, see `prototypes.prototypes`.
    """

    description: torch.Tensor
    prototypes: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, cache: FeatureCache, edit: NetworkEdit, spacing_kji_mm: Sequence[float]) -> EditContext:
        """Gather it from the untouched features on the drawn slices."""
        description = torch.from_numpy(describe_edit(cache, edit, spacing_kji_mm))[None]
        return cls(description, tuple(prototypes(cache, fold, edit) for fold in range(len(cache.model.splits))))


def describe_edit(cache: FeatureCache, edit: NetworkEdit, spacing_kji_mm: Sequence[float]) -> np.ndarray:
    """What the drawn slices say against the untouched prediction, float32 `[E]`; see `edit_description.describe`.

    Args:
        cache: The image's features.
        edit: The drawn slices.
        spacing_kji_mm: The image's voxel size in the model's orientation.
    """
    slices = [_drawn_slice(cache, edit, index, spacing_kji_mm) for index in edit.indices]
    return describe([piece for piece in slices if piece is not None])


def fusion_inputs(
    cache: FeatureCache,
    window: int,
    fold: int,
    updated: Sequence[UpdatedFeatures],
    edit: NetworkEdit,
    context: EditContext,
) -> FusionInputs:
    """The fusion network's inputs for one window and fold, on the device of f.

    Args:
        cache: The image's features.
        window: The window's number.
        fold: The fold's number.
        updated: The pieces of f', of any windows and folds.
        edit: The drawn slices.
        context: What the edit says to every window.
    """
    f, box = cache.windows[window].features[fold].f, cache.windows[window].network_box
    occupied = edit_map(cache.prepared.grid, box, f.shape[2:], edit.drawn, edit.axis, edit.indices)
    updated_f = with_updates(f, window, fold, updated)
    return FusionInputs(f, updated_f, occupied.to(f), context.description.to(f), context.prototypes[fold].to(f))


def decode_fused(
    cache: FeatureCache, window: int, fold: int, fused: torch.Tensor, box: Box | None = None
) -> torch.Tensor:
    """Decode a fused map over the whole window, norm statistics frozen; differentiable in `fused`.

    Args:
        cache: The image's features.
        window: The window's number.
        fold: The fold's number.
        fused: `[1, C', D', H', W']`.
        box: Image voxels (network axis order) inside the window's image box; by default all of that.

    Returns:
        Logits on image voxels, `[1, C, a, b, c]`, network axis order: see `SegmentationModel.target_logit` (for a
        loss) and `target_margin` (over the folds).
    """
    placed = cache.windows[window]
    logits = cache.model.splits[fold].decode(placed.features[fold], fused, frozen_statistics=True)
    origin = tuple(span[0] for span in placed.network_box)
    return cache.prepared.grid.to_image(logits, origin, placed.image_box if box is None else box)


@torch.no_grad()
def far_margins(
    cache: FeatureCache,
    fusion: Fusion,
    edit: NetworkEdit,
    updated: Sequence[UpdatedFeatures],
    spacing_kji_mm: Sequence[float],
    progress: Progress,
    cancelled: CancelCheck,
) -> np.ndarray:
    """Decode the fused features of all windows, folds averaged.

    Args:
        cache: The image's features.
        fusion: The trained networks.
        edit: All drawn slices of the propagation.
        updated: f' where it differs from f.
        spacing_kji_mm: The image's voxel size in the model's orientation.
        progress: Called with "fuse" and the fraction done.
        cancelled: Asked before each window and fold.

    Returns:
        float16 `[K, J, I]` in the model's orientation: see `SegmentationModel.target_margin`; a voxel has that of the
        window that owns it, NaN where none does.

    Raises:
        Cancelled: The user cancelled.
    """
    margins = np.full(cache.owner.shape, np.nan, np.float16)
    image_axes = np.argsort(cache.prepared.grid.transpose)
    context = EditContext.of(cache, edit, spacing_kji_mm)
    for number in range(len(cache.windows)):
        owned = bounding_box(cache.owner == number)
        if owned is None:
            continue
        fold_logits = []
        for fold, network in enumerate(fusion.networks):
            if cancelled():
                raise Cancelled
            progress("fuse", (number + fold / len(fusion.networks)) / len(cache.windows))
            fused = network(*fusion_inputs(cache, number, fold, updated, edit, context))
            fold_logits.append(decode_fused(cache, number, fold, fused, cache.prepared.grid.network_order(owned)))
        decoded = cache.model.target_margin(fold_logits)[0].cpu().numpy().transpose(image_axes)
        mine = cache.owner[slices_of(owned)] == number
        margins[slices_of(owned)][mine] = decoded[mine]
    progress("fuse", 1.0)
    return margins


def _drawn_slice(
    cache: FeatureCache, edit: NetworkEdit, index: int, spacing_kji_mm: Sequence[float]
) -> DrawnSlice | None:
    """One drawn slice and the untouched target logit on it, of the window that owns most of it; None without one."""
    grid = cache.prepared.grid
    either = (edit.drawn | edit.untouched).take(index, edit.axis)
    owners = grid.to_network_axes(cache.owner).take(index, edit.axis)[either]
    owners = owners[owners != NO_WINDOW]
    if not owners.size:
        return None
    window = cache.windows[int(np.bincount(owners).argmax())]
    target = edit.target(window.image_box, [index])
    if target is None:
        return None
    box = target.box_at(index)
    first, second = (spacing_kji_mm[grid.transpose[axis]] for axis in range(3) if axis != edit.axis)
    drawn, predicted = (mask[slices_of(box)].squeeze(edit.axis) for mask in (edit.drawn, edit.untouched))
    return DrawnSlice(drawn, predicted, _untouched_logit(cache, window, box).squeeze(edit.axis), (first, second))


@torch.no_grad()
def _untouched_logit(cache: FeatureCache, window: Window, box: Box) -> np.ndarray:
    """The target logit of the untouched features on image voxels (network axis order), mean over the folds."""
    model, origin = cache.model, tuple(span[0] for span in window.network_box)
    logits = [cache.prepared.grid.to_image(features.logits, origin, box) for features in window.features]
    return np.asarray(torch.stack([model.target_logit(piece)[0] for piece in logits]).mean(0).cpu().numpy())
