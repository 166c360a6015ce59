"""Reads an nnU-Net checkpoint as data: no code in it is run."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from context_propagation.core.errors import UserInputError, _line
from context_propagation.core.model.nnunet_allow_lists import SAFE_GLOBALS, TRAINERS
from context_propagation.core.storage.sound_weights import refuse_unsound_weights

logger = logging.getLogger(__name__)


FINAL, BEST, LATEST = "checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth"


@dataclass(frozen=True)
class Checkpoint:
    """All that prediction needs of one fold's checkpoint.

    Attributes:
        file: Where it was read from.
        weights: The network's tensors by name, on the CPU.
        configuration: E.g. "3d_fullres".
        trainer_name: E.g. "nnUNetTrainer".
        mirroring_axes: See `NnunetFolder`.
    """

    file: Path
    weights: dict[str, torch.Tensor]
    configuration: str
    trainer_name: str
    mirroring_axes: tuple[int, ...] | None


# ---- checkpoints


def checkpoint_files(folder: Path, folds: Sequence[str | int] | None, checkpoint: str) -> dict[str, Path]:
    """The checkpoint of each fold, by the fold's name; see `load_nnunet_folder`.

    Raises:
        UserInputError: A fold has no checkpoint.
    """
    if not checkpoint or Path(checkpoint).name != checkpoint:
        raise UserInputError(f"The checkpoint {checkpoint!r:.100} is no file name; give one such as {BEST}")
    present = {path.name.removeprefix("fold_"): path for path in folder.glob("fold_*") if path.is_dir()}
    found = {fold: file for fold, path in present.items() if (file := _checkpoint_file(path, checkpoint)) is not None}
    numbered = sorted((fold for fold in found if fold.isdecimal()), key=int)
    chosen = [str(fold).removeprefix("fold_") for fold in folds] if folds is not None else numbered or ["all"]
    available = ", ".join([*numbered, *(["all"] if "all" in found else [])])
    if not available:
        others = sorted({file.name for path in present.values() for file in path.glob("*.pth") if file.is_file()})
        remedy = f"name one of {', '.join(others)}" if others else "give a folder whose training has finished"
        raise UserInputError(f"'{folder}' has no fold_*/{checkpoint}; {remedy}")
    if not chosen:
        raise UserInputError(f"No folds chosen; choose from: {available}")
    for fold in chosen:
        if fold not in found or not (fold.isdecimal() or fold == "all"):
            raise UserInputError(f"Fold '{fold}' has no {checkpoint} in '{folder}'; choose from: {available}")
    for fold in chosen:
        if found[fold].name != checkpoint:
            logger.warning("fold_%s has no %s; using %s", fold, checkpoint, found[fold].name)
    return {fold: found[fold] for fold in chosen}


def _checkpoint_file(fold_folder: Path, checkpoint: str) -> Path | None:
    names = (FINAL, BEST, LATEST) if checkpoint == FINAL else (checkpoint,)
    return next((fold_folder / name for name in names if (fold_folder / name).is_file()), None)


def read_checkpoint(file: Path) -> Checkpoint:
    """Read one checkpoint as data.

    Raises:
        UserInputError: It is damaged, holds code, or is not of nnU-Net v2.
    """
    content = load_weights_only(file, "nnU-Net v2")
    try:
        weights, init_args = content["network_weights"], content["init_args"]
        configuration, trainer_name = init_args["configuration"], content["trainer_name"]
    except (KeyError, TypeError) as error:
        raise UserInputError(
            f"'{file}' is not an nnU-Net v2 checkpoint (it lacks {_line(error)}); train with nnU-Net v2"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserInputError(f"The network weights in '{file}' are not tensors; copy the checkpoint again")
    refuse_unsound_weights(file, weights, "use another checkpoint, or train again")
    _allow_trainer(trainer_name, file)
    axes = _mirroring_axes(content.get("inference_allowed_mirroring_axes"), file)
    return Checkpoint(file, dict(weights), str(configuration), trainer_name, axes)


def load_weights_only(file: Path, maker: str) -> Any:
    """Read a checkpoint's tensors, plain values and numpy scalars.

    Args:
        file: The checkpoint.
        maker: Who writes such files.

    Raises:
        UserInputError: It is damaged, or holds anything else, which would run as code.
    """
    damaged = f"'{file}' is truncated or damaged; copy the checkpoint again from the training"
    if not zipfile.is_zipfile(file):
        raise UserInputError(damaged)
    safe: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (value, name) for name, value in SAFE_GLOBALS.items()
    ]
    try:
        foreign = sorted(set(torch.serialization.get_unsafe_globals_in_checkpoint(file)) - set(SAFE_GLOBALS))
        if foreign:
            raise UserInputError(
                f"'{file}' holds code, not only weights ({', '.join(foreign):.200}); nothing was run. "
                f"Use a checkpoint that {maker} wrote"
            )
        with torch.serialization.safe_globals(safe):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UserInputError:
        raise
    except Exception as error:  # the pickle and zip readers raise almost any type on damaged bytes
        raise UserInputError(damaged) from error


def _allow_trainer(trainer_name: Any, file: Path) -> None:
    if not isinstance(trainer_name, str) or not trainer_name.isidentifier():
        raise UserInputError(
            f"'{file}' was trained by {trainer_name!r:.100}, which is no trainer's name; copy the checkpoint again"
        )


def tell_of_unknown_trainer(checkpoint: Checkpoint) -> None:
    """Say what is assumed of a trainer that is not nnU-Net's own; call it once every tensor is found to fit."""
    if checkpoint.trainer_name not in TRAINERS:
        logger.warning(
            "the trainer %s is not one of nnU-Net's own: its network is taken to be the one in plans.json, which every "
            "tensor in '%s' fits; what has no tensors, such as another activation function, cannot be compared",
            checkpoint.trainer_name,
            checkpoint.file,
        )


def _mirroring_axes(value: Any, file: Path) -> tuple[int, ...] | None:
    if value is None:
        return None
    axes = list(value) if isinstance(value, (tuple, list)) else [value]
    if not all(isinstance(axis, int) and 0 <= axis <= 2 for axis in axes) or len(set(axes)) != len(axes):
        raise UserInputError(f"The mirroring axes in '{file}' are {value!r:.100}, not of 0, 1, 2; copy it again")
    return tuple(axes) or None


def _refuse_unequal_folds(checkpoints: Sequence[Checkpoint]) -> None:
    first = checkpoints[0]
    for other in checkpoints[1:]:
        for what in ("configuration", "trainer_name", "mirroring_axes"):
            if getattr(other, what) != getattr(first, what):
                raise UserInputError(
                    f"'{other.file}' has {what} {getattr(other, what)!r} and '{first.file}' {getattr(first, what)!r}; "
                    "use folds of one training"
                )
