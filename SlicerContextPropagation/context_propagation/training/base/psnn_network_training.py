"""The networks of a PSNN, one after another: what each reads, and Dice with deep supervision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.callbacks import Progress
from context_propagation.core.network.psnn import Psnn, PsnnChain
from context_propagation.core.optional_dependency import require
from context_propagation.training.base.psnn_patches import PatchSource
from context_propagation.training.base.psnn_settings import PsnnTrainingSettings
from context_propagation.training.training_loop import LogLine, run_training

Reads = Callable[[torch.Tensor], torch.Tensor]
"""What of a batch of images a network reads."""


def train_networks(
    settings: PsnnTrainingSettings,
    build: Callable[[], Psnn | PsnnChain],
    patches: PatchSource,
    work: Path,
    device: torch.device,
    progress: Progress,
) -> tuple[Psnn | PsnnChain, dict[str, list[float]]]:
    """Train a PSNN, or the chain: its late fusion last, on what its finished streams say.

    Args:
        settings: All that decides the weights, with the patches.
        build: Makes the networks with fresh weights.
        patches: What is trained on.
        work: Folder for checkpoints, `network_0.pt` and so on; an interrupted training goes on from them.
        device: Where it runs.
        progress: Called with the network's name and the fraction of its training.

    Returns:
        The networks in evaluation mode, and the mean loss of each epoch by the network's name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        made = build().to(device)
    parts: list[tuple[str, Psnn, Reads]]
    if isinstance(made, PsnnChain):
        parts = [
            ("CT stream", made.ct, lambda x: x[:, :1]),
            ("early fusion", made.early, lambda x: x),
            ("late fusion", made.late, made.late_input),
        ]
    else:
        parts = [("network", made, lambda x: x)]
    losses = {}
    for number, (name, network, reads) in enumerate(parts):
        training = _NetworkTraining(settings, number, network, reads, patches)
        log = run_training(training, work / f"network_{number}.pt", partial(progress, name))
        losses[name] = [line["loss"] for line in log]
        network.eval().requires_grad_(False)
    return made, losses


class _NetworkTraining:
    """The training of one network. See `Training`."""

    falls_each_step = True
    identity: Mapping[str, Any] = MappingProxyType({})  # the folder's record says whose checkpoints are in it

    def __init__(
        self, settings: PsnnTrainingSettings, number: int, network: Psnn, reads: Reads, patches: PatchSource
    ) -> None:
        self.settings, self.number, self.network, self.reads, self.patches = settings, number, network, reads, patches
        self.parts = {"weights": network}
        self.epochs, self.steps, self.learning_rate = settings.epochs, settings.steps_per_epoch, settings.learning_rate

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.network.parameters()

    def loss(self, epoch: int, step: int) -> torch.Tensor:
        """Of a batch of patches that its number alone decides."""
        self.network.train()
        device = next(self.network.parameters()).device
        seed = (self.settings.seed, self.number, epoch, step)
        images, labels = (t.to(device) for t in self.patches.batch(seed, self.settings.batch_size))
        return deep_supervision_loss(self.network.level_logits(self.reads(images)), labels, self.settings.level_decay)

    def after_step(self) -> None:
        pass

    def after_epoch(self, epoch: int, mean_loss: float) -> LogLine:
        return {"loss": mean_loss}

    def has_stalled(self, log: Sequence[LogLine]) -> bool:
        return False


def deep_supervision_loss(levels: Sequence[torch.Tensor], label: torch.Tensor, decay: float = 1.0) -> torch.Tensor:
    """The weighted mean of every level's Dice loss, its logits up-sampled to the label.

    The Dice of a level counts the foreground of all patches of the batch together, so that a patch without any still
    says what is wrong.

    Args:
        levels: Logits `[N, 2, d, h, w]`, shallow to deep.
        label: `[N, 1, D, H, W]`, 0 or 1.
        decay: Weight of a level as a multiple of the next shallower level's.

    Source: Jin et al., section 2.2 (a Dice loss at each level); weights: see docs/psnn.md.
    """
    losses = require("monai.losses", extra="monai")
    dice = losses.DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    size = label.shape[2:]
    fine = [levels[0], *(F.interpolate(z, size, mode="trilinear", align_corners=False) for z in levels[1:])]
    weights = [decay**number for number in range(len(levels))]
    total: torch.Tensor = sum(w * dice(z, label) for w, z in zip(weights, fine, strict=True)) / sum(weights)
    return total
