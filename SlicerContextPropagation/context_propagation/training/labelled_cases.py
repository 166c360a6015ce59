"""The cases that a fusion network is trained on: images and labels paired, and what each fold has never seen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.model_kinds import load_base_model
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.segmentation_files import read_mask
from context_propagation.training.intensity_augmentation import augmented
from context_propagation.training.places import current_place

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


def find_cases(images: Path, labels: Path, channels: int) -> list[LabelledCase]:
    """Pair every label with its image: `case_0000`, `case_0001`, ... as nnU-Net names channels, or `case` for one.

    Args:
        images: Folder of images; those without a label are left out, as are hidden files: macOS makes some of its own.
        labels: Folder of labelmaps, named as their cases.
        channels: How many the base model reads.

    Returns:
        The cases in name order.

    Raises:
        UserInputError: A folder is missing or empty, or a label lacks an image channel.
    """
    by_stem = _files(images, "--images")
    cases = []
    for stem, label in _files(labels, "--labels").items():
        names = [f"{stem}_{channel:04d}" for channel in range(channels)]
        if channels == 1 and names[0] not in by_stem:
            names = [stem]
        missing = [name for name in names if name not in by_stem]
        if missing:
            raise UserInputError(
                f"The label '{label}' has no image '{missing[0]}' in '{images}'; add it, or take the label out"
            )
        cases.append(LabelledCase(stem, tuple(by_stem[name] for name in names), label))
    return cases


def _files(folder: Path, option: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserInputError(f"{option} '{folder}' is not a folder; give the folder that holds the files")
    found = {}
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
        if ending and path.name.removesuffix(ending) in found:
            raise UserInputError(f"'{path}' and '{found[path.name.removesuffix(ending)].name}' are one case; keep one")
        if ending:
            found[path.name.removesuffix(ending)] = path
    if not found:
        raise UserInputError(f"{option} '{folder}' holds no {', '.join(ENDINGS)} file; give the folder of the files")
    return found


def unseen_cases(
    cases: Sequence[LabelledCase], model_folds: Sequence[str], folds_file: Path | None
) -> list[list[LabelledCase]]:
    """For each fold of the base model, the cases that it was not trained on: predictions on others are too good.

    Args:
        cases: All cases.
        model_folds: The base model's folds: "0", "1", ... or "all".
        folds_file: nnU-Net's splits_final.json, or `{"folds": {case: the fold that holds it out}}`. Without it, all
            cases are taken as unseen, which only a model without cross-validation folds can be asked for.

    Raises:
        UserInputError: The file cannot be read, lacks a fold, or a fold is left without cases; or folds are needed.
    """
    if folds_file is None:
        if list(model_folds) != ["all"]:
            raise UserInputError(
                f"The model has folds {', '.join(model_folds)}, each trained on other cases; give nnU-Net's "
                "splits_final.json with --folds, so that no fold predicts a case that it was trained on"
            )
        return [list(cases)]
    held_out = _held_out(folds_file)
    result = []
    for fold in model_folds:
        if fold not in held_out:
            raise UserInputError(
                f"'{folds_file}' says nothing of the model's fold {fold}; it has {', '.join(held_out)}"
            )
        unseen = [case for case in cases if case.name in held_out[fold]]
        if not unseen:
            raise UserInputError(f"None of the cases is held out of fold {fold} in '{folds_file}'; add some")
        result.append(unseen)
    return result


def _held_out(path: Path) -> Mapping[str, set[str]]:
    """Fold to the names of the cases that it was not trained on."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, list):
            if not all(isinstance(split["val"], list) for split in content):
                raise ValueError("a fold's val is not a list of cases")
            return {str(fold): set(split["val"]) for fold, split in enumerate(content)}
        folds: dict[str, set[str]] = {}
        for name, fold in content["folds"].items():
            folds.setdefault(re.sub("^fold_", "", str(fold)), set()).add(name)
        return folds
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserInputError(
            f"--folds '{path}' cannot be read ({error!r:.80}); give nnU-Net's splits_final.json"
        ) from error


@dataclass(frozen=True)
class NnunetTask:
    """What is segmented.

    Attributes:
        name: Of the data set, in nnU-Net's way: "Hippocampus".
        channel_names: Of the images; "CT" is normalised as nnU-Net normalises CT.
        label: Name of the one label.
        planned_memory_gb: What nnU-Net's planner fits the patch to, by its own reckoning; its default is 8.
    """

    name: str
    channel_names: tuple[str, ...]
    label: str
    planned_memory_gb: float = 8.0

    @property
    def dataset(self) -> str:
        """nnU-Net's name of the data set."""
        return f"Dataset001_{self.name}"

    def dataset_json(self, cases: int) -> dict[str, Any]:
        """nnU-Net's description of a data set of so many cases."""
        return {
            "channel_names": {str(number): name for number, name in enumerate(self.channel_names)},
            "labels": {"background": 0, self.label: 1},
            "numTraining": cases,
            "file_ending": ".nii.gz",
        }


@dataclass(frozen=True)
class ModelSource:
    """How a process gets the frozen base model.

    Attributes:
        folder: nnU-Net's trained-model folder.
        label: Name or value; None where the model has only one.
        device: "auto", "cpu", "cuda" or "mps".
        folds: The folds that are used; None for all.
        trust: Whether a MONAI bundle's own expressions may run.
    """

    folder: Path
    label: str | None = None
    device: str = "auto"
    folds: tuple[str, ...] | None = None
    trust: bool = False

    def load(self) -> SegmentationModel:
        """Load once per process."""
        return _load(self)

    def here(self) -> ModelSource:
        """For a look at the model in the process that sends jobs: where they run elsewhere, it may have no GPU."""
        return self if current_place() is None else replace(self, device="cpu")


@lru_cache(maxsize=2)
def _load(base: ModelSource) -> SegmentationModel:
    return load_base_model(base.folder, base.label, base.device, base.folds, trust=base.trust)


@dataclass(frozen=True)
class LabelledCase:
    """An image and its ground truth on disk.

    Attributes:
        name: The case.
        images: One file per channel.
        label: The ground truth; its grid may differ from the image's.
        hidden_truth: What the generator knows of the truth; given to an oracle alone.
        copy: 0 for the image as it is; else a copy with augmented intensities, each number another one.
    """

    name: str
    images: tuple[Path, ...]
    label: Path
    hidden_truth: tuple[float, ...] = ()
    copy: int = 0

    def read(self, model: SegmentationModel) -> tuple[SourceVolume, np.ndarray]:
        """The image, and the ground truth on its grid, bool `[K, J, I]`."""
        volume = read_source_volume(list(self.images))
        truth = read_mask(self.label, Wanted(model.target.name, model.target.truth_values), volume)
        if self.copy:
            volume = replace(volume, channels=augmented(volume.channels, self.seed(0)))
        return volume, truth

    def seed(self, seed: int) -> int:
        """A seed for this copy of this case, the same whatever other cases there are."""
        return int(np.random.SeedSequence([seed, self.copy, *self.name.encode()]).generate_state(1)[0])


def with_copies(cases: Sequence[LabelledCase], copies: int) -> list[LabelledCase]:
    """The cases, each with so many augmented copies."""
    return [replace(case, copy=copy) for case in cases for copy in range(copies + 1)]
