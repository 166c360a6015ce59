"""Training of a fusion network: base model frozen, loss on the far slices only (paper II-C, II-D)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from context_propagation.core.callbacks import CancelCheck, never_cancelled
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.model.segmentation_model import Loss, SegmentationModel
from context_propagation.core.network.split_network import SplitNetwork
from context_propagation.core.propagation.activation_update import segmentation_loss
from context_propagation.core.propagation.fusion_network import FusionSettings
from context_propagation.training.fusion.fusion_controls import Sees, ShownTo, build_shown_to
from context_propagation.training.fusion.fusion_example import FusionExample

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """All that decides the weights, with the examples.

    Attributes:
        epochs: Passes over the examples.
        learning_rate: Of Adam at the start; it falls to 0 polynomially, as nnU-Net's does.
        seed: Of the weights and the order of the examples.
        patience: Stop after so many epochs without a better validation DSC; None never stops early.
        loss: Another loss than the base model's own; None for `SegmentationModel.loss`.
        sees: What of the edit the network is given.
        averaging: The weights kept are a moving average over the steps, of which each step keeps this share; 0 keeps
            the last ones.
    """

    epochs: int = 30
    learning_rate: float = 1e-3
    seed: int = 0
    patience: int | None = 10
    loss: Loss | None = None
    sees: Sees = "edit"
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UserInputError(f"{self.epochs} epochs; give at least 1")
        if not self.learning_rate > 0:
            raise UserInputError(f"The learning rate is {self.learning_rate}; give a number above 0")
        if not 0 <= self.averaging < 1:
            raise UserInputError(f"The share kept in averaging is {self.averaging}; give a number from 0 to below 1")


@dataclass(frozen=True)
class EpochLog:
    """One line of the training's log.

    Attributes:
        epoch: From 1.
        training_loss: Mean over the training examples.
        validation_loss: Mean over the validation examples; NaN without any.
        validation_dsc: Mean DSC of the far slices over the validation edits; NaN without any.
    """

    epoch: int
    training_loss: float
    validation_loss: float
    validation_dsc: float


MAX_ATTEMPTS, RATE_DIVISOR = 3, 3.0


LEAST_SHARE = 0.5
"""A training has died where its best epoch has less than this share of the DSC of the untouched features: with a Dice
loss, a network that calls everything background has no gradient that would lead it back."""


EpochCallback = Callable[[EpochLog], None]


@dataclass(frozen=True)
class _State:
    """Where a training stands; what a checkpoint holds."""

    epoch: int
    weights: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    best_weights: dict[str, torch.Tensor]
    best_dsc: float
    log: tuple[EpochLog, ...]


@dataclass(frozen=True)
class TrainedFusion:
    """The result.

    Attributes:
        network: With the weights of the best epoch by validation DSC; of the last one without validation examples.
            Its `network` is what a bundle holds.
        log: A line for each epoch.
    """

    network: ShownTo
    log: tuple[EpochLog, ...]


def train_fusion(
    model: SegmentationModel,
    split: SplitNetwork,
    architecture: FusionSettings,
    settings: TrainingSettings,
    training: Sequence[Callable[[], FusionExample]],
    validation: Sequence[Callable[[], FusionExample]] = (),
    checkpoint: Path | None = None,
    on_epoch: EpochCallback = lambda line: None,
    progress: Callable[[float], None] = lambda fraction: None,
    cancelled: CancelCheck = never_cancelled,
) -> TrainedFusion:
    """Train with Adam; one step is all simulated edits of one example.

    A training that died, as validation examples tell, is done again at a lower rate; see `LEAST_SHARE`.

    With a checkpoint, an interrupted training goes on where it was and, on a CPU, ends with the same weights as one
    that was not. The checkpoint knows architecture and settings, not model and examples: give each training its own.

    Args:
        model: The frozen base model: its target logit and its device.
        split: The fold that the examples come from.
        architecture: The fusion network.
        settings: Epochs, learning rate, seed.
        training: Read one example each; called once per epoch.
        validation: The same; none of their cases is trained on.
        checkpoint: File that keeps the state after each epoch; read first where it exists.
        on_epoch: Called after each epoch.
        progress: Called with the fraction of all epochs.
        cancelled: Asked before each step.

    Raises:
        UserInputError: No examples, a checkpoint of another training, or all attempts died.
        Cancelled: The checkpoint holds the last finished epoch.

    Source: Chao et al., section II-C (far slices only), II-D (loss and optimiser).
    """
    if not training:
        raise UserInputError("No training examples; give cases on which the base model and the ground truth differ")
    for attempt in range(MAX_ATTEMPTS):
        rate = settings.learning_rate / RATE_DIVISOR**attempt
        run = _Run(model, split, architecture, replace(settings, learning_rate=rate))
        kept = checkpoint.with_name(f"{checkpoint.name}.{attempt}") if checkpoint and attempt else checkpoint
        state = _load_checkpoint(kept, run) if kept is not None and kept.is_file() else run.start()
        while state.epoch < settings.epochs and not _has_stalled(state, settings.patience):
            state = run.epoch(state, training, validation, progress, cancelled)
            if kept is not None:
                _save_checkpoint(state, run, kept)
            on_epoch(state.log[-1])
        if not validation or state.best_dsc >= LEAST_SHARE * run.untouched_dsc(validation):
            network = run.network
            network.load_state_dict(state.best_weights)
            network.tell(torch.zeros(architecture.told))
            return TrainedFusion(network.to(model.device).eval().requires_grad_(False), state.log)
        logger.warning(
            "The training died at learning rate %g: best validation DSC %.3f; lowering it", rate, state.best_dsc
        )
    raise UserInputError(
        f"{MAX_ATTEMPTS} trainings died at ever lower learning rates, with hardly any target left; choose other cases"
    )


class _Run:
    """One training; on a CPU the same settings and examples give the same weights."""

    def __init__(
        self, model: SegmentationModel, split: SplitNetwork, architecture: FusionSettings, settings: TrainingSettings
    ) -> None:
        self.model, self.split, self.architecture, self.settings = model, split, architecture, settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = build_shown_to(architecture, settings.sees).to(model.device)
        averaged = get_ema_multi_avg_fn(settings.averaging)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=averaged)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be continued."""
        return {"architecture": asdict(self.architecture), "settings": asdict(self.settings)}

    def start(self) -> _State:
        weights = _copied(self.network.state_dict())
        average = _copied(self.average.state_dict())
        return _State(0, weights, average, self.optimizer.state_dict(), weights, -1.0, ())

    def epoch(
        self,
        state: _State,
        training: Sequence[Callable[[], FusionExample]],
        validation: Sequence[Callable[[], FusionExample]],
        progress: Callable[[float], None],
        cancelled: CancelCheck,
    ) -> _State:
        """Run one more epoch from a state."""
        self.network.load_state_dict(state.weights)
        self.average.load_state_dict(state.average)
        self.optimizer.load_state_dict(state.optimizer)
        self._set_learning_rate(state.epoch)
        order = torch.randperm(len(training), generator=torch.Generator().manual_seed(self.settings.seed + state.epoch))
        losses = []
        for step, number in enumerate(order.tolist()):
            if cancelled():
                raise Cancelled
            losses.append(self._step(training[number]().to(self.model.device)))
            progress((state.epoch + (step + 1) / len(training)) / self.settings.epochs)
        validated = [self._validate(read().to(self.model.device)) for read in validation]
        line = EpochLog(state.epoch + 1, _mean(losses), *(_mean(values) for values in _columns(validated)))
        kept = _copied(self.average.module.state_dict())
        better = not validated or line.validation_dsc > state.best_dsc
        return _State(
            line.epoch,
            _copied(self.network.state_dict()),
            _copied(self.average.state_dict()),
            self.optimizer.state_dict(),
            kept if better else state.best_weights,
            line.validation_dsc if better else state.best_dsc,
            (*state.log, line),
        )

    def _set_learning_rate(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * (1 - epoch / self.settings.epochs) ** 0.9

    def _step(self, example: FusionExample) -> float:
        self.network.train()
        self.optimizer.zero_grad()
        loss = self._far_loss(example, self._logits(self.network, example))
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return float(loss.detach())

    @torch.no_grad()
    def _validate(self, example: FusionExample) -> tuple[float, float]:
        """Loss and DSC of the far slices, by the averaged weights."""
        self.average.eval()
        logits = self._logits(cast(ShownTo, self.average.module), example)
        predicted = self.model.target_margin([logits]) > 0
        return float(self._far_loss(example, logits)), _far_dsc(predicted, example)

    @torch.no_grad()
    def untouched_dsc(self, validation: Sequence[Callable[[], FusionExample]]) -> float:
        """Mean DSC of the far slices over the validation edits, by the features that no edit has touched."""
        found = []
        for read in validation:
            example = read().to(self.model.device)
            logits = example.decode(self.split, example.inputs.f_of_each).float()
            found.append(_far_dsc(self.model.target_margin([logits]) > 0, example))
        return _mean(found)

    def _logits(self, network: ShownTo, example: FusionExample) -> torch.Tensor:
        """`[E, C, A, B, C]`, all of the model's channels; in mixed precision on a GPU."""
        device = self.model.device.type
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):  # float16 would need scaled gradients
            network.tell(example.told[: self.architecture.told])
            return example.decode(self.split, network(example.inputs)).float()

    def _far_loss(self, example: FusionExample, logits: torch.Tensor) -> torch.Tensor:
        """The base model's loss, one edit at a time, on its far slices."""
        target_logit = self.model.target_logit(logits)
        truth = example.truth.to(target_logit.dtype)
        far = example.far.expand_as(target_logit)
        losses = [
            segmentation_loss(z[counts], truth[counts], self.settings.loss or self.model.loss)
            for z, counts in zip(target_logit, far, strict=True)
        ]
        return torch.stack(losses).mean()


def _far_dsc(predicted: torch.Tensor, example: FusionExample) -> float:
    """Mean over the edits; 1 where both are empty."""
    far = example.far.expand_as(predicted)
    truth = example.truth & far
    both, total = ((predicted & truth).flatten(1).sum(1), (predicted & far).flatten(1).sum(1) + truth.flatten(1).sum(1))
    return float(torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0).mean())


def _has_stalled(state: _State, patience: int | None) -> bool:
    dscs = [line.validation_dsc for line in state.log]
    if patience is None or not dscs or any(dsc != dsc for dsc in dscs):
        return False
    return len(dscs) - 1 - dscs.index(max(dscs)) >= patience


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _copied(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def _save_checkpoint(state: _State, run: _Run, path: Path) -> None:
    saved = {field.name: getattr(state, field.name) for field in fields(state)}
    saved |= {"log": [asdict(line) for line in state.log], **run.identity}
    partial = path.with_name(path.name + ".partial")
    torch.save(saved, partial)
    os.replace(partial, path)


def _load_checkpoint(path: Path, run: _Run) -> _State:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise UserInputError(f"'{path}' is not a training checkpoint ({error}); delete it to start again") from error
    if not isinstance(saved, dict):
        raise UserInputError(f"'{path}' is not a training checkpoint; delete it to start again")
    differing = [name for name, value in run.identity.items() if saved.get(name) != value]
    if differing:
        raise UserInputError(f"'{path}' belongs to a training with other {' and '.join(differing)}; delete it")
    log = tuple(EpochLog(**line) for line in saved["log"])
    logger.info("Going on after epoch %d of %s", saved["epoch"], path)
    return _State(**{field.name: saved[field.name] for field in fields(_State)} | {"log": log})
