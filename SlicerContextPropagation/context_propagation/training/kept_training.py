"""A training that is done once: its weights and its log are kept, and an interrupted one goes on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.training.places import are_there
from context_propagation.training.training_loop import LogLine

Train = Callable[[Path], tuple[Mapping[str, torch.Tensor], Sequence[LogLine]]]
"""Trains, with a checkpoint in this file or on from it; returns the weights, and a line of the log for each epoch."""


@dataclass(frozen=True)
class KeptTraining:
    """What every training of a network has.

    Attributes:
        name: Of its files.
        folder: Where weights, log and checkpoint go.
    """

    name: str
    folder: Path

    @property
    def weights(self) -> Path:
        """Where the weights are once the training is finished."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def log(self) -> Path:
        """The training's log, CSV."""
        return self.folder / f"{self.name}.csv"

    @property
    def leaves(self) -> tuple[Path, ...]:
        """A training is finished where it has both."""
        return self.log, self.weights

    def once(self, train: Train) -> Path:
        """Train, or go on with an interrupted training; a finished one is kept as it is.

        Returns:
            The file with the weights.
        """
        if are_there(self.leaves):
            return self.weights
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint = self.folder / f"{self.name}.checkpoint"
        trained, lines = train(checkpoint)
        with whole_file(self.log) as partial_file, open(partial_file, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        weights = {name: tensor.cpu().contiguous() for name, tensor in trained.items()}
        with whole_file(self.weights) as partial_file:
            require("safetensors.torch", extra="nnunet").save_file(weights, partial_file)
        checkpoint.unlink()
        return self.weights
