"""The public hippocampus volumes: where they lie, which train the base model, which it never sees."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.cli.progress import progress_bars
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.evaluation.data_sets import HIPPOCAMPUS
from context_propagation.training.base.nnunet_training import train_nnunet
from context_propagation.training.labelled_cases import LabelledCase

REPOSITORY = Path(__file__).resolve().parent.parent
WORK = REPOSITORY / "output"
TEST_FOLD, TUNING_FOLD = 0, 1
TRAINING_CASES = 10


@dataclass(frozen=True)
class Case:
    """One volume and its expert contour.

    Attributes:
        name: File name without its ending.
        volume: The MR volume.
        truth: bool `[K, J, I]`, anterior and posterior hippocampus together.
    """

    name: str
    volume: SourceVolume
    truth: np.ndarray


def data_folder() -> Path:
    """`CONTEXT_PROPAGATION_DATA`, or `shared/data` beside the repository; it must hold `hippocampus`.

    Raises:
        UserInputError: There is none.
    """
    root = Path(os.environ.get("CONTEXT_PROPAGATION_DATA") or REPOSITORY.parent / "shared" / "data")
    folder = root / "hippocampus"
    if not (folder / "folds.json").is_file():
        raise UserInputError(
            f"No hippocampus data in '{root}'; set CONTEXT_PROPAGATION_DATA to a folder with hippocampus/images, "
            "hippocampus/labels and hippocampus/folds.json (Medical Segmentation Decathlon, Task04)"
        )
    return folder


def training_cases(folder: Path) -> list[str]:
    """The base model's training cases, spread over all folds but the test fold."""
    others = sorted(name for name, fold in _folds(folder).items() if fold != TEST_FOLD)
    return others[:: len(others) // TRAINING_CASES][:TRAINING_CASES]


def unseen_cases(folder: Path, fold: int, count: int) -> list[str]:
    """So many cases of a fold, in name order, that the base model was not trained on.

    Raises:
        UserInputError: The fold has fewer.
    """
    trained = set(training_cases(folder))
    unseen = sorted(name for name, own in _folds(folder).items() if own == fold and name not in trained)
    if count > len(unseen):
        raise UserInputError(f"{count} cases; fold {fold} has {len(unseen)} unseen ones")
    return unseen[:count]


def _folds(folder: Path) -> dict[str, int]:
    folds: dict[str, int] = json.loads((folder / "folds.json").read_text())["folds"]
    return folds


def read_case(folder: Path, name: str) -> Case:
    """Read one volume and its contour."""
    image = sitk.ReadImage(str(folder / "images" / f"{name}.nii.gz"))
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labels" / f"{name}.nii.gz")))
    return Case(name, SourceVolume.from_sitk([image]), label > 0)


def trained_model(folder: Path) -> Path:
    """The base model, trained by nnU-Net on first use and kept."""
    cases = [
        LabelledCase(name, (folder / "images" / f"{name}.nii.gz",), folder / "labels" / f"{name}.nii.gz")
        for name in training_cases(folder)
    ]
    with progress_bars() as progress:
        return train_nnunet(cases, HIPPOCAMPUS, WORK, progress=progress)
