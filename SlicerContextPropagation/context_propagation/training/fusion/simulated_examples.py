"""Training examples of the fusion network from one image: simulated edits run through the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, bounding_box, box_of, dilate, intersection, slices_of, whole
from context_propagation.core.image.slices import SliceEdit, near_indices
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.edit_propagation import EditPropagation
from context_propagation.core.propagation.fusion_inputs import EditContext, FusionInputs, fusion_inputs
from context_propagation.core.propagation.updated_features import UpdatedFeatures
from context_propagation.training.fusion.fusion_example import FusionExample

BORDER_VOXELS = 12
"""Image voxels around ground truth and prediction on which the loss counts."""


def simulated_examples(
    propagation: EditPropagation, edits: Sequence[SliceEdit], truth: np.ndarray, hidden_truth: Sequence[float] = ()
) -> Iterator[tuple[int, int, FusionExample]]:
    """Run each edit alone and keep what the fusion network will see of it.

    Args:
        propagation: Of a session's image.
        edits: Simulated edits of one slice each.
        truth: bool `[K, J, I]`, the ground truth.
        hidden_truth: What an oracle is given.

    Yields:
        Window and fold, and their example: of the edits that changed features, as others are not fused, and have far
        slices in the window. Nothing where there is none, neither truth nor prediction lies in the window, or nothing
        is cached.
    """
    cache = propagation.cache
    if not cache.windows:
        return
    simulated = [_Simulated(propagation, edit) for edit in edits]
    simulated = [one for one in simulated if one.updated]
    if not simulated:
        return
    truth_net = cache.prepared.axes.apply(truth.astype(bool))
    for window in range(len(cache.windows)):
        box = _loss_box(propagation, window, truth_net)
        if box is None:
            continue
        fars = [one.far(truth_net.shape, propagation.neighbours)[slices_of(box)] for one in simulated]
        counted = [number for number, far in enumerate(fars) if far.any()]  # else there is nothing to learn here
        for fold in range(len(cache.model.splits)) if counted else ():
            inputs = [simulated[number].inputs(window, fold) for number in counted]
            far = np.stack([fars[number] for number in counted])
            axes = tuple(simulated[number].edit.axis for number in counted)
            yield window, fold, _example(propagation, window, fold, box, inputs, truth_net, far, axes, hidden_truth)


class _Simulated:
    """One edit after its update."""

    def __init__(self, propagation: EditPropagation, edit: SliceEdit) -> None:
        self.cache = propagation.cache
        self.edit: NetworkEdit = propagation.network_edit([edit])
        self.updated: tuple[UpdatedFeatures, ...] = ()
        if not self.edit.is_satisfied():
            self.updated, _ = propagation.updated_features(self.edit)
            self.context = EditContext.of(self.cache, self.edit, propagation.network_spacing_mm)

    def inputs(self, window: int, fold: int) -> FusionInputs:
        return fusion_inputs(self.cache, window, fold, self.updated, self.context)

    def far(self, shape: tuple[int, ...], neighbours: int) -> np.ndarray:
        """Bool, the image in network axis order: the slices outside N(s)."""
        far = np.ones(shape, bool)
        near = near_indices(self.edit.indices, neighbours, shape[self.edit.axis])
        np.moveaxis(far, self.edit.axis, 0)[near] = False
        return far


def _loss_box(propagation: EditPropagation, window: int, truth_net: np.ndarray) -> Box | None:
    """The image voxels of a window on which the loss counts: around ground truth and prediction."""
    around = bounding_box(truth_net | propagation.cache.window_prediction)
    if around is None:
        return None
    around = dilate(around, (BORDER_VOXELS,) * 3, whole(truth_net.shape))
    return intersection(around, propagation.cache.windows[window].image_box)


def _example(
    propagation: EditPropagation,
    window: int,
    fold: int,
    box: Box,
    inputs: Sequence[FusionInputs],
    truth_net: np.ndarray,
    far: np.ndarray,
    axes: tuple[int, ...],
    hidden_truth: Sequence[float],
) -> FusionExample:
    cache = propagation.cache
    placed = cache.windows[window]
    start = [span[0] for span in placed.network_box]
    support = cache.prepared.grid.support(box)
    slab = cache.model.splits[fold].slab(
        placed.features[fold], box_of([(a - o, b - o) for (a, b), o in zip(support, start, strict=True)])
    )
    d, h, w = (o + span[0] for o, span in zip(start, slab.output_box, strict=True))
    return FusionExample(
        FusionInputs.together(inputs),
        hidden_truth=torch.tensor(hidden_truth, dtype=torch.float32),
        decoder=slab.features,
        f_box=slab.f_box,
        truth=torch.from_numpy(truth_net[slices_of(box)].copy()),
        far=torch.from_numpy(far),
        axes=axes,
        grid=cache.prepared.grid,
        origin=(d, h, w),
        image_box=box,
    )
