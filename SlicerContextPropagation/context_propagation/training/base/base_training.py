"""The base model of an evaluation's fold: trained as its protocol says, on cases that nothing else is trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from context_propagation.training.base.nnunet_training import train_nnunet
from context_propagation.training.base.psnn_settings import PsnnTrainingSettings
from context_propagation.training.base.psnn_training import train_psnn
from context_propagation.training.labelled_cases import LabelledCase, NnunetTask

STEPS_PER_EPOCH = 40


def train_base_model(
    model: str, cases: Sequence[LabelledCase], task: NnunetTask, work: Path, epochs: int, seed: int, device: str
) -> Path:
    """Train, or return the folder of an identical training that is finished.

    Args:
        model: "nnU-Net" or "PSNN"; the latter is the two-stream chain where the task has two channels.
        cases: The training cases.
        task: What is segmented.
        work: Where the folder goes.
        epochs: Of 40 steps each; for a chain, of each of its networks.
        seed: Of weights and patches.
        device: "auto", "cpu", "cuda" or "mps", for a PSNN; nnU-Net trains on the CPU.

    Returns:
        The model's folder.
    """
    if model == "nnU-Net":
        return train_nnunet(cases, task, work, epochs=epochs, iterations_per_epoch=STEPS_PER_EPOCH, seed=seed)
    settings = PsnnTrainingSettings(
        chain=len(task.channel_names) == 2,
        channel_names=task.channel_names,
        target_name=task.label,
        epochs=epochs,
        steps_per_epoch=STEPS_PER_EPOCH,
        seed=seed,
    )
    text = json.dumps([asdict(settings), [case.name for case in cases]])
    work.mkdir(parents=True, exist_ok=True)
    return train_psnn(cases, work / f"psnn-{hashlib.sha256(text.encode()).hexdigest()[:12]}", settings, device=device)
