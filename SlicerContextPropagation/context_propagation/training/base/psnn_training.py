"""Training of a PSNN or of a chain: Dice with deep supervision, one network after another, checkpoints, the folder."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.callbacks import Progress, no_progress
from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError
from context_propagation.core.model.psnn_folder import (
    FILE_NAME,
    PsnnDescription,
    is_psnn_folder,
    load_psnn_folder,
    save_psnn_folder,
)
from context_propagation.core.network.psnn import Psnn, PsnnChain, PsnnSettings
from context_propagation.core.optional_dependency import require
from context_propagation.core.provenance import provenance
from context_propagation.training.base.psnn_patches import PatchSource, plan_preprocessing, read_case
from context_propagation.training.base.psnn_settings import PsnnTrainingSettings, poolings_for
from context_propagation.training.labelled_cases import LabelledCase

RECORD, LOG = "training.json", "training.csv"


NEEDED = {"monai": ("monai.transforms", "monai.losses", "monai.inferers"), "nnunet": ("safetensors.torch",)}
"""Optional modules by the extra that installs them."""


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


def train_psnn(
    cases: Sequence[LabelledCase],
    output: Path,
    settings: PsnnTrainingSettings = PsnnTrainingSettings(),
    progress: Progress = no_progress,
    device: str = "auto",
) -> Path:
    """Train on all the cases and write a folder that `load_psnn_folder` loads.

    The state after each epoch is kept beside the folder in `<output>.training`, so that an interrupted training goes on
    and, on a CPU, ends with the same weights; it is removed once the folder is written. A finished training of the same
    settings on the same files is returned as it is.

    Args:
        cases: Image files, one per channel, and a label file each. Keep test cases out of it.
        output: The folder; one that another training wrote is replaced.
        settings: All that decides the weights.
        progress: Called with the network's name and the fraction of its training.
        device: "auto", "cpu" or "cuda".

    Returns:
        `output`.

    Raises:
        UserInputError: No cases, a file that cannot be used, something else at `output`, or another training's state.
        MissingDependencyError: An optional package is not installed; this is known before any work.
    """
    for extra, modules in NEEDED.items():
        for module in modules:
            require(module, extra)
    chosen = select_device(device)
    identity = _identity(cases, settings)
    output = Path(os.path.abspath(output))
    if _is_finished(output, identity):
        return output
    _check_destination(output)
    work = output.with_name(f"{output.name}.training")
    _check_work_folder(work, identity)
    description, patches = _prepared(cases, settings)
    work.mkdir(exist_ok=True)
    (work / RECORD).write_text(json.dumps(identity), encoding="utf-8")
    run = _Run(settings, description, patches, chosen, work)
    network = run.train(progress)
    _publish(output, description, network, {"identity": identity, "loss": run.losses})
    shutil.rmtree(work)
    return output


def _prepared(cases: Sequence[LabelledCase], settings: PsnnTrainingSettings) -> tuple[PsnnDescription, PatchSource]:
    """What the network will be, and its patches."""
    read = [read_case(case, settings.target_name, settings.label, settings.orientation) for case in cases]
    preprocessing = plan_preprocessing(read, settings.names, settings.spacing_mm)
    spacing_mm = preprocessing.spacing_mm or (1.0, 1.0, 1.0)
    poolings = poolings_for(settings.patch, spacing_mm, len(settings.channels))
    architecture = PsnnSettings(len(settings.names), 2, settings.channels, poolings)
    made = {**provenance(), "cases": len(cases), "settings": _plain(asdict(settings))}
    description = PsnnDescription(
        settings.chain,
        architecture,
        preprocessing,
        settings.patch,
        (settings.target_name,),
        settings.orientation,
        made,
    )
    return description, PatchSource(read, preprocessing, settings.patch)


class _Run:
    """One training: its networks one after another."""

    def __init__(
        self,
        settings: PsnnTrainingSettings,
        description: PsnnDescription,
        patches: PatchSource,
        device: torch.device,
        work: Path,
    ) -> None:
        self.settings, self.description, self.patches = settings, description, patches
        self.device, self.work = device, work
        self.losses: dict[str, list[float]] = {}

    def train(self, progress: Progress) -> Psnn | PsnnChain:
        """Train every network; the chain's late fusion last, on what its finished streams say."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            network = self.description.build().to(self.device)
        if isinstance(network, PsnnChain):
            self._train(0, "CT stream", network.ct, lambda x: x[:, :1], progress)
            self._train(1, "early fusion", network.early, lambda x: x, progress)
            self._train(2, "late fusion", network.late, network.late_input, progress)
        else:
            self._train(0, "network", network, lambda x: x, progress)
        return network

    def _train(
        self,
        number: int,
        name: str,
        network: Psnn,
        reads: Callable[[torch.Tensor], torch.Tensor],
        progress: Progress,
    ) -> None:
        """Train one network to its end, from its checkpoint where there is one; leaves it in evaluation mode."""
        optimizer = torch.optim.Adam(network.parameters(), lr=self.settings.learning_rate)
        losses = self.losses[name] = self._resume(number, network, optimizer)
        while len(losses) < self.settings.epochs:
            losses.append(self._epoch(number, name, network, optimizer, reads, len(losses), progress))
            self._save(number, network, optimizer, losses)
        network.eval().requires_grad_(False)

    def _epoch(
        self,
        number: int,
        name: str,
        network: Psnn,
        optimizer: torch.optim.Optimizer,
        reads: Callable[[torch.Tensor], torch.Tensor],
        epoch: int,
        progress: Progress,
    ) -> float:
        """One more epoch; its mean loss."""
        network.train()
        found, steps = [], self.settings.steps_per_epoch
        for step in range(steps):
            done = (epoch * steps + step) / (self.settings.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * (1 - done) ** 0.9
            progress(name, done)
            seed = (self.settings.seed, number, epoch, step)
            images, labels = (t.to(self.device) for t in self.patches.batch(seed, self.settings.batch_size))
            optimizer.zero_grad()
            loss = deep_supervision_loss(network.level_logits(reads(images)), labels, self.settings.level_decay)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            found.append(float(loss.detach()))
        return sum(found) / len(found)

    def _checkpoint(self, number: int) -> Path:
        return self.work / f"network_{number}.pt"

    def _save(self, number: int, network: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]) -> None:
        path = self._checkpoint(number)
        partial = path.with_name(path.name + ".partial")
        weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
        torch.save({"weights": weights, "optimizer": optimizer.state_dict(), "losses": losses}, partial)
        os.replace(partial, path)

    def _resume(self, number: int, network: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
        """Load the last finished epoch; the losses so far."""
        path = self._checkpoint(number)
        if not path.is_file():
            return []
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(saved["weights"])
            optimizer.load_state_dict(saved["optimizer"])
            return [float(loss) for loss in saved["losses"]]
        except Exception as error:  # torch raises many kinds
            reason = " ".join(str(error).split())
            raise UserInputError(f"'{path}' is no checkpoint ({reason:.200}); delete it to start again") from error


# ---- files


def _identity(cases: Sequence[LabelledCase], settings: PsnnTrainingSettings) -> dict[str, Any]:
    """What makes two trainings the same: settings, and the content of all files."""
    if not cases:
        raise UserInputError("No training cases given; give at least one")
    digest = hashlib.sha256()
    for case in cases:
        if len(case.images) != len(settings.names):
            raise UserInputError(
                f"Case '{case.name}' has {len(case.images)} image file(s), and the channels are "
                f"{', '.join(settings.names)}; give one for each"
            )
        for file in (*case.images, case.label):
            if not file.is_file():
                raise UserInputError(f"Training file '{file}' is missing; check the folders")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    plain: dict[str, Any] = _plain(asdict(settings))
    return {"settings": plain, "cases": [case.name for case in cases], "files_sha256": digest.hexdigest()}


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _is_finished(output: Path, identity: Mapping[str, Any]) -> bool:
    try:
        found = json.loads((output / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    complete = is_psnn_folder(output) and any(output.glob("*.safetensors"))
    return complete and isinstance(found, dict) and found.get("identity") == identity


def _check_destination(output: Path) -> None:
    if not output.parent.is_dir():
        raise UserInputError(f"Folder '{output.parent}' does not exist; create it, or choose another place")
    if not output.exists():
        return
    names = sorted(file.name for file in output.iterdir()) if output.is_dir() else []
    ours = [name for name in names if name in (FILE_NAME, RECORD, LOG) or name.endswith(".safetensors")]
    if not output.is_dir() or ours != names or (names and not is_psnn_folder(output)):
        raise UserInputError(f"'{output}' exists and holds something other than a PSNN; choose another name")


def _check_work_folder(work: Path, identity: Mapping[str, Any]) -> None:
    if not work.exists():
        return
    try:
        found = json.loads((work / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != identity:
        raise UserInputError(
            f"'{work}' belongs to another training, or its settings, images or labels have changed; finish that one, "
            "or delete the folder"
        )


def _publish(output: Path, description: PsnnDescription, network: Psnn | PsnnChain, record: dict[str, Any]) -> None:
    """Write everything beside `output`, load it once, and move it there."""
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save_psnn_folder(partial, description, {"all": network})
        with open(partial / LOG, "w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(("network", "epoch", "loss"))
            for name, losses in record["loss"].items():
                lines.writerows((name, epoch, f"{loss:.6f}") for epoch, loss in enumerate(losses, 1))
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        load_psnn_folder(partial, device="cpu")
        if output.exists():
            shutil.rmtree(output)
        os.replace(partial, output)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UserInputError(f"Cannot write '{output}': {reason}; choose another place") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
