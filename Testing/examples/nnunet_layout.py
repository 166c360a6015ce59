"""nnU-Net's three folders side by side, as it lays them: a model without training, and balls for cases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ball_images import SHAPE_KJI, ball_mask, sitk_image

DATASET = "Dataset001_GTV"
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def write_cases(folder: Path, count: int, images: str = "images", labels: str = "labels") -> None:
    """Balls in noise, at different places, every one with its label."""
    for kind in (images, labels):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        generator = np.random.default_rng(number)
        ball = np.roll(ball_mask(), generator.integers(-2, 3, size=3), axis=(0, 1, 2))
        image = (ball + generator.normal(0, 0.3, SHAPE_KJI)).astype(np.float32)
        sitk.WriteImage(sitk_image(image), str(folder / images / f"case_{number}_0000.nii.gz"))
        sitk.WriteImage(sitk_image(ball.astype(np.uint8)), str(folder / labels / f"case_{number}.nii.gz"))


def write_layout(root: Path, folds: Sequence[int | str] = (0,), cases: int = 4, splits: int | None = None) -> Path:
    """Write results, raw data and preprocessed data into a folder.

    Args:
        root: The folder.
        folds: Of the model.
        cases: How many; the first was trained on by fold 0, the second by fold 1, and so on.
        splits: How many folds `splits_final.json` has; without it one for each of the model's, and no file for "all".

    Returns:
        The trained-model folder.
    """
    from nnunet_folders import write_nnunet_folder  # imports nnU-Net

    model = root / "nnUNet_results" / DATASET / MODEL
    write_nnunet_folder(model, folds=folds, spacing=(1.9, 1.9, 1.9))
    raw = root / "nnUNet_raw" / DATASET
    write_cases(raw, cases, "imagesTr", "labelsTr")
    shutil.copyfile(model / "dataset.json", raw / "dataset.json")
    count = splits if splits is not None else len([fold for fold in folds if fold != "all"])
    if count:
        names = [f"case_{number}" for number in range(cases)]
        preprocessed = root / "nnUNet_preprocessed" / DATASET
        preprocessed.mkdir(parents=True)
        split = [{"train": [names[fold]], "val": [n for n in names if n != names[fold]]} for fold in range(count)]
        (preprocessed / "splits_final.json").write_text(json.dumps(split))
    return model
