"""Safe loading of a trained-model folder of nnU-Net v2: data only, no code from the folder runs.

nnU-Net finds classes and functions by names in `plans.json` and unpickles its checkpoints. Here every such name must be
on an allow-list, and checkpoints are read with `weights_only`. `postprocessing.pkl` is never opened.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from context_propagation.core.errors import UserInputError, _line
from context_propagation.core.model.nnunet_allow_lists import (
    KEYWORD_CLASSES,
    LABEL_MANAGERS,
    NETWORKS,
    NORMALIZATIONS,
    PREPROCESSORS,
    READERS,
    RESAMPLING_ENTRIES,
    RESAMPLING_FUNCTIONS,
)
from context_propagation.core.model.nnunet_checkpoint import (
    FINAL,
    Checkpoint,
    _refuse_unequal_folds,
    checkpoint_files,
    read_checkpoint,
    tell_of_unknown_trainer,
)
from context_propagation.core.model.nnunet_values import check_architecture, check_configuration, check_dataset
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.sound_weights import built_for, refuse_huge_numbers, refuse_unsound_norms

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NnunetFolder:
    """A trained nnU-Net model, checked and ready for prediction.

    Attributes:
        plans_manager: nnU-Net's; holds only the configuration in use.
        configuration_manager: Of that configuration.
        dataset_json: Content of `dataset.json`.
        label_manager: nnU-Net's, for these labels.
        networks: One per fold, on the CPU, in eval mode, without gradients for the weights.
        folds: "0", "1", ... or "all".
        configuration: E.g. "3d_fullres".
        trainer_name: E.g. "nnUNetTrainer".
        mirroring_axes: Spatial axes of the network that test-time mirroring may flip; None for no mirroring.
        content_hash: SHA-256 of what decides predictions: `plans.json`, `dataset.json`, the configuration, and the
            weights of the folds in use; not of what else their checkpoints hold.
    """

    plans_manager: PlansManager
    configuration_manager: ConfigurationManager
    dataset_json: dict[str, Any]
    label_manager: LabelManager
    networks: tuple[nn.Module, ...]
    folds: tuple[str, ...]
    configuration: str
    trainer_name: str
    mirroring_axes: tuple[int, ...] | None
    content_hash: str


def load_nnunet_folder(
    folder: Path | str, folds: Sequence[str | int] | None = None, checkpoint: str = FINAL
) -> NnunetFolder:
    """Load a trained-model folder as nnU-Net v2 writes it, without running anything that it contains.

    Args:
        folder: Holds `plans.json`, `dataset.json` and `fold_*/<checkpoint>`.
        folds: Which folds to use; None for every `fold_<number>` that has a checkpoint, else `fold_all`.
        checkpoint: File name; where `checkpoint_final.pth` is missing, `checkpoint_best.pth` or `checkpoint_latest.pth`
            is used and logged.

    Raises:
        UserInputError: The folder is incomplete or damaged, names anything that is not on an allow-list, or is for a 2D
            or a cascade configuration.
        MissingDependencyError: nnU-Net is not installed.
    """
    folder = Path(folder)
    plans, dataset = _read_plans_and_dataset(folder)
    check_dataset(dataset)
    files = checkpoint_files(folder, folds, checkpoint)
    checkpoints = [read_checkpoint(file) for file in files.values()]
    first = checkpoints[0]
    _refuse_unequal_folds(checkpoints)
    plans = _checked_plans(plans, dataset, first.configuration)
    handling = require("nnunetv2.utilities.plans_handling.plans_handler", extra="nnunet")
    plans_manager = handling.PlansManager(plans)
    configuration_manager = plans_manager.get_configuration(first.configuration)
    label_manager = _label_manager(plans_manager, dataset)
    heads = label_manager.num_segmentation_heads
    networks = tuple(_network(plans, c, _channel_count(dataset, plans, c.configuration), heads) for c in checkpoints)
    tell_of_unknown_trainer(first)
    return NnunetFolder(
        plans_manager=plans_manager,
        configuration_manager=configuration_manager,
        dataset_json=dataset,
        label_manager=label_manager,
        networks=networks,
        folds=tuple(files),
        configuration=first.configuration,
        trainer_name=first.trainer_name,
        mirroring_axes=first.mirroring_axes,
        content_hash=_content_hash(folder, checkpoints),
    )


# ---- plans.json and dataset.json


def _read_plans_and_dataset(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not folder.exists():
        raise UserInputError(f"Model folder '{folder}' does not exist; check the path")
    if not folder.is_dir():
        raise UserInputError(f"'{folder}' is a file; give the trained-model folder (unpack an exported .zip first)")
    return _read_json(folder / "plans.json"), _read_json(folder / "dataset.json")


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UserInputError(
            f"'{file}' is missing; give the folder that nnU-Net trained into, "
            "such as nnUNetTrainer__nnUNetPlans__3d_fullres"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserInputError(f"'{file}' is not valid JSON ({_line(error)}); copy it again from the training") from error
    if not isinstance(content, dict):
        raise UserInputError(f"'{file}' does not hold a JSON object; copy it again from the training")
    return content


def _checked_plans(plans: dict[str, Any], dataset: dict[str, Any], configuration: str) -> dict[str, Any]:
    """A copy of the plans that holds only one configuration, every name in it allow-listed."""
    resolved = _resolve_configuration(plans, configuration)
    _refuse_2d_and_cascade(resolved, configuration)
    checked = {key: deepcopy(value) for key, value in plans.items() if key != "experiment_planner_used"}
    checked["configurations"] = {configuration: resolved}
    checked.setdefault("label_manager", "LabelManager")
    _allow(checked["label_manager"], LABEL_MANAGERS, "label manager")
    _allow(_entry(checked, "image_reader_writer"), READERS, "image reader")
    if "overwrite_image_reader_writer" in dataset:
        _allow(dataset["overwrite_image_reader_writer"], READERS, "image reader", file="dataset.json")
    _allow(_entry(resolved, "preprocessor_name"), PREPROCESSORS, "preprocessor")
    for entry in RESAMPLING_ENTRIES:
        _allow(_entry(resolved, entry), RESAMPLING_FUNCTIONS, f"resampling function ({entry})")
    for scheme in _list_entry(resolved, "normalization_schemes"):
        _allow(scheme, NORMALIZATIONS, "normalization")
    if "architecture" in resolved:  # plans from before 2.3 have none: nnU-Net itself completes them
        _allow_architecture(_dict_entry(resolved, "architecture"))
    check_configuration(checked, resolved)
    return checked


def _resolve_configuration(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration together with what it inherits; the nearest definition of an entry wins."""
    configurations = _dict_entry(plans, "configurations")
    resolved: dict[str, Any] = {}
    seen: set[str] = set()
    current: Any = name
    while current is not None:
        if not isinstance(current, str) or current in seen or not isinstance(configurations.get(current), dict):
            raise UserInputError(
                f"plans.json has no usable configuration {current!r:.100} (needed for '{name}'); "
                "copy plans.json again from the training"
            )
        seen.add(current)
        resolved = deepcopy(configurations[current]) | resolved
        current = configurations[current].get("inherits_from")
    resolved.pop("inherits_from", None)
    return resolved


def _refuse_2d_and_cascade(resolved: dict[str, Any], configuration: str) -> None:
    if resolved.get("previous_stage") is not None:
        raise UserInputError(
            f"Configuration '{configuration}' is a cascade on '{resolved['previous_stage']}'; "
            "use a 3d_fullres or 3d_lowres model"
        )
    if len(_list_entry(resolved, "patch_size")) != 3:
        raise UserInputError(f"Configuration '{configuration}' is 2D; use a 3d_fullres or 3d_lowres model")


def _allow_architecture(architecture: dict[str, Any]) -> None:
    _allow(_entry(architecture, "network_class_name"), NETWORKS, "network")
    arguments = _dict_entry(architecture, "arch_kwargs")
    imported = _list_entry(architecture, "_kw_requires_import")
    for keyword in imported:
        _allow(keyword, KEYWORD_CLASSES, "imported network argument")
        _entry(arguments, keyword)
    for keyword, classes in KEYWORD_CLASSES.items():
        if arguments.get(keyword) is not None:
            _allow(arguments[keyword], classes, keyword)
            if keyword not in imported:
                raise UserInputError(
                    f"plans.json gives '{keyword}' by a name and does not list it in '_kw_requires_import'; "
                    "copy plans.json again from the training"
                )


def _allow(value: Any, allowed: Collection[str], what: str, file: str = "plans.json") -> None:
    if not isinstance(value, str) or value not in allowed:
        raise UserInputError(
            f"{file} names the {what} {value!r:.200}, which is not known to be safe; "
            f"use a model that has one of: {', '.join(sorted(allowed))}"
        )


def _entry(content: dict[str, Any], key: str, file: str = "plans.json") -> Any:
    if key not in content:
        raise UserInputError(f"{file} lacks the entry '{key}'; copy it again from the training")
    return content[key]


def _list_entry(content: dict[str, Any], key: str) -> list[Any]:
    value = _entry(content, key)
    if not isinstance(value, list):
        raise UserInputError(f"The entry '{key}' of plans.json is {value!r:.100}, not a list; copy plans.json again")
    return value


def _dict_entry(content: dict[str, Any], key: str, file: str = "plans.json") -> dict[str, Any]:
    value = _entry(content, key, file)
    if not isinstance(value, dict):
        raise UserInputError(f"The entry '{key}' of {file} is {value!r:.100}, not an object; copy {file} again")
    return value


def _channel_count(dataset: dict[str, Any], plans: dict[str, Any], configuration: str) -> int:
    count = len(dataset["modality" if "modality" in dataset else "channel_names"])
    schemes = len(plans["configurations"][configuration]["normalization_schemes"])
    if count != schemes:
        raise UserInputError(
            f"dataset.json has {count} channels and plans.json normalizes {schemes}; take both from one training"
        )
    return count


def _label_manager(plans_manager: PlansManager, dataset: dict[str, Any]) -> LabelManager:
    try:
        return plans_manager.get_label_manager(dataset)
    except Exception as error:
        raise UserInputError(
            f"nnU-Net cannot use the labels in dataset.json ({_line(error)}); copy it again from the training"
        ) from error


# ---- network


def _network(plans: dict[str, Any], checkpoint: Checkpoint, channels: int, heads: int) -> nn.Module:
    architecture = _architecture(plans, checkpoint.configuration)
    with built_for(checkpoint.weights, "The network in plans.json", "take both from one training"):
        network = _build_network(architecture, channels, heads)
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise UserInputError(
            f"The weights in '{checkpoint.file}' do not fit the network in plans.json "
            f"({_mismatch(network, checkpoint.weights)}); take both from one training"
        ) from error
    refuse_unsound_norms(network, "plans.json")
    return network.eval().requires_grad_(False)


def _architecture(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    handling = require("nnunetv2.utilities.plans_handling.plans_handler", extra="nnunet")
    try:
        manager = handling.PlansManager(deepcopy(plans)).get_configuration(configuration)
    except Exception as error:  # nnU-Net completes old plans without checking them
        raise UserInputError(f"plans.json describes no network ({_line(error)}); copy it again") from error
    architecture: dict[str, Any] = manager.configuration["architecture"]
    _allow_architecture(architecture)
    return architecture


def _build_network(architecture: dict[str, Any], channels: int, heads: int) -> nn.Module:
    unet = require("dynamic_network_architectures.architectures.unet", extra="nnunet")
    network_class = getattr(unet, NETWORKS[architecture["network_class_name"]])
    arguments = {**architecture["arch_kwargs"], "deep_supervision": False}
    refuse_huge_numbers(arguments, "The network in plans.json")
    check_architecture(arguments)
    for keyword, classes in KEYWORD_CLASSES.items():
        if arguments.get(keyword) is not None:
            arguments[keyword] = classes[arguments[keyword]]
    try:
        network: nn.Module = network_class(input_channels=channels, num_classes=heads, **arguments)
    except UserInputError:
        raise
    except Exception as error:  # constructors check their arguments with anything
        raise UserInputError(
            f"The network in plans.json cannot be built ({_line(error)}); copy plans.json again from the training"
        ) from error
    return network


def _mismatch(network: nn.Module, weights: dict[str, torch.Tensor]) -> str:
    expected = network.state_dict()
    for name in sorted(expected.keys() ^ weights.keys()):
        return f"'{name}' is only in the {'network' if name in expected else 'checkpoint'}"
    for name, tensor in expected.items():
        if tensor.shape != weights[name].shape:
            return f"'{name}' is {tuple(weights[name].shape)}, not {tuple(tensor.shape)}"
    return "unreadable tensors"


# ---- small things


def _content_hash(folder: Path, checkpoints: Sequence[Checkpoint]) -> str:
    texts = {name: (folder / name).read_bytes() for name in ("plans.json", "dataset.json")}
    texts["configuration"] = checkpoints[0].configuration.encode()
    return content_hash(texts, [checkpoint.weights for checkpoint in checkpoints])
