"""Training of a fusion network: base model frozen, loss on the far slices only (paper II-C, II-D)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from context_propagation.core.callbacks import CancelCheck, never_cancelled
from context_propagation.core.errors import UserInputError
from context_propagation.core.model.loss import Loss
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.network.split_network import SplitNetwork
from context_propagation.core.propagation.activation_update import segmentation_loss
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.training.far_harm import far_harm, harm_weight_of
from context_propagation.training.fusion.fusion_controls import BlindfoldedFusion, InputsShown, build_blindfolded
from context_propagation.training.fusion.fusion_example import FusionExample
from context_propagation.training.training_loop import LogLine, run_training

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
        harm_weight: Of the soft DSC that far slices lose, beside the loss; None for `harm_weight_of` its variant.
        inputs_shown: What of the edit the network is given.
        averaging: The weights kept are a moving average over the steps, of which each step keeps this share; 0 keeps
            the last ones.
    """

    epochs: int = 30
    learning_rate: float = 1e-3
    seed: int = 0
    patience: int | None = 10
    loss: Loss | None = None
    harm_weight: float | None = None
    inputs_shown: InputsShown = "edit"
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UserInputError(f"{self.epochs} epochs; give at least 1")
        if not self.learning_rate > 0:
            raise UserInputError(f"The learning rate is {self.learning_rate}; give a number above 0")
        if self.harm_weight is not None and not 0 <= self.harm_weight < math.inf:
            raise UserInputError(f"The weight of the harm is {self.harm_weight}; give a number of at least 0")
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
class TrainedFusion:
    """The result.

    Attributes:
        network: With the weights of the best epoch by validation DSC; of the last one without validation examples.
            Its `network` is what a bundle holds.
        log: A line for each epoch.
    """

    network: BlindfoldedFusion
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

    The loss is the base model's on far slices, and, but for the paper's network, what any of these slices loses by it.

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

    Source: Chao et al., section II-C (far slices only), II-D (loss and optimiser); the harm is ours.
    """
    if not training:
        raise UserInputError("No training examples; give cases on which the base model and the ground truth differ")
    for attempt in range(MAX_ATTEMPTS):
        rate = settings.learning_rate / RATE_DIVISOR**attempt
        tried = replace(settings, learning_rate=rate)
        run = _FusionTraining(model, split, architecture, tried, training, validation)
        kept = checkpoint.with_name(f"{checkpoint.name}.{attempt}") if checkpoint and attempt else checkpoint
        log = run_training(run, kept, progress, lambda line: on_epoch(EpochLog(**line)), cancelled)
        if not validation or run.best.dsc >= LEAST_SHARE * run.untouched_dsc():
            return TrainedFusion(run.finished(), tuple(EpochLog(**line) for line in log))
        logger.warning(
            "The training died at learning rate %g: best validation DSC %.3f; lowering it", rate, run.best.dsc
        )
    raise UserInputError(
        f"{MAX_ATTEMPTS} trainings died at ever lower learning rates, with hardly any target left; choose other cases"
    )


class _Best:
    """The weights of the best epoch so far."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}
        self.dsc = -1.0

    def keep(self, weights: dict[str, torch.Tensor], dsc: float) -> None:
        self.weights, self.dsc = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}, dsc

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights, "dsc": self.dsc}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.keep(state_dict["weights"], state_dict["dsc"])


class _FusionTraining:
    """One training; on a CPU the same settings and examples give the same weights. See `Training`."""

    falls_each_step = False

    def __init__(
        self,
        model: SegmentationModel,
        split: SplitNetwork,
        architecture: FusionSettings,
        settings: TrainingSettings,
        training: Sequence[Callable[[], FusionExample]],
        validation: Sequence[Callable[[], FusionExample]],
    ) -> None:
        self.model, self.split, self.architecture, self.settings = model, split, architecture, settings
        self.training, self.validation = training, validation
        usual = harm_weight_of(architecture.variant)
        self.harm_weight = usual if settings.harm_weight is None else settings.harm_weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = build_blindfolded(architecture, settings.inputs_shown).to(model.device)
        averaged = get_ema_multi_avg_fn(settings.averaging)  # type: ignore[no-untyped-call]
        self.average, self.best = AveragedModel(self.network, multi_avg_fn=averaged), _Best()
        self.parts = {"weights": self.network, "average": self.average, "best": self.best}
        self.identity = {"architecture": asdict(architecture), "settings": asdict(settings)}
        self.epochs, self.steps, self.learning_rate = settings.epochs, len(training), settings.learning_rate

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return self.network.parameters()

    def loss(self, epoch: int, step: int) -> torch.Tensor:
        """Of an example; each once in an epoch, in an order that changes."""
        generator = torch.Generator().manual_seed(self.settings.seed + epoch)
        number = int(torch.randperm(self.steps, generator=generator)[step])
        example = self.training[number]().to(self.model.device)
        self.network.train()
        return self._far_loss(example, self._logits(self.network, example))

    def after_step(self) -> None:
        self.average.update_parameters(self.network)

    def after_epoch(self, epoch: int, mean_loss: float) -> LogLine:
        validated = [self._validate(read().to(self.model.device)) for read in self.validation]
        loss, dsc = (_mean([figures[column] for figures in validated]) for column in (0, 1))
        if not validated or dsc > self.best.dsc:
            self.best.keep(self.average.module.state_dict(), dsc)
        return asdict(EpochLog(epoch + 1, mean_loss, loss, dsc))

    def has_stalled(self, log: Sequence[LogLine]) -> bool:
        """Whether the DSC was better so many epochs ago."""
        dscs, patience = [line["validation_dsc"] for line in log], self.settings.patience
        if patience is None or not dscs or any(dsc != dsc for dsc in dscs):
            return False
        return len(dscs) - 1 - dscs.index(max(dscs)) >= patience

    def finished(self) -> BlindfoldedFusion:
        """The network with the best weights, ready for use."""
        self.network.load_state_dict(self.best.weights)
        self.network.set_hidden_truth(torch.zeros(self.architecture.hidden_truth))
        return self.network.to(self.model.device).eval().requires_grad_(False)

    @torch.no_grad()
    def untouched_dsc(self) -> float:
        """Mean DSC of the far slices over the validation edits, by the features that no edit has touched."""
        found = []
        for read in self.validation:
            example = read().to(self.model.device)
            predicted = self.model.target_margin([example.untouched_logits().float()]) > 0
            found.append(_far_dsc(predicted.expand(len(example), -1, -1, -1), example))
        return _mean(found)

    @torch.no_grad()
    def _validate(self, example: FusionExample) -> tuple[float, float]:
        """Loss and DSC of the far slices, by the averaged weights."""
        self.average.eval()
        logits = self._logits(cast(BlindfoldedFusion, self.average.module), example)
        predicted = self.model.target_margin([logits]) > 0
        return float(self._far_loss(example, logits)), _far_dsc(predicted, example)

    def _logits(self, network: BlindfoldedFusion, example: FusionExample) -> torch.Tensor:
        """`[E, C, A, B, C]`, all of the model's channels; in mixed precision on a GPU."""
        device = self.model.device.type
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):  # float16 would need scaled gradients
            network.set_hidden_truth(example.hidden_truth[: self.architecture.hidden_truth])
            return example.decode(self.split, network(example.inputs)).float()

    def _far_loss(self, example: FusionExample, logits: torch.Tensor) -> torch.Tensor:
        """The base model's loss, one edit at a time, on its far slices; and the soft DSC that any of them loses."""
        (untouched,) = self.model.target_logit(example.untouched_logits().float())
        target_logit = self.model.target_logit(logits)
        far = example.far.expand_as(target_logit)
        losses = []
        for edit, axis in enumerate(example.axes):
            slices = far[edit].movedim(axis, 0)[:, 0, 0]
            of_edit = (untouched, target_logit[edit], example.truth.to(target_logit.dtype))
            before, after, truth = (maps.movedim(axis, 0)[slices] for maps in of_edit)
            loss = segmentation_loss(after, truth, self.settings.loss or self.model.loss)
            if self.harm_weight:
                loss = loss + self.harm_weight * far_harm(before, after, truth)
            losses.append(loss)
        return torch.stack(losses).mean()


def _far_dsc(predicted: torch.Tensor, example: FusionExample) -> float:
    """Mean over the edits; 1 where both are empty."""
    far = example.far.expand_as(predicted)
    truth = example.truth & far
    both, total = ((predicted & truth).flatten(1).sum(1), (predicted & far).flatten(1).sum(1) + truth.flatten(1).sum(1))
    return float(torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0).mean())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
