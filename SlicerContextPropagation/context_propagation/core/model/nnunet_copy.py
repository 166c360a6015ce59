"""A copy of a trained-model folder that holds what prediction needs and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from context_propagation.core.model.nnunet_checkpoint import FINAL, Checkpoint, checkpoint_files, read_checkpoint


def copy_for_inference(
    source: Path | str, destination: Path, folds: Sequence[str | int] | None = None, checkpoint: str = FINAL
) -> None:
    """Copy `plans.json`, `dataset.json` and the checkpoints without optimizer state, training log and training plans.

    nnU-Net itself predicts with the copy, and `NnunetFolder.content_hash` is that of the original.

    Args:
        source: A trained-model folder.
        destination: Folder that is made.
        folds: See `load_nnunet_folder`.
        checkpoint: See `load_nnunet_folder`.

    Raises:
        UserInputError: A fold has no checkpoint, or it cannot be used.
        OSError: A file cannot be read or written.
    """
    source = Path(source)
    files = checkpoint_files(source, folds, checkpoint)
    destination.mkdir()
    for name in ("plans.json", "dataset.json"):
        shutil.copyfile(source / name, destination / name)
    for fold, file in files.items():
        (destination / f"fold_{fold}").mkdir()
        _write_checkpoint(read_checkpoint(file), destination / f"fold_{fold}" / file.name)


def _write_checkpoint(checkpoint: Checkpoint, file: Path) -> None:
    content = {
        "network_weights": checkpoint.weights,
        "init_args": {"configuration": checkpoint.configuration},
        "trainer_name": checkpoint.trainer_name,
        "inference_allowed_mirroring_axes": checkpoint.mirroring_axes,
    }
    try:
        torch.save(content, file)
    except RuntimeError as error:  # how its zip writer says that the disk is full
        raise OSError(str(error).splitlines()[0]) from error
