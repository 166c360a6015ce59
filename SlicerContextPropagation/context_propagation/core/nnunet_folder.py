"""Safe loading of a trained-model folder of nnU-Net v2: data only, no code from the folder runs.

nnU-Net finds classes and functions by names in `plans.json` and unpickles its checkpoints. Here every such name must be
on an allow-list, and checkpoints are read with `weights_only`. `postprocessing.pkl` is never opened.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from context_propagation.core.content_hash import content_hash
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

logger = logging.getLogger(__name__)

NETWORKS = {
    "dynamic_network_architectures.architectures.unet.PlainConvUNet": "PlainConvUNet",
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet": "ResidualEncoderUNet",
    # How nnU-Net itself completes plans from before 2.3
    "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet": "ResidualEncoderUNet",
}
"""Network names in plans.json, and the class of `dynamic_network_architectures.architectures.unet` each one means."""


def _torch_names(module: str, *classes: type[nn.Module]) -> dict[str, type[nn.Module]]:
    long = {f"torch.nn.modules.{module}.{cls.__name__}": cls for cls in classes}
    return long | {f"torch.nn.{cls.__name__}": cls for cls in classes}


KEYWORD_CLASSES: dict[str, dict[str, type[nn.Module]]] = {
    "conv_op": _torch_names("conv", nn.Conv3d),
    "norm_op": _torch_names("instancenorm", nn.InstanceNorm3d) | _torch_names("batchnorm", nn.BatchNorm3d),
    "dropout_op": _torch_names("dropout", nn.Dropout, nn.Dropout3d),
    "nonlin": _torch_names("activation", nn.LeakyReLU, nn.ReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU),
}
"""Arguments of a network that plans.json gives by name (`_kw_requires_import`), and what they may name."""

RESAMPLING_FUNCTIONS = frozenset({"resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"})
RESAMPLING_ENTRIES = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")
PREPROCESSORS = frozenset({"DefaultPreprocessor"})
READERS = frozenset({"SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"})
LABEL_MANAGERS = frozenset({"LabelManager"})
NORMALIZATIONS = frozenset(
    {"ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"}
)

TRAINERS = frozenset(
    "nnUNetTrainer" + suffix
    for suffix in (
        *("", "NoMirroring", "_onlyMirror01", "_onlyMirror01_1500ep", "_onlyMirror01_DASegOrd0", "_onlyMirror01_DA5"),
        *("DA5", "DA5ord0", "DA5Segord0", "DA5_10epochs", "NoDA", "_DASegOrd0", "_DASegOrd0_NoMirroring"),
        *("_noDummy2DDA", "_warmup", "CosAnneal", "NoDeepSupervision"),
        *("Adan", "Adan1en3", "Adan3en4", "Adan1en1", "AdanCosAnneal"),
        *("Adam", "Adam1en3", "Adam3en4", "VanillaAdam", "VanillaAdam1en3", "VanillaAdam3en4"),
        *("DiceLoss", "DiceCELoss_noSmooth", "Topk10Loss", "Topk10LossLS01", "DiceTopK10Loss"),
        *("CELoss", "CELoss_5epochs", "Benchmark_5epochs", "Benchmark_5epochs_noDataLoading"),
        *("_probabilisticOversampling", "_probabilisticOversampling_033", "_probabilisticOversampling_010"),
        *(f"_{n}epochs" for n in (5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000)),
        *(f"_{n}epochs_NoMirroring" for n in (250, 2000, 4000, 8000)),
        "_1epoch",
    )
)
"""nnU-Net's own trainers that build the network that plans.json describes. Any other may build another one."""

SAFE_GLOBALS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": np.dtype,
    "numpy._core.multiarray.scalar": np.float64(0).__reduce__()[0],
    "numpy.core.multiarray.scalar": np.float64(0).__reduce__()[0],
} | {f"numpy.dtypes.{type(np.dtype(name)).__name__}": type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8")}
"""What a checkpoint may name beside tensors and plain containers: the numpy scalars of nnU-Net's training log."""

FINAL, BEST = "checkpoint_final.pth", "checkpoint_best.pth"


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


def load_nnunet_folder(
    folder: Path | str, folds: Sequence[str | int] | None = None, checkpoint: str = FINAL
) -> NnunetFolder:
    """Load a trained-model folder as nnU-Net v2 writes it, without running anything that it contains.

    Args:
        folder: Holds `plans.json`, `dataset.json` and `fold_*/<checkpoint>`.
        folds: Which folds to use; None for every `fold_<number>` that has a checkpoint, else `fold_all`.
        checkpoint: File name; where `checkpoint_final.pth` is missing, `checkpoint_best.pth` is used and logged.

    Raises:
        UserInputError: The folder is incomplete or damaged, names anything that is not on an allow-list, or is for a 2D
            or a cascade configuration.
        MissingDependencyError: nnU-Net is not installed.
    """
    folder = Path(folder)
    plans, dataset = _read_plans_and_dataset(folder)
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
    except (ValueError, RecursionError) as error:
        raise UserInputError(f"'{file}' is not valid JSON ({_line(error)}); copy it again from the training") from error
    if not isinstance(content, dict):
        raise UserInputError(f"'{file}' holds no JSON object; copy it again from the training")
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
    for keyword in _list_entry(architecture, "_kw_requires_import"):
        _allow(keyword, KEYWORD_CLASSES, "imported network argument")
    for keyword, classes in KEYWORD_CLASSES.items():
        if arguments.get(keyword) is not None:
            _allow(arguments[keyword], classes, keyword)


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
    key = "modality" if "modality" in dataset else "channel_names"
    count = len(_dict_entry(dataset, key, file="dataset.json"))
    schemes = len(plans["configurations"][configuration]["normalization_schemes"])
    if count != schemes:
        raise UserInputError(
            f"dataset.json has {count} channels and plans.json normalizes {schemes}; take both from one training"
        )
    return count


def _label_manager(plans_manager: PlansManager, dataset: dict[str, Any]) -> LabelManager:
    _dict_entry(dataset, "labels", file="dataset.json")
    try:
        return plans_manager.get_label_manager(dataset)
    except (RuntimeError, AssertionError, TypeError, ValueError, AttributeError) as error:
        raise UserInputError(
            f"nnU-Net cannot use the labels in dataset.json ({_line(error)}); copy it again from the training"
        ) from error


# ---- checkpoints


def checkpoint_files(folder: Path, folds: Sequence[str | int] | None, checkpoint: str) -> dict[str, Path]:
    """The checkpoint of each fold, by the fold's name; see `load_nnunet_folder`.

    Raises:
        UserInputError: A fold has no checkpoint.
    """
    present = {path.name.removeprefix("fold_"): path for path in folder.glob("fold_*") if path.is_dir()}
    found = {fold: file for fold, path in present.items() if (file := _checkpoint_file(path, checkpoint)) is not None}
    numbered = sorted((fold for fold in found if fold.isdecimal()), key=int)
    chosen = [str(fold).removeprefix("fold_") for fold in folds] if folds is not None else numbered or ["all"]
    available = ", ".join([*numbered, *(["all"] if "all" in found else [])])
    if not available:
        raise UserInputError(f"'{folder}' has no fold_*/{checkpoint}; give a folder whose training has finished")
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
    names = (FINAL, BEST) if checkpoint == FINAL else (checkpoint,)
    return next((fold_folder / name for name in names if (fold_folder / name).is_file()), None)


def read_checkpoint(file: Path) -> Checkpoint:
    """Read one checkpoint as data.

    Raises:
        UserInputError: It is damaged, holds code, or is not of nnU-Net v2.
    """
    content = _load_weights_only(file)
    try:
        weights, init_args = content["network_weights"], content["init_args"]
        configuration, trainer_name = init_args["configuration"], content["trainer_name"]
    except (KeyError, TypeError) as error:
        raise UserInputError(
            f"'{file}' is no nnU-Net v2 checkpoint (no {_line(error)}); train with nnU-Net v2"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserInputError(f"The network weights in '{file}' are no tensors; copy the checkpoint again")
    _allow_trainer(trainer_name, file)
    axes = _mirroring_axes(content.get("inference_allowed_mirroring_axes"), file)
    return Checkpoint(file, dict(weights), str(configuration), trainer_name, axes)


def _load_weights_only(file: Path) -> Any:
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
                "Use a checkpoint that nnU-Net v2 wrote"
            )
        with torch.serialization.safe_globals(safe):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UserInputError:
        raise
    except Exception as error:  # the pickle and zip readers raise almost any type on damaged bytes
        raise UserInputError(damaged) from error


def _allow_trainer(trainer_name: Any, file: Path) -> None:
    if not isinstance(trainer_name, str) or trainer_name not in TRAINERS:
        raise UserInputError(
            f"'{file}' was trained by {trainer_name!r:.100}, which may define another network; "
            "use a model of nnUNetTrainer or of a stock variant that keeps the network"
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


# ---- network


def _network(plans: dict[str, Any], checkpoint: Checkpoint, channels: int, heads: int) -> nn.Module:
    network = _build_network(_architecture(plans, checkpoint.configuration), channels, heads)
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise UserInputError(
            f"The weights in '{checkpoint.file}' do not fit the network in plans.json "
            f"({_mismatch(network, checkpoint.weights)}); take both from one training"
        ) from error
    return network.eval().requires_grad_(False)


def _architecture(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    handling = require("nnunetv2.utilities.plans_handling.plans_handler", extra="nnunet")
    try:
        manager = handling.PlansManager(deepcopy(plans)).get_configuration(configuration)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserInputError(f"plans.json describes no network ({_line(error)}); copy it again") from error
    architecture: dict[str, Any] = manager.configuration["architecture"]
    _allow_architecture(architecture)
    return architecture


def _build_network(architecture: dict[str, Any], channels: int, heads: int) -> nn.Module:
    unet = require("dynamic_network_architectures.architectures.unet", extra="nnunet")
    network_class = getattr(unet, NETWORKS[architecture["network_class_name"]])
    arguments = {**architecture["arch_kwargs"], "deep_supervision": False}
    for keyword, classes in KEYWORD_CLASSES.items():
        if arguments.get(keyword) is not None:
            arguments[keyword] = classes[arguments[keyword]]
    try:
        network: nn.Module = network_class(input_channels=channels, num_classes=heads, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError, AttributeError) as error:
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


def _line(error: BaseException) -> str:
    """The first line of an error's message, not too long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
