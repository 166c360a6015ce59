"""The loop of every training here: Adam at a falling rate, a checkpoint after each epoch, an early stop, progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from context_propagation.core.callbacks import CancelCheck, never_cancelled
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.storage.whole_file import whole_file

logger = logging.getLogger(__name__)


POWER = 0.9
"""Of the polynomial by which the learning rate falls to 0, as nnU-Net's does."""


LogLine = dict[str, float]
"""The figures of an epoch by their names."""


class Stateful(Protocol):
    """What a checkpoint keeps of a training: a network, an average of weights, the best ones so far."""

    def state_dict(self) -> dict[str, Any]:
        """The state as torch saves it."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take a state that was saved."""


class Training(Protocol):
    """What one training has of its own.

    Attributes:
        parts: What a checkpoint keeps beside the optimiser and the log, by name; "weights" is the network.
        identity: What must be equal for a checkpoint to be continued, by name.
        epochs: How often all steps are made.
        steps: Of an epoch.
        learning_rate: Of the first step.
        falls_each_step: Whether the rate falls from step to step, else from epoch to epoch.
    """

    parts: Mapping[str, Stateful]
    identity: Mapping[str, Any]
    epochs: int
    steps: int
    learning_rate: float
    falls_each_step: bool

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """What is trained."""

    def loss(self, epoch: int, step: int) -> torch.Tensor:
        """What a step, both numbers from 0, makes smaller: a scalar."""

    def after_step(self) -> None:
        """Called once the weights have changed."""

    def after_epoch(self, epoch: int, mean_loss: float) -> LogLine:
        """The figures of an epoch, its number from 0."""

    def has_stalled(self, log: list[LogLine]) -> bool:
        """Whether further epochs are of no use."""


def run_training(
    training: Training,
    checkpoint: Path | None,
    on_step: Callable[[float], None],
    on_epoch: Callable[[LogLine], None] = lambda line: None,
    cancelled: CancelCheck = never_cancelled,
) -> list[LogLine]:
    """Train, or go on after the last epoch of the checkpoint: on a CPU to the same weights.

    Args:
        training: What is trained; holds the weights afterwards.
        checkpoint: File that keeps the state after each epoch; read first where it exists.
        on_step: Called after each step with the fraction of all that are done.
        on_epoch: Called after each epoch, once it is kept.
        cancelled: Asked before each step.

    Returns:
        A line for each epoch, those of earlier runs too.

    Raises:
        UserInputError: The checkpoint is damaged, or of another training.
        Cancelled: The checkpoint holds the last finished epoch.
    """
    optimizer = torch.optim.Adam(training.parameters(), lr=training.learning_rate)
    falls = training.epochs * (training.steps if training.falls_each_step else 1)
    rate = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=falls, power=POWER)
    parts = {**training.parts, "optimizer": optimizer, "rate": rate}
    log: list[LogLine] = []
    if checkpoint is not None and checkpoint.is_file():
        log += _resume(checkpoint, parts, training.identity)
    while len(log) < training.epochs and not training.has_stalled(log):
        losses = []
        for step in range(training.steps):
            if cancelled():
                raise Cancelled
            loss = training.loss(len(log), step)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            training.after_step()
            if training.falls_each_step:
                rate.step()
            losses.append(float(loss.detach()))
            on_step((len(log) + (step + 1) / training.steps) / training.epochs)
        if not training.falls_each_step:
            rate.step()
        log.append(training.after_epoch(len(log), sum(losses) / len(losses)))
        if checkpoint is not None:
            _save(checkpoint, parts, training.identity, log)
        on_epoch(log[-1])
    return log


def _save(path: Path, parts: Mapping[str, Stateful], identity: Mapping[str, Any], log: list[LogLine]) -> None:
    saved = {**{name: part.state_dict() for name, part in parts.items()}, **identity, "log": log}
    with whole_file(path) as partial, open(partial, "wb") as file:  # torch names no file that begins with a dot
        torch.save(saved, file)


def _resume(path: Path, parts: Mapping[str, Stateful], identity: Mapping[str, Any]) -> list[LogLine]:
    """Load the state after the last finished epoch.

    Returns:
        The log until then.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(saved, dict):
            raise TypeError(f"it holds a {type(saved).__name__}")
        differing = [name for name, value in identity.items() if saved.get(name) != value]
        if not differing:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            log = [dict(line) for line in saved["log"]]
    except Exception as error:  # torch raises many kinds
        reason = " ".join(str(error).split())
        raise UserInputError(
            f"'{path}' is not a training checkpoint ({reason:.200}); delete it to start again"
        ) from error
    if differing:
        raise UserInputError(f"'{path}' belongs to a training with other {' and '.join(differing)}; delete it")
    logger.info("Going on after epoch %d of %s", len(log), path)
    return log
