"""A bundle: one folder with a frozen base model, or a reference to it, and the fusion networks made for it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from context_propagation.core.bundle_file import (
    COPY_AGAIN,
    FILE_NAME,
    BaseModel,
    BundleDescription,
    FusionFile,
    is_bundle,
    plain_settings,
    read_description,
    write_description,
)
from context_propagation.core.composition import FarMargin
from context_propagation.core.content_hash import content_hash
from context_propagation.core.device import select_device
from context_propagation.core.errors import MissingDependencyError, UserInputError
from context_propagation.core.fusion_file import read_network, write_network
from context_propagation.core.fusion_network import Fusion, FusionNetwork
from context_propagation.core.model_kinds import copy_base_model, load_base_model
from context_propagation.core.split_model import SegmentationModel

BASE_FOLDER = "model"
TRAINING_FOLDER = "training"
"""Logs and pictures of the training, the control's weights: for people and evaluations; no session reads them."""


def fusion_of(networks: Sequence[FusionNetwork], level: int, neighbours: int, far_margin: FarMargin) -> Fusion:
    """Trained networks, one per fold of the base model in its order, with the hash of all that they compute with."""
    settings = [plain_settings(network.settings) for network in networks]
    text = json.dumps([level, neighbours, float(far_margin.add), float(far_margin.remove), settings]).encode()
    hashed = content_hash({"settings": text}, [network.state_dict() for network in networks])
    return Fusion(tuple(networks), level, neighbours, far_margin, hashed)


# ---- loading


def load_model(
    path: str | Path, label: str | int | None = None, device: str = "auto", trust: bool = False
) -> tuple[SegmentationModel, Fusion | None]:
    """Load a bundle, or a base model: see `load_base_model`.

    Args:
        path: A bundle is told by its `bundle.json`, or by fusion weights that have lost theirs.
        label: Name or value of the label to refine; by default the bundle's, or the only one.
        device: "auto", "cpu" or "cuda".
        trust: Let a MONAI bundle's own expressions run.

    Returns:
        The model, and its fusion networks where it is a bundle.

    Raises:
        UserInputError: The folder cannot be used, the label is unknown, or the device is missing.
    """
    if any(_is_of_a_bundle(name) and name not in (BASE_FOLDER, TRAINING_FOLDER) for name in _names_in(Path(path))):
        return load_bundle(path, device, label, trust)
    return load_base_model(path, label, device, trust=trust), None


def load_bundle(
    path: str | Path, device: str = "auto", label: str | int | None = None, trust: bool = False
) -> tuple[SegmentationModel, Fusion]:
    """Load a bundle; nothing in it is run unless it is trusted.

    Args:
        path: Folder with `bundle.json`.
        device: "auto", "cpu" or "cuda".
        label: None, or the bundle's own label by name or value.
        trust: Let the expressions of a base model that is a MONAI bundle run.

    Returns:
        The base model, and the fusion networks on its device, in eval mode, without gradients.

    Raises:
        UserInputError: Something is missing, damaged or of another format, the base model is not the one that the
            bundle was made with, or another label was asked for.
    """
    path = Path(path)
    chosen = select_device(device)
    description = read_description(path)
    networks = [read_network(_inside(path, entry.file), entry.settings) for entry in description.fusion]
    fusion = fusion_of(networks, description.level, description.neighbours, description.far_margin)
    if fusion.content_hash != description.fusion_sha256:
        raise UserInputError(
            f"The fusion weights and settings in '{path}' have SHA-256 {fusion.content_hash[:12]}, not "
            f"{description.fusion_sha256[:12]} as when it was made; {COPY_AGAIN}"
        )
    model = _base_model(path, description, device, trust)
    _refuse_another_label(path, model, label)
    _refuse_unfit_networks(path, model, fusion)
    for network in networks:
        network.to(chosen)
    return model, fusion


def _inside(path: Path, name: str) -> Path:
    """A file or folder of the bundle, also where a link could lead out of it."""
    found = path / name
    if not found.exists():
        raise UserInputError(f"'{found}' is missing; {COPY_AGAIN}")
    if not found.resolve().is_relative_to(path.resolve()):
        raise UserInputError(f"'{found}' is a link that leaves the bundle; put a copy in its place")
    return found


def _base_model(path: Path, description: BundleDescription, device: str, trust: bool) -> SegmentationModel:
    base = description.base
    if base.reference is not None and not Path(base.reference).is_dir():
        raise UserInputError(
            f"'{path / FILE_NAME}' refers to the base model {base.reference!r:.300}, which does not exist; "
            "put the model there, or correct 'reference'"
        )
    folder = Path(base.reference) if base.reference is not None else _inside(path, str(base.folder))
    try:
        model = load_base_model(folder, description.label, device, description.folds, description.orientation, trust)
    except MissingDependencyError:
        raise
    except UserInputError as error:
        raise UserInputError(f"The base model of bundle '{path}' cannot be used: {error}") from error
    if model.content_hash != base.sha256:
        raise UserInputError(
            f"The base model '{folder}' has SHA-256 {model.content_hash[:12]}, and bundle '{path}' was made for "
            f"{base.sha256[:12]}; put back the model that it was made for"
        )
    if model.target_name != description.label:
        raise UserInputError(
            f"'{path / FILE_NAME}' has the label {description.label!r:.100}, which is the value of "
            f"'{model.target_name}'; write the label's name"
        )
    return model


def _refuse_another_label(path: Path, model: SegmentationModel, label: str | int | None) -> None:
    names = {model.target_name}
    if len(model.target.label) == 1:
        names.add(str(model.target.label[0]))
    if label is not None and str(label) not in names:
        raise UserInputError(
            f"Bundle '{path}' refines the label '{model.target_name}', not '{label}'; leave the label out, "
            f"or give a bundle for '{label}'"
        )


def _refuse_unfit_networks(path: Path, model: SegmentationModel, fusion: Fusion) -> None:
    for split, network in zip(model.splits, fusion.networks, strict=True):
        channels = split.f_channels(fusion.level)
        if network.settings.channels != channels:
            raise UserInputError(
                f"A fusion network of '{path}' is for {network.settings.channels} channels, and the base model has "
                f"{channels} at level {fusion.level}; {COPY_AGAIN}"
            )


# ---- saving


def save_bundle(
    path: str | Path,
    base: str | Path,
    fusion: Fusion,
    provenance: Mapping[str, Any],
    *,
    label: str,
    folds: Sequence[str | int] | None = None,
    orientation: str | None = None,
    copy_base: bool = True,
    training: Path | None = None,
    trust: bool = False,
) -> None:
    """Write a bundle and load it once; it appears at `path` only when that has worked.

    Args:
        path: The bundle's folder. A bundle that is there is replaced.
        base: The base model's folder that the fusion networks were made for: see `load_base_model`.
        fusion: One network per fold: see `fusion_of`.
        provenance: Where the weights come from, as JSON can hold it: data counts, folds, seeds, versions, figures.
        label: Name of the target label in the base model.
        folds: Folds of the base model in the order of the networks; all by default.
        orientation: As given to `load_base_model`.
        copy_base: Copy what prediction needs of the base model into the bundle; else refer to it by its path.
        training: A folder with logs and pictures of the training, copied into the bundle.
        trust: Let a MONAI bundle's own expressions run.

    Raises:
        UserInputError: `path` is something other than a bundle, a file cannot be written, or what was given does not
            fit together. Nothing is left behind.
    """
    path, base = Path(path).resolve(), Path(base).resolve()
    check_bundle_destination(path)
    if not copy_base:
        _refuse_to_replace(path, base)
    fusion = fusion_of(fusion.networks, fusion.level, fusion.neighbours, fusion.far_margin)
    loaded = load_base_model(base, label, "cpu", folds, orientation, trust)
    _refuse_unusable(fusion, loaded)
    sha256 = loaded.content_hash
    base_model = BaseModel(sha256, folder=BASE_FOLDER) if copy_base else BaseModel(sha256, reference=str(base))
    description = _description_of(fusion, loaded, base_model, label, orientation, provenance)
    with _moved_into_place(path) as partial:
        if copy_base:
            copy_base_model(base, partial / BASE_FOLDER, loaded.folds)
        for item, network in zip(description.fusion, fusion.networks, strict=True):
            write_network(partial / item.file, network)
        if training is not None:
            shutil.copytree(training, partial / TRAINING_FOLDER)
        write_description(partial, description)
        load_bundle(partial, device="cpu", trust=trust)


def _description_of(
    fusion: Fusion,
    loaded: SegmentationModel,
    base_model: BaseModel,
    label: str,
    orientation: str | None,
    provenance: Mapping[str, Any],
) -> BundleDescription:
    """What a bundle of these networks says about itself; the file of each is named after its fold."""
    return BundleDescription(
        base=base_model,
        label=label,
        orientation=orientation,
        folds=loaded.folds,
        level=fusion.level,
        neighbours=fusion.neighbours,
        far_margin=fusion.far_margin,
        fusion=tuple(
            FusionFile(f"fusion_{fold}.safetensors", network.settings)
            for fold, network in zip(loaded.folds, fusion.networks, strict=True)
        ),
        fusion_sha256=fusion.content_hash,
        provenance=provenance,
    )


def check_bundle_destination(path: str | Path) -> None:
    """Ask before long work whether a bundle may be saved here.

    Raises:
        UserInputError: Something other than a bundle is there, or the folder that it would lie in is missing.
    """
    path = Path(path).resolve()
    if path.exists() and not is_bundle(path):
        raise UserInputError(f"'{path}' exists and is no bundle; choose another name")
    for name in _names_in(path):
        if not _is_of_a_bundle(name):
            raise UserInputError(f"'{path}' holds {name!r}, which is not of the bundle; move it away first")
    if not path.parent.is_dir():
        raise UserInputError(f"Folder '{path.parent}' does not exist; create it, or choose another place")


def _names_in(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir()) if path.is_dir() else []


def _is_of_a_bundle(name: str) -> bool:
    return (
        name in (FILE_NAME, BASE_FOLDER, TRAINING_FOLDER) or re.fullmatch(r"fusion_\w+\.safetensors", name) is not None
    )


def _refuse_to_replace(path: Path, base: Path) -> None:
    """A base model that is only referred to must outlive the bundle that is replaced."""
    if base.is_relative_to(path):
        raise UserInputError(
            f"The base model '{base}' lies inside '{path}', which is replaced; copy it into the bundle"
        )


def _refuse_unusable(fusion: Fusion, base: SegmentationModel) -> None:
    if len(fusion.networks) != len(base.folds):
        raise UserInputError(
            f"{len(fusion.networks)} fusion network(s) for {len(base.folds)} fold(s) of the base model "
            f"({', '.join(base.folds)}); give one for each fold"
        )
    for network in fusion.networks:
        if network.settings.told:
            raise UserInputError(
                f"A fusion network is told {network.settings.told} number(s) that only an evaluation knows; "
                "give one that is told none"
            )


@contextmanager
def _moved_into_place(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    partial = path.with_name(f"{path.name}.partial")
    _clear_leftover(partial)
    _clear_leftover(path.with_name(f"{path.name}.replaced"))
    try:
        partial.mkdir()
        yield partial
        _replace_folder(partial, path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UserInputError(f"Cannot write bundle '{path}': {reason}; choose another place") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _clear_leftover(folder: Path) -> None:
    """Remove what a killed process left; never anything that is not of a bundle."""
    for name in _names_in(folder):
        if not _is_of_a_bundle(name):
            raise UserInputError(f"'{folder}' holds {name!r}, which is not of a bundle; move it away first")
    shutil.rmtree(folder, ignore_errors=True)


def _replace_folder(new: Path, path: Path) -> None:
    if not path.exists():
        os.rename(new, path)
        return
    old = path.with_name(f"{path.name}.replaced")
    os.rename(path, old)
    try:
        os.rename(new, path)
    finally:
        if not path.exists():
            os.rename(old, path)
    shutil.rmtree(old, ignore_errors=True)
