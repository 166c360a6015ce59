"""Activation back-propagation (paper II-B): move cached features until they decode to the drawn slice.

    Y = phi'(f; theta')                          Eq. 2: the rest of the network, frozen, decodes the features f
    f_(i+1) = f_i - g(dL(S', S) / df_i)          Eq. 3: S is the slice as drawn, S' the same slice of Y

`update_features` is Eq. 3, with LBFGS or Adam as g; `segmentation_loss` is L (Eq. 5-7).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F

from context_propagation.core.callbacks import CancelCheck, never_cancelled
from context_propagation.core.model.loss import Loss
from context_propagation.core.propagation.update_settings import StopReason, UpdateReport, UpdateSettings

DICE_SMOOTHING = 1.0
"""Added to both sides of the Dice ratio, so that a slice erased by the user still has a gradient."""


def segmentation_loss(target_logit: torch.Tensor, drawn: torch.Tensor, loss: Loss) -> torch.Tensor:
    """L of Eq. 3, on the edited slices.

        L_dice = - 2 sum(p y) / (sum(p) + sum(y))            Eq. 5
        L_CE = - log(e^z_c / (e^z_0 + e^z_1))                Eq. 6, c the voxel's class; here its mean
        L_hybrid = L_CE + L_dice                             Eq. 7

    Args:
        target_logit: Any shape; log odds of the target against all else.
        drawn: Same shape, 0 or 1.
        loss: "dice" gives 1 - Dice (Eq. 5 shifted by 1); "dice and cross-entropy" gives Eq. 7, shifted alike.

    Source: Chao et al., Eq. 5-7.
    """
    p = torch.sigmoid(target_logit)
    dice = (2 * (p * drawn).sum() + DICE_SMOOTHING) / (p.sum() + drawn.sum() + DICE_SMOOTHING)
    if loss == "dice":
        return 1 - dice
    return 1 - dice + F.binary_cross_entropy_with_logits(target_logit, drawn)


class _Stop(Exception):
    def __init__(self, reason: StopReason) -> None:
        self.reason: StopReason = reason


@dataclass
class _Search:
    """One optimisation: counts evaluations and keeps the best iterate."""

    f0: torch.Tensor
    data_loss: Callable[[torch.Tensor], torch.Tensor]
    slice_size: int
    settings: UpdateSettings
    cancelled: CancelCheck
    enough: CancelCheck
    progress: Callable[[float], None]
    losses: list[float] = field(default_factory=list)
    best_objective: float = math.inf
    best_loss: float = math.inf
    best_f: torch.Tensor | None = None
    best_at: int = 0

    def evaluate(self, f: torch.Tensor, last: bool = False) -> torch.Tensor:
        """The objective at f, with gradients in `f.grad`; raises `_Stop`.

        An f that ends the search, in the last iteration a better one, needs no gradient: half of an evaluation's time.
        """
        if self.cancelled():
            raise _Stop("cancelled")
        if self.best_at > 1 and self.enough():  # the first one is where it began
            raise _Stop("stopped")
        f.grad = None
        loss = self.data_loss(f)
        proximal = ((f - self.f0) ** 2).sum() / self.slice_size
        objective = loss + self.settings.proximal_weight * proximal
        self._keep_best(f, float(loss.detach()), float(objective.detach()))
        if last and self.best_at == len(self.losses):
            raise _Stop("iterations")
        objective.backward()  # type: ignore[no-untyped-call]
        return objective.detach()

    def _keep_best(self, f: torch.Tensor, loss: float, objective: float) -> None:
        self.losses.append(loss)
        if math.isfinite(objective) and objective < self.best_objective:
            self.best_objective, self.best_loss, self.best_at = objective, loss, len(self.losses)
            self.best_f = f.detach().clone()
        self.progress(min(1.0, len(self.losses) / (1.25 * self.settings.iteration_limit)))
        if self.best_loss <= self.settings.loss_threshold:
            raise _Stop("threshold")
        if len(self.losses) - self.best_at >= self.settings.patience:
            raise _Stop("no improvement")


def update_features(
    f0: torch.Tensor,
    data_loss: Callable[[torch.Tensor], torch.Tensor],
    slice_size: int,
    settings: UpdateSettings,
    progress: Callable[[float], None] = lambda fraction: None,
    cancelled: CancelCheck = never_cancelled,
    start: torch.Tensor | None = None,
    enough: CancelCheck = never_cancelled,
) -> tuple[torch.Tensor, UpdateReport]:
    """Minimise a loss over features; no weight is touched (Eq. 3, with a term that holds f near f_0).

        f' = argmin over f of L(S', S) + w sum((f - f_0)^2) / (C' H' W')        w: `proximal_weight`

    Args:
        f0: `[1, C', D', H', W']`, the cached features, or the slab of them that the loss depends on; the proximal term
            holds f' near them.
        data_loss: The loss of the decode of f against the drawing; a scalar, differentiable.
        slice_size: C' H' W', the number of values in one slice of the *whole* f: it scales the proximal term, and must
            not depend on the slab.
        settings: Optimiser, limits, proximal term.
        progress: Called with the fraction done after each evaluation.
        cancelled: Asked before each evaluation.
        start: Where to start, of f0's shape; f0 itself by default.
        enough: Asked before each evaluation, once something is better than the start: whether to end with the best.

    Returns:
        f' (the best iterate; the start where nothing was better) and the report.

    Source: Chao et al., Eq. 3; proximal term: ours, see docs/activation-update.md.
    """
    search = _Search(f0.detach(), data_loss, slice_size, settings, cancelled, enough, progress)
    start = f0 if start is None else start
    run = {"lbfgs": _run_lbfgs, "adam": _run_adam}[settings.optimizer]
    try:
        reason = run(start.detach(), search)
    except _Stop as stop:
        reason = stop.reason
    if search.best_f is None:
        return start, UpdateReport(math.nan, math.nan, len(search.losses), reason)
    return search.best_f, UpdateReport(search.losses[0], search.best_loss, len(search.losses), reason)


def _run_lbfgs(start: torch.Tensor, search: _Search) -> StopReason:
    """LBFGS over z in f = start + scale z: in units of which its first step is a natural one, see `_natural_scale`."""
    iterations = search.settings.iteration_limit
    z = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [z],
        max_iter=iterations,
        max_eval=2 * iterations,
        history_size=10,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    scale: torch.Tensor | None = None

    def evaluate() -> torch.Tensor:
        nonlocal scale
        f = (start if scale is None else start + scale * z.detach()).detach().clone().requires_grad_(True)
        objective = search.evaluate(f, last=optimizer.state[z].get("n_iter") == iterations)
        gradient = cast(torch.Tensor, f.grad)
        scale = _natural_scale(objective, gradient) if scale is None else scale
        z.grad = scale * gradient
        return objective

    optimizer.step(evaluate)  # type: ignore[no-untyped-call]
    state = optimizer.state[z]
    return "iterations" if state["n_iter"] >= iterations or state["func_evals"] >= 2 * iterations else "converged"


def _natural_scale(objective: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The unit of f in which the first step of torch's LBFGS, g / |g|_1, is Polyak's: L g / |g|_2^2 in f.

    That is the step to the minimum 0 of a loss that falls as its gradient says. A step of g / |g|_1 in f
    itself is far too short: the line search would spend the first evaluations on lengthening it.

    Source: Polyak, Introduction to Optimization, 1987, section 5.3.
    """
    return objective * gradient.abs().sum() / gradient.square().sum().clamp_min(torch.finfo(gradient.dtype).tiny)


def _run_adam(start: torch.Tensor, search: _Search) -> StopReason:
    f = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([f], lr=search.settings.learning_rate)
    for _ in range(search.settings.iteration_limit):
        search.evaluate(f)
        optimizer.step()
    search.evaluate(f, last=True)
    return "iterations"
