"""The update as the paper writes it, and nothing else: the whole window is decoded at each evaluation.

It is what the engine is measured against, and what it must agree with; so it uses torch's own modules alone, and none
of the engine. It is no slower than it need be: norms keep the statistics of the first pass (a scale and a shift), and
no weight has a gradient.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BORDER = 8
"""Voxels around drawing and prediction on which the loss is counted, as in the engine."""


PROXIMAL_WEIGHT, ITERATIONS = 0.3, 10


class FrozenNorm(nn.Module):
    """An instance norm whose statistics are those of one pass: x * scale + shift."""

    def __init__(self, norm: nn.InstanceNorm3d, x: torch.Tensor) -> None:
        super().__init__()
        variance, mean = torch.var_mean(x, (2, 3, 4), correction=0, keepdim=True)
        shape = (1, -1, 1, 1, 1)
        self.scale = norm.weight.detach().view(shape) / torch.sqrt(variance + norm.eps)
        self.shift = norm.bias.detach().view(shape) - mean * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        return torch.addcmul(self.shift, x, self.scale)


@dataclass(frozen=True)
class LiteralUpdate:
    """What an update came to.

    Attributes:
        f: The features of the lowest objective.
        losses: Of each evaluation, without the proximal term.
        seconds: Of each evaluation, with its gradient.
        total_seconds: Of the whole update.
    """

    f: torch.Tensor
    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    total_seconds: float


class _Enough(Exception):
    """The update has come as far as it should."""


class LiteralWindow:
    """One window of nnU-Net's network, cut at a decoder level.

    Args:
        network: PlainConvUNet or ResidualEncoderUNet without deep supervision, in evaluation mode; it is not changed.
        x: The window, `[1, C, D, H, W]`, preprocessed.
        level: The features enter the last `level` decoder stages.
        image: The part of the window that is no padding; decoded is this part alone. By default all of it.
    """

    @torch.no_grad()
    def __init__(
        self, network: nn.Module, x: torch.Tensor, level: int, image: tuple[slice, slice, slice] | None = None
    ) -> None:
        self._image = (..., *(image or (slice(None),) * 3))
        decoder = cast(Any, network.decoder)
        skips = cast(Any, network.encoder)(x)
        f, last = skips[-1], len(decoder.stages)
        for stage in range(last - level):
            f = decoder.stages[stage](torch.cat((decoder.transpconvs[stage](f), skips[-(stage + 2)]), 1))
        self.f = f
        self.skips = [skips[-(stage + 2)] for stage in range(last - level, last)]
        parts = (decoder.transpconvs[-level:], decoder.stages[-level:], decoder.seg_layers[-1])
        self._up, self._stages, self._head = (copy.deepcopy(part).requires_grad_(False) for part in parts)
        self._freeze_norms()

    def _freeze_norms(self) -> None:
        """Decode once with live statistics; each norm that is met is replaced by what it did."""
        places: dict[nn.Module, list[tuple[nn.Module, str]]] = {}
        seen: dict[nn.Module, FrozenNorm] = {}
        for parent in [module for part in (self._up, self._stages) for module in part.modules()]:
            for name, child in parent.named_children():
                if isinstance(child, nn.InstanceNorm3d):
                    places.setdefault(child, []).append((parent, name))

        def see(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen[norm] = FrozenNorm(cast(nn.InstanceNorm3d, norm), inputs[0])

        hooks = [norm.register_forward_pre_hook(see) for norm in places]
        self.logits = self.decode(self.f)
        for hook in hooks:
            hook.remove()
        for norm, named in places.items():
            for parent, name in named:
                if isinstance(parent, nn.Sequential | nn.ModuleList):
                    parent[int(name)] = seen[norm]
                else:
                    setattr(parent, name, seen[norm])

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        """Logits `[1, C, D, H, W]` of the whole window, or of the image's part of it; differentiable in `f`."""
        for up, stage, skip in zip(self._up, self._stages, self.skips, strict=True):
            f = stage(torch.cat((up(f), skip), 1))
        return cast(torch.Tensor, self._head(f)[self._image])

    def predicted(self, f: torch.Tensor) -> np.ndarray:
        """The target, bool `[D, H, W]`."""
        with torch.no_grad():
            logits = self.decode(f)[0]
        return (logits[1] > logits[0]).cpu().numpy()

    def loss(self, f: torch.Tensor, index: int, drawn: np.ndarray) -> torch.Tensor:
        """L of Eq. 7 on one drawn slice: mean cross-entropy and 1 - Dice, around drawing and prediction.

        Args:
            f: The features.
            index: Of the slice along D.
            drawn: bool `[H, W]`.
        """
        logits = self.decode(f)[0, :, index]
        place = loss_box(drawn | (self.logits[0, 1, index] > self.logits[0, 0, index]).cpu().numpy())
        z, y = (logits[1] - logits[0])[place], torch.from_numpy(drawn[place]).to(logits)
        p = torch.sigmoid(z)
        dice = (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        return F.binary_cross_entropy_with_logits(z, y) + 1 - dice

    def update(self, index: int, drawn: np.ndarray, enough: float = 0.0) -> LiteralUpdate:
        """Eq. 3 by LBFGS with a strong Wolfe line search, and the engine's proximal term.

        Args:
            index: Of the drawn slice along D.
            drawn: bool `[H, W]`.
            enough: The update ends as soon as the loss is at or below this.
        """
        search = _Search(self.f, lambda f: self.loss(f, index, drawn), enough)
        f = self.f.clone().requires_grad_(True)
        optimizer = torch.optim.LBFGS(
            [f], max_iter=ITERATIONS, max_eval=2 * ITERATIONS, history_size=10, tolerance_grad=1e-9,
            tolerance_change=1e-12, line_search_fn="strong_wolfe",
        )  # fmt: skip
        begun = time.perf_counter()
        with contextlib.suppress(_Enough):
            optimizer.step(lambda: search.evaluate(f))  # type: ignore[no-untyped-call]
        total = time.perf_counter() - begun
        return LiteralUpdate(search.best_f, tuple(search.losses), tuple(search.seconds), total)


@dataclass
class _Search:
    f0: torch.Tensor
    data_loss: Callable[[torch.Tensor], torch.Tensor]
    enough: float
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best: float = math.inf

    def __post_init__(self) -> None:
        self.best_f = self.f0

    def evaluate(self, f: torch.Tensor) -> torch.Tensor:
        begun = time.perf_counter()
        f.grad = None
        loss = self.data_loss(f)
        objective = loss + PROXIMAL_WEIGHT * ((f - self.f0) ** 2).sum() * f.shape[2] / f.numel()
        objective.backward()  # type: ignore[no-untyped-call]
        self.losses.append(float(loss.detach()))
        float(f.grad.flatten()[0])  # on a GPU: wait until the gradient is there
        self.seconds.append(time.perf_counter() - begun)
        if float(objective.detach()) < self.best:
            self.best, self.best_f = float(objective.detach()), f.detach().clone()
        if self.losses[-1] <= self.enough:
            raise _Enough
        return objective.detach()


def loss_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Where a mask lies, with a border, within its array."""
    spans = []
    for axis, n in enumerate(mask.shape):
        touched = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        spans.append(slice(max(0, int(touched[0]) - BORDER), min(n, int(touched[-1]) + 1 + BORDER)))
    return tuple(spans)
