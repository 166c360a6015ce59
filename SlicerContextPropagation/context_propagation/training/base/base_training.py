"""The base model of an evaluation's fold: trained as its protocol says, on cases that nothing else is trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from context_propagation.training.base.nnunet_training import nnunet_files, train_nnunet
from context_propagation.training.base.psnn_settings import PsnnTrainingSettings
from context_propagation.training.base.psnn_training import psnn_files, train_psnn
from context_propagation.training.job_process import say_done
from context_propagation.training.labelled_cases import LabelledCase, NnunetTask

STEPS_PER_EPOCH = 40


def say_steps_done(stage: str, fraction: float) -> None:
    """`Progress` of nnU-Net's training: preparing takes little beside the steps."""
    if stage == "train":
        say_done(fraction)


class PsnnShare:
    """Says how much of all networks of a PSNN is done; `Progress` for its training."""

    def __init__(self, settings: PsnnTrainingSettings) -> None:
        self._networks = 3 if settings.chain else 1
        self._seen: list[str] = []

    def __call__(self, network: str, fraction: float) -> None:
        """Called with the network's name and the fraction of its training."""
        if network not in self._seen:
            self._seen.append(network)
        say_done((len(self._seen) - 1 + fraction) / self._networks)


@dataclass(frozen=True)
class BaseTraining:
    """A training and all that decides it.

    Attributes:
        model: "nnU-Net" or "PSNN"; the latter is the two-stream chain where the task has two channels.
        cases: The training cases.
        task: What is segmented.
        work: Where the folder goes.
        epochs: Of 40 steps each; for a chain, of each of its networks.
        seed: Of weights and patches.
        device: "auto", "cpu", "cuda" or "mps", for a PSNN; nnU-Net trains on the CPU.
    """

    model: str
    cases: tuple[LabelledCase, ...]
    task: NnunetTask
    work: Path
    epochs: int
    seed: int
    device: str = "cpu"

    def run(self) -> Path:
        """Train, or find an identical training that is finished.

        Returns:
            The model's folder.
        """
        if self.model == "nnU-Net":
            return train_nnunet(self.cases, self.task, self.work, **self._of_nnunet(), progress=say_steps_done)
        self.work.mkdir(parents=True, exist_ok=True)
        return train_psnn(self.cases, self._psnn_folder(), self._of_psnn(), PsnnShare(self._of_psnn()), self.device)

    @property
    def leaves(self) -> tuple[Path, ...]:
        """The weights, and what is written of them."""
        if self.model == "nnU-Net":
            return nnunet_files(self.cases, self.task, self.work, **self._of_nnunet())
        return psnn_files(self._psnn_folder())

    def _of_nnunet(self) -> dict[str, int]:
        return {"epochs": self.epochs, "iterations_per_epoch": STEPS_PER_EPOCH, "seed": self.seed}

    def _of_psnn(self) -> PsnnTrainingSettings:
        return PsnnTrainingSettings(
            chain=len(self.task.channel_names) == 2,
            channel_names=self.task.channel_names,
            target_name=self.task.label,
            epochs=self.epochs,
            steps_per_epoch=STEPS_PER_EPOCH,
            seed=self.seed,
        )

    def _psnn_folder(self) -> Path:
        text = json.dumps([asdict(self._of_psnn()), [case.name for case in self.cases]])
        return self.work / f"psnn-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
