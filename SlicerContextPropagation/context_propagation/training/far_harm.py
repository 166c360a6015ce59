"""What a training of a far network is charged for harm: the soft DSC that far slices lose by it."""

from __future__ import annotations

import torch

HARM_WEIGHT = 4.0
"""Of the harm in the loss."""


def harm_weight_of(variant: str) -> float:
    """The weight of the harm in the loss of a fusion network; 0 for `paper`, whose loss knows no harm."""
    return 0.0 if variant == "paper" else HARM_WEIGHT


def far_harm(before: torch.Tensor, after: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean over slices of the soft DSC that each loses; a slice that gains does not make up for another.

    Args:
        before: Target logits of the untouched features, float `[S, H, W]`, S far slices.
        after: Those of the network that is trained, of the same shape.
        truth: 1 in the target, else 0, float of the same shape.

    Returns:
        A number from 0 to 1, differentiable in `after`.
    """
    lost: torch.Tensor = torch.relu(_slice_dsc(before, truth) - _slice_dsc(after, truth)).mean()
    return lost


def _slice_dsc(logit: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Soft, of each slice; near 1 where nothing is there and nothing predicted."""
    p = torch.sigmoid(logit)
    return (2 * (p * truth).sum((1, 2)) + 1) / (p.sum((1, 2)) + truth.sum((1, 2)) + 1)
