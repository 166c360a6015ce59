"""The cases that an nnU-Net model was made from, found from its folder where nnU-Net lays them; needs no torch.

nnU-Net keeps three folders, usually side by side, and names them in the environment:

    nnUNet_results/Dataset007_Tumour/nnUNetTrainer__nnUNetPlans__3d_fullres     the trained model
    nnUNet_raw/Dataset007_Tumour/imagesTr, labelsTr                             its cases
    nnUNet_preprocessed/Dataset007_Tumour/splits_final.json                     which cases each fold never saw
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.model_kinds import kind_of

RAW, PREPROCESSED = "nnUNet_raw", "nnUNet_preprocessed"
"""Names of the folders beside that of the results, and of the environment variables."""


SPLITS = "splits_final.json"


IMAGES, LABELS = "imagesTr", "labelsTr"


class CasesNotFound(UserInputError):
    """What was looked for is not there, or must not be used.

    Attributes:
        reason: What was looked for, and where; the message also says which option to give.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason


def find_cases_of(model: Path) -> tuple[Path, Path]:
    """The cases of a model's own data set; some of them it was trained on, see `find_folds_file`.

    Returns:
        Folder of images, named as nnU-Net names them; folder of labelmaps, named as their cases.

    Raises:
        CasesNotFound: They are not where nnU-Net lays them, are of another data set, or the model saw them all.
    """
    give = "give --images and --labels, with cases that the model never saw"
    if not (model / "dataset.json").is_file() or kind_of(model) != "nnunet":
        raise CasesNotFound(f"'{model}' is no trained-model folder of nnU-Net, so its cases cannot be found", give)
    raw = _found(model, RAW, IMAGES, LABELS)
    if raw is None:
        raise CasesNotFound(f"The model's cases were not found: {_looked_for(model, RAW, IMAGES)}", give)
    _refuse_other_data(model, raw, give)
    if not has_folds(model):
        raise CasesNotFound(f"The model was trained on all cases in '{raw}' (fold_all)", give)
    return raw / IMAGES, raw / LABELS


def has_folds(model: Path) -> bool:
    """Whether it has folds that were trained on some of the cases each: these are used where there are any."""
    return bool(_folds(model))


def find_folds_file(model: Path) -> Path:
    """The file that says which cases each fold never saw.

    Raises:
        CasesNotFound: It is not where nnU-Net lays it, or was made anew after the training.
    """
    give = "give nnU-Net's splits_final.json with --folds, so that no fold predicts a case that it was trained on"
    found = _found(model, PREPROCESSED, SPLITS)
    if found is None:
        numbers = ", ".join(str(number) for number in sorted(_folds(model)))
        trained = f"The model has folds {numbers}, each trained on other cases"
        raise CasesNotFound(f"{trained}, and which was not found: {_looked_for(model, PREPROCESSED, SPLITS)}", give)
    _refuse_newer_folds(model, found / SPLITS, give)
    return found / SPLITS


def _folds(model: Path) -> dict[int, Path]:
    """Its numbered folds that have a checkpoint."""
    folders = {path.name.removeprefix("fold_"): path for path in model.glob("fold_*")}
    return {int(name): path for name, path in folders.items() if name.isdecimal() and any(path.glob("*.pth"))}


def _found(model: Path, kind: str, *needed: str) -> Path | None:
    """The data set's folder of a kind that holds what is needed: beside the results first, as these lie together."""
    folders = (place / name for name in _dataset_names(model) for place in _places(model, kind))
    return next((folder for folder in folders if all((folder / name).exists() for name in needed)), None)


def _places(model: Path, kind: str) -> Iterator[Path]:
    model = Path(os.path.abspath(model))  # without following links: nnU-Net's layout is that of the names
    if len(model.parents) > 2:
        yield model.parents[2] / kind
    if os.environ.get(kind):
        yield Path(os.environ[kind])


def _dataset_names(model: Path) -> list[str]:
    """The data set's name: of the folder that the model lies in, else as its plans say."""
    parent = Path(os.path.abspath(model)).parent.name
    planned = str(_json(model / "plans.json").get("dataset_name", ""))
    return [name for name in dict.fromkeys((parent, planned)) if re.fullmatch(r"Dataset\d{3}_[^/\\]+", name)]


def _looked_for(model: Path, kind: str, needed: str) -> str:
    names = _dataset_names(model)
    if not names:
        return "neither the folder above nor plans.json names a data set such as Dataset007_Tumour"
    places = ", ".join(f"'{place / name / needed}'" for name in names for place in _places(model, kind))
    return f"no {places}" + ("" if os.environ.get(kind) else f", and {kind} is not set")


def _refuse_other_data(model: Path, raw: Path, remedy: str) -> None:
    """Numbers and names of data sets are used again: what is segmented must be the same."""
    ours, theirs = _json(model / "dataset.json"), _json(raw / "dataset.json")
    for entry in ("labels", "channel_names"):
        if entry in ours and entry in theirs and ours[entry] != theirs[entry]:
            raise CasesNotFound(f"'{raw}' is of other data than the model: its dataset.json has other {entry}", remedy)


def _refuse_newer_folds(model: Path, splits: Path, remedy: str) -> None:
    """nnU-Net leaves its predictions of the cases that a fold never saw: a split made anew may name others."""
    content, ending = _json(splits, list), str(_json(model / "dataset.json").get("file_ending", ".nii.gz"))
    for number, folder in sorted(_folds(model).items()):
        left = {path.name.removesuffix(ending) for path in (folder / "validation").glob(f"*{ending}")}
        split = content[number] if number < len(content) else {}
        never_seen = split.get("val") if isinstance(split, dict) else None
        seen = sorted(left.difference(map(str, never_seen))) if isinstance(never_seen, list) else []
        if seen:
            raise CasesNotFound(
                f"'{splits}' is not the one that the model was trained with: it trains fold {number} on '{seen[0]}', "
                f"which '{folder / 'validation'}' holds as a case that the fold never saw",
                remedy,
            )


def _json(file: Path, kind: type = dict) -> Any:
    """What a file holds, empty where it is not of a kind: who uses it for more says what is wrong with it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return kind()
    return content if isinstance(content, kind) else kind()
