"""A bundle: one folder with a frozen base model, or a reference to it, and the fusion networks made for it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from context_propagation.core.bundle.bundle_file import (
    COPY_AGAIN,
    FILE_NAME,
    BundleDescription,
    plain_settings,
    read_description,
    read_general,
    read_network,
)
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.device import select_device
from context_propagation.core.errors import MissingDependencyError, UserInputError
from context_propagation.core.model.model_kinds import load_base_model
from context_propagation.core.model.model_listing import describe_model
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_network import FusionNetwork
from context_propagation.core.propagation.general_far import TrainedFar, TunedGeneral
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.own_files import refuse_links_out_of

BASE_FOLDER = "model"


TRAINING_FOLDER = "training"
"""Logs and pictures of the training, the control's weights: for people and evaluations; no session reads them."""


def fusion_of(networks: Sequence[FusionNetwork], level: int, neighbours: int, far_thresholds: FarThresholds) -> Fusion:
    """Trained networks, one per fold of the base model in its order, with the hash of all that they compute with."""
    settings = [plain_settings(network.settings) for network in networks]
    text = json.dumps([level, neighbours, *far_thresholds.hashed, settings]).encode()
    hashed = content_hash({"settings": text}, [network.state_dict() for network in networks])
    return Fusion(tuple(networks), level, neighbours, far_thresholds, hashed)


def tuned_general_of(
    network: GeneralFarNetwork, level: int, neighbours: int, far_thresholds: FarThresholds
) -> TunedGeneral:
    """A general far network that was trained further, with the hash of all that it computes with."""
    settings = [level, neighbours, *far_thresholds.hashed, network.width]
    hashed = content_hash({"settings": json.dumps(settings).encode()}, [network.state_dict()])
    return TunedGeneral(network, far_thresholds, hashed, level, neighbours)


# ---- loading


def load_model(
    folder: str | Path,
    label: str | int | None = None,
    device: str = "auto",
    trust: bool = False,
    orientation: str | None = None,
    checkpoint: str | None = None,
) -> LoadedModel:
    """Load a bundle, or a trained model of nnU-Net v2, a PSNN, or a MONAI bundle.

    Args:
        folder: Of the bundle or the model; a bundle is told by its `bundle.json`, or by fusion weights that have lost
            theirs.
        label: Name or value of the label to refine; by default the bundle's, or the only one.
        device: "auto", "cpu", "cuda" or "mps".
        trust: Let a MONAI bundle's own expressions run.
        orientation: See `NnunetModel.load`; of a model that says its own it must be that one.
        checkpoint: File name of the checkpoint in each fold of an nnU-Net model; see `load_nnunet_folder`.

    Returns:
        The model, with its fusion networks where it is a bundle; `.session()` makes a session with both.

    Raises:
        UserInputError: The folder cannot be used, the label is unknown, or the device is missing.
    """
    names = _names_in(Path(folder))
    if any(_is_of_a_bundle(name) and name not in (BASE_FOLDER, TRAINING_FOLDER) for name in names):
        if checkpoint is not None:
            raise UserInputError(f"Bundle '{folder}' has its own checkpoints; leave the checkpoint {checkpoint!r} out")
        model, fusion = load_bundle(folder, device, label, trust)
        _refuse_another_orientation(folder, model, orientation)
        return LoadedModel(model, fusion, describe_model(folder), orientation)
    model = load_base_model(folder, label, device, None, orientation, trust, checkpoint)
    _refuse_another_orientation(folder, model, orientation)
    return LoadedModel(model, None, describe_model(folder), orientation)


def _refuse_another_orientation(folder: str | Path, model: SegmentationModel, orientation: str | None) -> None:
    if orientation is not None and model.orientation != orientation:
        raise UserInputError(
            f"'{folder}' turns images to {model.orientation or 'no orientation'}, not {orientation}; leave the "
            "orientation out (in Slicer: as stored)"
        )


def load_bundle(
    path: str | Path, device: str = "auto", label: str | int | None = None, trust: bool = False
) -> tuple[SegmentationModel, TrainedFar]:
    """Load a bundle; nothing in it is run unless it is trusted.

    Args:
        path: Folder with `bundle.json`.
        device: "auto", "cpu", "cuda" or "mps".
        label: None, or the bundle's own label by name or value.
        trust: Let the expressions of a base model that is a MONAI bundle run.

    Returns:
        The base model, and what was trained for it on its device, in eval mode, without gradients.

    Raises:
        UserInputError: Something is missing, damaged or of another format, the base model is not the one that the
            bundle was made with, or another label was asked for.
    """
    path = Path(path)
    chosen = select_device(device)
    refuse_links_out_of(path)
    description = read_description(path)
    fusion = _trained(path, description)
    if fusion.content_hash != description.fusion_sha256:
        raise UserInputError(
            f"The fusion weights and settings in '{path}' have SHA-256 {fusion.content_hash[:12]}, not "
            f"{description.fusion_sha256[:12]} as when it was made; {COPY_AGAIN}"
        )
    model = _base_model(path, description, device, trust)
    _refuse_another_label(path, model, label)
    if isinstance(fusion, Fusion):
        _refuse_unfit_networks(path, model, fusion)
    for network in fusion.networks:
        network.to(chosen)
    return model, fusion


def _trained(path: Path, description: BundleDescription) -> TrainedFar:
    trained_for = description.level, description.neighbours, description.far_thresholds
    if (general := description.general) is not None:
        return tuned_general_of(read_general(_inside(path, general.file), general.width), *trained_for)
    networks = [read_network(_inside(path, entry.file), entry.settings) for entry in description.fusion]
    return fusion_of(networks, *trained_for)


def _inside(path: Path, name: str) -> Path:
    """A file or folder of the bundle."""
    found = path / name
    if not found.exists():
        raise UserInputError(f"'{found}' is missing; {COPY_AGAIN}")
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


def _names_in(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir()) if path.is_dir() else []


def _is_of_a_bundle(name: str) -> bool:
    return (
        name in (FILE_NAME, BASE_FOLDER, TRAINING_FOLDER) or re.fullmatch(r"fusion_\w+\.safetensors", name) is not None
    )
