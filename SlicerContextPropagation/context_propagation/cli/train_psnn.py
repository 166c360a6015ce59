"""`context-propagation train-psnn`: from labelled images to a PSNN, or to the two-stream chain for CT and PET."""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from context_propagation.cli.arguments import add_scheduler
from context_propagation.cli.job_places import jobs_placed
from context_propagation.core.device import DEVICES
from context_propagation.core.errors import UserInputError
from context_propagation.training.base.base_training import PsnnShare
from context_propagation.training.base.psnn_settings import PsnnTrainingSettings
from context_propagation.training.base.psnn_training import LOG, train_psnn
from context_propagation.training.labelled_cases import find_cases
from context_propagation.training.processes import run_in_parallel


@dataclass(frozen=True)
class TrainPsnnRequest:
    """What to train, on what; the other fields are those of `PsnnTrainingSettings`.

    Attributes:
        images: Folder of images, named as nnU-Net names them.
        labels: Folder of labelmaps, named as their cases.
        output: The folder that is written.
        device: "auto", "cpu", "cuda" or "mps".
    """

    images: Path
    labels: Path
    output: Path
    chain: bool = False
    channel_names: tuple[str, ...] | None = None
    name: str = "target"
    label: int | None = None
    spacing: tuple[float, ...] | None = None
    patch: tuple[int, ...] = PsnnTrainingSettings.patch
    channels: tuple[int, ...] = PsnnTrainingSettings.channels
    epochs: int = PsnnTrainingSettings.epochs
    steps_per_epoch: int = PsnnTrainingSettings.steps_per_epoch
    seed: int = 0
    orientation: str | None = None
    device: str = "auto"

    def settings(self) -> PsnnTrainingSettings:
        """All that decides the weights.

        Raises:
            UserInputError: A value is out of range.
        """
        spacing_mm = None
        if self.spacing is not None:
            first, second, third = self.spacing
            spacing_mm = (float(first), float(second), float(third))
        d, h, w = self.patch
        return PsnnTrainingSettings(
            chain=self.chain,
            channel_names=None if self.channel_names is None else tuple(self.channel_names),
            target_name=self.name,
            label=self.label,
            spacing_mm=spacing_mm,
            patch=(d, h, w),
            channels=tuple(self.channels),
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            seed=self.seed,
            orientation=self.orientation,
        )


def train_psnn_folder(request: TrainPsnnRequest) -> str:
    """Train and write the folder.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: Something in the request cannot be used.
        MissingDependencyError: An optional package is not installed; this is known before any work.
    """
    settings = request.settings()
    cases = find_cases(request.images, request.labels, len(settings.names))
    kind = "chain" if settings.chain else "PSNN"
    training = partial(train_psnn, cases, request.output, settings, PsnnShare(settings), request.device)
    run_in_parallel([training], kind, 1, device=request.device)
    return f"{request.output}: {kind} trained on {len(cases)} cases; last Dice loss {_last_loss(request.output)}"


def _last_loss(folder: Path) -> str:
    try:
        with open(folder / LOG, newline="", encoding="utf-8") as file:
            return f"{float(list(csv.DictReader(file))[-1]['loss']):.3f}"
    except (OSError, IndexError, KeyError, ValueError) as error:
        raise UserInputError(f"'{folder / LOG}' cannot be read ({error!r:.80}); train again") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add, usual = parser.add_argument, PsnnTrainingSettings
    add("--images", type=Path, required=True, metavar="DIR", help="images, as nnU-Net names them: case_0000.nii.gz")
    add("--labels", type=Path, required=True, metavar="DIR", help="labelmaps, named as their cases")
    add("--output", type=Path, required=True, metavar="DIR", help="the folder; an interrupted training goes on")
    add("--chain", action="store_true", help="the two-stream chain: channels 0000 CT and 0001 PET")
    add("--channel-names", nargs="+", metavar="NAME", help="CT by default; CT PET with --chain")
    add("--name", default="target", metavar="TEXT", help="name of the label that the network shall find")
    add("--label", type=int, metavar="INT", help="value of the label; by default all labels together")
    add("--spacing", type=float, nargs=3, metavar=("D", "H", "W"), help="network's voxels in mm; median by default")
    add("--patch", type=int, nargs=3, default=usual.patch, metavar=("D", "H", "W"), help="in the network's voxels")
    add("--channels", type=int, nargs="+", default=usual.channels, metavar="N", help="of each stage, shallow to deep")
    add("--epochs", type=int, default=usual.epochs, help="of each network")
    add("--steps-per-epoch", type=int, default=usual.steps_per_epoch, metavar="N")
    add("--seed", type=int, default=0)
    add("--orientation", metavar="LPS", help="reorient all images first, where their arrays differ")
    add("--device", choices=DEVICES, default="auto")
    add_scheduler(parser)


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    output, images, labels = fields["output"], fields["images"], fields["labels"]
    with jobs_placed(fields, [output.resolve().parent], [images, labels]) as others:
        return str(train_psnn_folder(TrainPsnnRequest(**others)))
