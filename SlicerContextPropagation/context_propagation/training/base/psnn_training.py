"""Training of a PSNN or of a chain: Dice with deep supervision, one network after another, checkpoints, the folder."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from context_propagation.core.storage.whole_file import whole_file, whole_folder
from context_propagation.training.base.psnn_network_training import train_networks
from context_propagation.training.base.psnn_patches import PatchSource, plan_preprocessing, read_case
from context_propagation.training.base.psnn_settings import PsnnTrainingSettings, poolings_for
from context_propagation.training.labelled_cases import LabelledCase
from context_propagation.training.places import are_there

RECORD, LOG, FOLD = "training.json", "training.csv", "all"


NEEDED = {"monai": ("monai.transforms", "monai.losses", "monai.inferers"), "nnunet": ("safetensors.torch",)}
"""Optional modules by the extra that installs them."""


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
        device: "auto", "cpu", "cuda" or "mps".

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
    with whole_file(work / RECORD) as partial_file:
        partial_file.write_text(json.dumps(identity), encoding="utf-8")
    network, losses = train_networks(settings, description.build, patches, work, chosen, progress)
    _publish(output, description, network, {"identity": identity, "loss": losses})
    shutil.rmtree(work)
    return output


def psnn_files(output: Path) -> tuple[Path, ...]:
    """What `train_psnn` leaves in its folder, beside the log."""
    return output / FILE_NAME, output / f"fold_{FOLD}.safetensors", output / RECORD


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
    complete = is_psnn_folder(output) and are_there(psnn_files(output))
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
    try:
        with whole_folder(output) as partial_folder:
            save_psnn_folder(partial_folder, description, {FOLD: network})
            with open(partial_folder / LOG, "w", newline="", encoding="utf-8") as file:
                lines = csv.writer(file)
                lines.writerow(("network", "epoch", "loss"))
                for name, losses in record["loss"].items():
                    lines.writerows((name, epoch, f"{loss:.6f}") for epoch, loss in enumerate(losses, 1))
            (partial_folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            load_psnn_folder(partial_folder, device="cpu")
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UserInputError(f"Cannot write '{output}': {reason}; choose another place") from error
