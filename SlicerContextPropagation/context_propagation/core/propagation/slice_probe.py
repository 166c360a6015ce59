"""A classifier fitted to the drawn slices of one case: logistic, held near what it starts from, in closed steps.

    minimise over w:  N mean_n log(1 + exp(-y_n w x_n)) + strength |w - w_0|^2 / 2          y_n = 1 drawn, -1 not

Source: the steps: Böhning and Lindsay, Annals of the Institute of Statistical Mathematics, 1988.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

STEPS = 40


EFFECTIVE_SAMPLES = 500.0
"""Neighbouring voxels say the same: a fit counts its samples as so many, whatever the voxel size."""


BIAS_STRENGTH = 0.1
"""The threshold is held so much less than the other weights."""


def fit_probe(
    features: torch.Tensor, drawn: torch.Tensor, start: torch.Tensor, strength: float, counted: torch.Tensor
) -> torch.Tensor:
    """Weights that tell drawn from not drawn.

    Args:
        features: float64 `[N, D]`; the last one is 1, the threshold's.
        drawn: float64 `[N]`, 0 or 1.
        start: float64 `[D]`, what the weights are held near.
        strength: How strongly.
        counted: float64 `[G, N]`, 0 or 1: which samples count, for each of G fits.

    Returns:
        float64 `[G, D]`; the start where no sample counts.
    """
    share = EFFECTIVE_SAMPLES * counted / counted.sum(1, keepdim=True).clamp_min(1)
    held = torch.full_like(start, strength)
    held[-1] *= BIAS_STRENGTH
    curvature = torch.einsum("gn,nd,ne->gde", share / 4, features, features) + torch.diag(held)
    steps = torch.linalg.inv(curvature)
    weights = start.expand(len(counted), -1)
    for _ in range(STEPS):
        surplus = share * (torch.sigmoid(weights @ features.T) - drawn)
        slope = surplus @ features + held * (weights - start)
        weights = weights - torch.einsum("gde,ge->gd", steps, slope)
    return weights


def held_out_gain(logits: torch.Tensor, drawn: torch.Tensor, before: torch.Tensor) -> float:
    """By how much a logit says better than another one what was drawn, on samples that it was not fitted to.

    Args:
        logits: `[N]`, each from a fit to other samples.
        drawn: `[N]`, 0 or 1.
        before: `[N]`, what it is compared with.

    Returns:
        -1 to 1: the part of the cross-entropy that is gone, or by how much it grew as a part of the new one.
    """
    now, then = (float(F.binary_cross_entropy_with_logits(z, drawn)) for z in (logits, before))
    return (then - now) / max(now, then, 1e-6)
