"""A short training, so that a network with seeded weights predicts one clean blob: noise would be no target to edit."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.benchmark.blob import CONTRAST_HU, NOISE_HU, ellipsoid, noisy
from context_propagation.benchmark.networks import INTENSITIES, Kind, architecture, build
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.weights_file import read_weights
from context_propagation.core.storage.whole_file import whole_file

logger = logging.getLogger(__name__)


SAID_EVERY = 20


SMALLEST_WINDOW, SMALL_WINDOW = 16, 32
"""Edges in voxels."""


@dataclass(frozen=True)
class TargetTraining:
    """All that decides the weights.

    The encoder keeps its seeded weights; the last stages of the decoder learn to find blobs. In some steps the finest
    skip is left out, so that they listen to the features below too, as those of a trained network do.

    Attributes:
        kind: Which network.
        stages: How many it has: all windows with as many share the weights.
        first_channels: Of the first stage.
        seed: Of the weights and the phantoms.
        steps: Of the optimiser, one phantom each.
        phantoms: How many different ones.
        sizes: The smallest and the largest, as a share of their window.
        trained_stages: The last stages of the decoder.
        without_skip: In this share of the steps the finest skip is left out.
        learning_rate: At the beginning; it falls to 0.
        noise: Of the phantoms, as a share of their contrast.
        torch: Its version, on which the seeded weights may depend.
    """

    kind: Kind
    stages: int
    first_channels: int
    seed: int
    steps: int
    phantoms: int = 12
    sizes: tuple[float, float] = (0.22, 0.68)
    trained_stages: int = 3
    without_skip: float = 0.3
    learning_rate: float = 2e-3
    noise: float = NOISE_HU / CONTRAST_HU
    torch: str = torch.__version__

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a phantom: small, and the deepest features still have two voxels along one axis, so that norms work."""
        deep = max(SMALLEST_WINDOW, 2**self.stages)
        wide = min(deep, max(SMALL_WINDOW, deep // 2))
        return deep, wide, wide

    @property
    def file_name(self) -> str:
        """By which it is found again."""
        hashed = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.kind}-{self.stages}-stages-{hashed}.safetensors"


def trained_network(kind: Kind, window: int, first_channels: int, steps: int, seed: int, work: Path) -> nn.Module:
    """The network for a window; what it learned is kept, and the rest made again from its seed.

    Args:
        kind: Which network.
        window: Edge of the window that it is planned for.
        first_channels: Of its first stage.
        steps: Of the training.
        seed: Of weights and phantoms.
        work: Folder in which the trained part is kept; made where it is missing.
    """
    plan = architecture(kind, window, first_channels)
    training = TargetTraining(kind, len(plan["arch_kwargs"]["strides"]), first_channels, seed, steps)
    network = build(plan, seed)
    tail = _Tail(network, training.trained_stages)
    file = work / training.file_name
    if file.is_file():
        stored = read_weights(file, lambda: _Tail(build(plan, seed), training.trained_stages), "delete it")
        tail.load_state_dict(stored.state_dict())
    else:
        work.mkdir(parents=True, exist_ok=True)
        _train(tail, training)
        with whole_file(file) as partial:
            save = require("safetensors.torch", extra="nnunet").save
            partial.write_bytes(save({name: value.detach().clone() for name, value in tail.state_dict().items()}))
    return network.eval().requires_grad_(False)


def _train(tail: _Tail, training: TargetTraining) -> None:
    rng = np.random.default_rng(training.seed)
    logger.info("training %s with %d stages to find a blob: %d steps", training.kind, training.stages, training.steps)
    samples = [_sample(tail, rng, training) for _ in range(training.phantoms)]
    optimizer = torch.optim.Adam(tail.parameters(), training.learning_rate)
    decay = torch.optim.lr_scheduler.PolynomialLR(optimizer, training.steps, 0.9)
    for step in range(training.steps):
        f, skips, truth = samples[step % len(samples)]
        if rng.random() < training.without_skip:
            skips = [*skips[:-1], torch.zeros_like(skips[-1])]
        loss = _loss(tail(f, skips), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        if (step + 1) % SAID_EVERY == 0:
            logger.info("step %d of %d: loss %.3f", step + 1, training.steps, float(loss.detach()))


class _Tail(nn.Module):
    """The last stages of a network's decoder, the part that learns."""

    def __init__(self, network: nn.Module, stages: int) -> None:
        super().__init__()
        decoder = cast(Any, network.decoder)
        kept = min(stages, len(decoder.stages))
        self._whole = [network]  # in a list, so that its parameters are not this module's
        self._first = len(decoder.stages) - kept
        self.up, self.stages = decoder.transpconvs[-kept:], decoder.stages[-kept:]
        self.head = decoder.seg_layers[-1]

    @torch.no_grad()
    def inputs(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The features before the last stages, and their skips, coarse to fine."""
        encoder, decoder = cast(Any, self._whole[0].encoder), cast(Any, self._whole[0].decoder)
        skips = encoder(x)
        f = skips[-1]
        for stage in range(self._first):
            f = decoder.stages[stage](torch.cat((decoder.transpconvs[stage](f), skips[-(stage + 2)]), 1))
        return f, [skips[-(stage + 2)] for stage in range(self._first, len(decoder.stages))]

    def forward(self, f: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """Logits."""
        for up, stage, skip in zip(self.up, self.stages, skips, strict=True):
            f = stage(torch.cat((up(f), skip), 1))
        return cast(torch.Tensor, self.head(f))


def _sample(
    tail: _Tail, rng: np.random.Generator, training: TargetTraining
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """A phantom of any size: features, skips, and the truth (int64 `[1, D, H, W]`)."""
    edges = np.array(training.shape)
    centre, size = rng.uniform(0.4, 0.6, 3) * edges, rng.uniform(*training.sizes, 3) * edges
    mask = ellipsoid(training.shape, centre, size)
    hu = torch.from_numpy(noisy(mask, rng))
    f, skips = tail.inputs(((hu - INTENSITIES["mean"]) / INTENSITIES["std"])[None, None])
    return f, skips, torch.from_numpy(mask.astype(np.int64))[None]


def _loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and 1 - Dice of the blob."""
    p = torch.softmax(logits, 1)[:, 1]
    dice = 2 * (p * truth).sum() / (p.sum() + truth.sum())
    return F.cross_entropy(logits, truth) + 1 - dice
