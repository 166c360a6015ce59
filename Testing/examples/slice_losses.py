"""The loss of drawn slices, slice by slice, as the tests compare it with the engine's."""

import torch

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.activation_update import segmentation_loss
from context_propagation.core.propagation.drawn_slices import SliceTarget


def loss_of_slices(
    model: SegmentationModel, grid: GridMap, logits: torch.Tensor, origin: tuple[int, ...], target: SliceTarget
) -> torch.Tensor:
    """Dice and cross-entropy of logits against the drawn slices, all slices together; differentiable.

    Args:
        model: Gives the target logit.
        grid: The map to image voxels.
        logits: `[1, C, d, h, w]`, a piece of the network's grid.
        origin: Where the piece starts.
        target: The drawn slices.
    """
    boxes = [target.box_at(index) for index in target.indices]
    z = torch.cat([model.target_logit(grid.to_image(logits, origin, box)).flatten() for box in boxes])
    drawn = torch.cat([torch.from_numpy(target.drawn[slices_of(box)].copy()).flatten() for box in boxes])
    return segmentation_loss(z, drawn.to(z.dtype), "dice and cross-entropy")
