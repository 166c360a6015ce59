"""Training of the general far network: corrections of the logit on far slices, none of which may become worse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from context_propagation.core.callbacks import CancelCheck, never_cancelled
from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.activation_update import segmentation_loss
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.training.far_harm import HARM_WEIGHT, far_harm
from context_propagation.training.general.general_example import GeneralExample
from context_propagation.training.training_loop import LogLine, run_training

Shown = Literal["edit", "no edit"]
"""What of an edit a network sees; "no edit": where a slice was drawn, and in place of the drawing the prediction."""


AVERAGING = 0.98


LEAST_PROGRESS = 0.005
"""Of the validation DSC on phantoms: what is gained beyond is gained on phantoms alone."""


@dataclass(frozen=True)
class GeneralTrainingSettings:
    """All that decides the weights, with the examples.

    Attributes:
        epochs: Passes over the examples.
        learning_rate: Of Adam at the start.
        width: Channels of the hidden layers.
        seed: Of the weights, the order of the examples and their flips.
        shown: What of the edit is seen.
        least_progress: Of the validation DSC: an epoch that gains no more is the last, and the one before is kept.
        least_steps: Of an epoch: where there are fewer examples, all are taken more often.
    """

    epochs: int = 5
    learning_rate: float = 2e-3
    width: int = 16
    seed: int = 0
    shown: Shown = "edit"
    least_progress: float = LEAST_PROGRESS
    least_steps: int = 1


def train_general(
    settings: GeneralTrainingSettings,
    training: Sequence[GeneralExample],
    validation: Sequence[GeneralExample],
    checkpoint: Path | None = None,
    cancelled: CancelCheck = never_cancelled,
    start: GeneralFarNetwork | None = None,
    on_step: Callable[[float], None] = lambda fraction: None,
) -> tuple[GeneralFarNetwork, list[LogLine]]:
    """Train with Adam, one example a step; the weights are a moving average's, of the last epoch that gained.

    Args:
        settings: Epochs, learning rate, width, seed, and what is seen.
        training: What is learned from.
        validation: Of other phantoms; chooses the epoch.
        checkpoint: File that keeps the state after each epoch; read first where it exists.
        cancelled: Asked before each step.
        start: A network of this width to begin with, which is kept where no epoch gains; by default a fresh one.
        on_step: Called after each step with the fraction of all that are done.

    Returns:
        The network in evaluation mode, and a line for each epoch.

    Raises:
        UserInputError: No examples, or a checkpoint of another training.
        Cancelled: The checkpoint holds the last finished epoch.
    """
    if not training or not validation:
        raise UserInputError("There are no examples to train or to validate on; give more cases")
    run = _GeneralTraining(settings, training, validation, start)
    log = run_training(run, checkpoint, on_step, cancelled=cancelled)
    run.network.load_state_dict(run.best.weights)
    return run.network.eval().requires_grad_(False), log


class _Best:
    """The weights of the best epoch so far."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}
        self.dsc = -1.0

    def state_dict(self) -> dict[str, object]:
        return {"weights": self.weights, "dsc": self.dsc}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self.weights, self.dsc = state_dict["weights"], state_dict["dsc"]  # type: ignore[assignment]


class _GeneralTraining:
    """One training; see `Training`."""

    falls_each_step = True

    def __init__(
        self,
        settings: GeneralTrainingSettings,
        training: Sequence[GeneralExample],
        validation: Sequence[GeneralExample],
        start: GeneralFarNetwork | None,
    ) -> None:
        self.settings, self.validation = settings, validation
        self.training = [*training] * max(1, round(settings.least_steps / len(training)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = GeneralFarNetwork(settings.width)
        if start is not None:
            self.network.load_state_dict(start.state_dict())
        averaged = get_ema_multi_avg_fn(AVERAGING)  # type: ignore[no-untyped-call]
        self.average, self.best = AveragedModel(self.network, multi_avg_fn=averaged), _Best()
        self.parts = {"weights": self.network, "average": self.average, "best": self.best}
        self.identity = {"settings": asdict(settings)}
        self.epochs, self.steps, self.learning_rate = settings.epochs, len(self.training), settings.learning_rate
        if start is not None:
            self.keep_if_better(0.0)

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return self.network.parameters()

    def loss(self, epoch: int, step: int) -> torch.Tensor:
        """Of an example, flipped and turned about the normal at random."""
        generator = torch.Generator().manual_seed(1000 * self.settings.seed + epoch)
        number = int(torch.randperm(self.steps, generator=generator)[step])
        example, shown = self.training[number], self.settings.shown
        turn = _Turn(torch.Generator().manual_seed(self.steps * epoch + step))
        correction = turn.back(correction_of(self.network, example, shown, turn))
        return far_loss(example, start_of(example, shown) + correction)

    def after_step(self) -> None:
        self.average.update_parameters(self.network)

    def after_epoch(self, epoch: int, mean_loss: float) -> LogLine:
        dsc = self.keep_if_better(self.settings.least_progress)
        return {"epoch": epoch + 1, "training_loss": mean_loss, "validation_dsc": dsc}

    def keep_if_better(self, by: float) -> float:
        """The validation DSC of the averaged weights, which are kept where the best one is so much smaller."""
        network = cast(GeneralFarNetwork, self.average.module)
        found = [
            far_dsc(example, corrected_logit(network, example, self.settings.shown)) for example in self.validation
        ]
        dsc = sum(found) / len(found)
        if dsc > self.best.dsc + by:
            self.best.dsc = dsc
            self.best.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return dsc

    def has_stalled(self, log: Sequence[LogLine]) -> bool:
        """Whether the last epoch gained too little; see `GeneralTrainingSettings`."""
        *earlier, last = [line["validation_dsc"] for line in log] or [1.0]
        return bool(earlier) and last <= max(earlier) + self.settings.least_progress


class _Turn:
    """A flip along each axis, and an exchange of the axes across the normal, at random."""

    def __init__(self, generator: torch.Generator) -> None:
        flips = torch.rand(4, generator=generator) < 0.5
        self.axes = [axis - 3 for axis in range(3) if flips[axis]]
        self.exchanged = bool(flips[3])

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        turned = maps.flip(self.axes)
        return turned.transpose(-1, -2) if self.exchanged else turned

    def back(self, values: torch.Tensor) -> torch.Tensor:
        turned = values.transpose(-1, -2) if self.exchanged else values
        return turned.flip(self.axes)


def correction_of(
    network: GeneralFarNetwork, example: GeneralExample, shown: Shown, turn: _Turn | None = None
) -> torch.Tensor:
    """Of an example, turned where asked: `[D, H, W]`."""
    blind = shown == "no edit"
    maps = (example.blind_maps if blind else example.maps).float()
    numbers = example.blind_numbers if blind else example.numbers
    correction: torch.Tensor = network((maps if turn is None else turn(maps))[None], numbers[None])[0]
    return correction


@torch.no_grad()
def corrected_logit(network: GeneralFarNetwork, example: GeneralExample, shown: Shown) -> torch.Tensor:
    """`[D, H, W]`."""
    network.eval()
    return start_of(example, shown) + correction_of(network, example, shown)


def start_of(example: GeneralExample, shown: Shown) -> torch.Tensor:
    """What is corrected: the target logit of f', for the control of f; `[D, H, W]`."""
    return (example.updated_logit if shown == "edit" else example.logit).float()


def far_loss(example: GeneralExample, after: torch.Tensor) -> torch.Tensor:
    """Dice and cross-entropy of the corrected logit's far slices, and the soft DSC that any of them loses."""
    before, after = example.logit.float()[example.far], after[example.far]
    truth = example.truth[example.far].float()
    return segmentation_loss(after, truth, "dice and cross-entropy") + HARM_WEIGHT * far_harm(before, after, truth)


def far_dsc(example: GeneralExample, logit: torch.Tensor) -> float:
    """Of the far slices; 1 where both are empty."""
    found, truth = (logit > 0)[example.far], example.truth[example.far]
    total = int(found.sum() + truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0
