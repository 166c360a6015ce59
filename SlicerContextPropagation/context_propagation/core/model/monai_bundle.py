"""A MONAI bundle as a `SegmentationModel`: its network, its transforms; data only, unless the user trusts it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.model.monai_config import TRUST, Component, MonaiConfig, read_mapping
from context_propagation.core.model.monai_preprocessing import IMAGE, MonaiPreprocessing
from context_propagation.core.model.network_model import NetworkModel, Output, SlidingWindow
from context_propagation.core.model.segmentation_model import Loss
from context_propagation.core.network.traced_split import TracedSplit
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.content_hash import content_hash

NETWORKS = frozenset(
    (
        *("AttentionUnet", "BasicUNet", "BasicUnet", "Basicunet", "DynUNet", "DynUnet", "Dynunet", "SegResNet"),
        *("SegResNetDS", "SwinUNETR", "UNet", "Unet", "UNETR", "VNet", "Vnet"),
    )
)
"""Networks that a bundle may name; their arguments are plain values."""


OURS = frozenset(("LoadImaged", "LoadImageD", "LoadImageDict", "EnsureChannelFirstd", "EnsureChannelFirstD"))
"""What is done before a model sees the image."""


WITHOUT_EFFECT = frozenset(("EnsureTyped", "EnsureTypeD", "CastToTyped", "CastToTypeD", "ToDeviced", "ToTensord"))


TRANSFORMS = frozenset(
    (
        *("Orientationd", "Spacingd", "CropForegroundd", "NormalizeIntensityd", "ScaleIntensityd"),
        *("ScaleIntensityRanged", "ScaleIntensityRangePercentilesd", "ThresholdIntensityd"),
    )
)
"""Transforms of the image that run as the bundle describes them."""


UNDONE_OR_SAVED = frozenset(("Invertd", "InvertD", "SaveImaged", "SaveImageD"))
"""Postprocessing that the engine does in its own way."""


FOLD = "all"


WEIGHTS = ("models/model.safetensors", "models/model.pt")


TORCHSCRIPT = "models/model.ts"


USE_PYTHON = "load its network in Python with from_network: see docs/any-network.md"


def load_monai_bundle(
    folder: Path | str,
    label: str | int | None = None,
    device: str = "auto",
    folds: Sequence[str | int] | None = None,
    orientation: str | None = None,
    trust: bool = False,
) -> NetworkModel:
    """Load a bundle; no code in it is run unless it is trusted.

    Args:
        folder: Holds `configs/inference.json`, `configs/metadata.json` and `models/model.safetensors` or `model.pt`.
        label: Name or value of the label to refine; not needed where there is only one.
        device: "auto", "cpu" or "cuda".
        folds: None or "all": a bundle has one network.
        orientation: Orientation of the training arrays, where the bundle's transforms say none.
        trust: Let MONAI evaluate the bundle's expressions and build any class that it names.

    Raises:
        UserInputError: Something is missing or damaged, a class is not known to be safe, an expression would have to be
            run, or the network cannot be split.
        MissingDependencyError: MONAI or safetensors is not installed.
    """
    folder = Path(folder)
    chosen = select_device(device)
    if folds is not None and [str(fold) for fold in folds] != [FOLD]:
        raise UserInputError(f"'{folder}' is a MONAI bundle with one network, fold {FOLD}; leave the folds out")
    config = MonaiConfig(folder, trust)
    metadata = read_mapping(folder / "configs" / "metadata.json")
    network, weights = _network(config, folder)
    network.to(chosen)
    transforms = _transforms(config)
    patch_size, sliding_window = _windows(config, metadata)
    channels = _names(metadata, "inputs", IMAGE) or [f"channel {n}" for n in range(_in_channels(config))]
    example = torch.rand((1, len(channels), *patch_size), generator=torch.Generator().manual_seed(0)).to(chosen)
    split = TracedSplit(network, example)
    activation = _activation(config)
    labels = _labels(metadata, split.graph.shapes[split.graph.logits][1], activation)
    texts = {config.file.name: config.file.read_bytes(), "metadata": (folder / "configs/metadata.json").read_bytes()}
    return NetworkModel(
        [split],
        MonaiPreprocessing(tuple(built for _, built in transforms), tuple(channels)),
        Output.of(labels, label, activation),
        patch_size=patch_size,
        content_hash=content_hash(texts, [weights]),
        device=chosen,
        orientation=_orientation(transforms) or orientation,
        loss=_loss(folder),
        folds=(FOLD,),
        sliding_window=sliding_window,
    )


def copy_monai_bundle(source: Path, destination: Path) -> None:
    """Copy what inference needs; the copy has the same content hash.

    Args:
        source: A folder that `load_monai_bundle` loads.
        destination: Folder that is made.

    Raises:
        UserInputError: It has no weights.
        OSError: A file cannot be read or written.
    """
    kept = [_weights_file(source), *(source / "configs" / name for name in ("metadata.json", "train.json"))]
    kept += [MonaiConfig(source).file, *sorted(source.glob("LICENSE*"))]
    for file in (file for file in kept if file.is_file()):
        copy = destination / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


# ---- the network


def _network(config: MonaiConfig, folder: Path) -> tuple[nn.Module, Mapping[str, torch.Tensor]]:
    described = config.get("network_def")
    if isinstance(described, nn.Module):  # a trusted expression
        network = described
    else:
        network = _built(config, described, "monai.networks.nets", NETWORKS, "network")
    file = _weights_file(folder)
    weights = _read_weights(file)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserInputError(
            f"The weights in '{file}' do not fit the network in '{config.file}' ({_line(error)}); take both from one "
            "bundle"
        ) from error
    return network.eval().requires_grad_(False), weights


def _in_channels(config: MonaiConfig) -> int:
    described = config.get("network_def")
    channels = described.resolve().get("in_channels") if isinstance(described, Component) else None
    if not isinstance(channels, int) or channels < 1:
        raise UserInputError(
            "configs/metadata.json does not describe the image channels (network_data_format, inputs, image, "
            f"channel_def); add them, or {USE_PYTHON}"
        )
    return channels


def _built(config: MonaiConfig, described: Any, package: str, allowed: frozenset[str], what: str) -> Any:
    """Build what a component describes, from one of MONAI's packages and an allow-list."""
    if not isinstance(described, Component):
        raise UserInputError(f"'{config.file}' describes no {what} by a class; {USE_PYTHON}")
    inside = described.package == "" or described.package == package or described.package.startswith(f"{package}.")
    if (not inside or described.name not in allowed) and not config.trust:
        full = ".".join(part for part in (described.package, described.name) if part)
        raise UserInputError(
            f"'{config.file}' names the {what} {full!r:.200} at '{described.place}', which is not known to be safe "
            f"or to work; use one of {', '.join(sorted(allowed))}, or {TRUST}"
        )
    if not inside or described.name not in allowed:
        return config.trusted_instance(described.place)
    arguments = described.resolve()
    try:
        return getattr(require(package, extra="monai"), described.name)(**arguments)
    except Exception as error:  # constructors check their arguments with anything
        raise UserInputError(
            f"'{config.file}': the {what} {described.name} at '{described.place}' cannot be built ({_line(error)})"
        ) from error


def _weights_file(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    if (folder / TORCHSCRIPT).is_file():
        raise UserInputError(
            f"'{folder / TORCHSCRIPT}' is a TorchScript archive, which is a program; it is not run. Give the bundle's "
            "models/model.pt or model.safetensors"
        )
    raise UserInputError(f"'{folder}' has no {' or '.join(WEIGHTS)}; download the bundle's weights")


def _read_weights(file: Path) -> Mapping[str, torch.Tensor]:
    """The state dict as data."""
    if file.suffix == ".safetensors":
        safetensors = require("safetensors.torch", extra="monai")
        try:
            return cast(Mapping[str, torch.Tensor], safetensors.load_file(file))
        except Exception as error:
            raise UserInputError(f"'{file}' cannot be read ({_line(error)}); download it again") from error
    if zipfile.is_zipfile(file) and any(name.endswith("/constants.pkl") for name in zipfile.ZipFile(file).namelist()):
        raise UserInputError(f"'{file}' is a TorchScript archive, which is a program; it is not run. Give a state dict")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the pickle and zip readers raise almost any type
        raise UserInputError(
            f"'{file}' is damaged, or holds more than weights, which would run as code; nothing was run. Give a state "
            f"dict or model.safetensors ({_line(error)})"
        ) from error
    for name in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserInputError(f"'{file}' does not hold a state dict; give the network's weights")
    return content


# ---- before and after the network


def _transforms(config: MonaiConfig) -> list[tuple[str, Any]]:
    """The transforms of the image that run, by name, in order."""
    described = config.get("preprocessing")
    if isinstance(described, Component) and described.name == "Compose":
        described = described.resolve().get("transforms")
    if not isinstance(described, list):
        raise UserInputError(f"'{config.file}': 'preprocessing' is not a Compose of transforms; {USE_PYTHON}")
    found = []
    for item in described:
        if isinstance(item, Component) and (item.disabled or item.name in OURS | WITHOUT_EFFECT):
            continue
        built = _built(config, item, "monai.transforms", TRANSFORMS, "transform")
        _refuse_other_keys(config, item)
        found.append((item.name, built))
    return found


def _refuse_other_keys(config: MonaiConfig, item: Component) -> None:
    keys = item.resolve().get("keys")
    if keys not in (IMAGE, [IMAGE]):
        raise UserInputError(
            f"'{config.file}': '{item.place}' transforms {keys!r:.100}; only '{IMAGE}' is known, write that"
        )


def _orientation(transforms: Sequence[tuple[str, Any]]) -> str | None:
    codes = [built.ornt_transform.axcodes for name, built in transforms if name == "Orientationd"]
    return None if not codes or codes[-1] is None else "".join(codes[-1])


def _activation(config: MonaiConfig) -> Literal["softmax", "sigmoid"]:
    """How logits become labels; postprocessing that changes labels otherwise is refused by name."""
    described = config.get("postprocessing") if "postprocessing" in config else []
    if isinstance(described, Component) and described.name == "Compose":
        described = described.resolve().get("transforms")
    activation: Literal["softmax", "sigmoid"] = "softmax"
    for item in described if isinstance(described, list) else []:
        if not isinstance(item, Component):
            raise UserInputError(f"'{config.file}': 'postprocessing' holds something without a class; {USE_PYTHON}")
        if item.disabled or item.name in UNDONE_OR_SAVED | WITHOUT_EFFECT:
            continue
        if item.name not in ("Activationsd", "AsDiscreted"):
            raise UserInputError(
                f"'{config.file}' names the postprocessing {item.name!r:.100}, which the engine cannot carry an edit "
                "through; remove it from the file"
            )
        arguments = item.resolve()
        if arguments.get("sigmoid"):
            activation = "sigmoid"
        threshold = arguments.get("threshold")
        if threshold not in (None, 0.5, [0.5]):
            raise UserInputError(f"'{config.file}' thresholds at {threshold!r:.50}; only 0.5 is known, write that")
    return activation


def _labels(metadata: Mapping[str, Any], channels: int, activation: str) -> list[str]:
    names = _names(metadata, "outputs", "pred")
    if names is None:
        names = [f"label {n}" for n in range(channels)] if activation == "softmax" else []
        names = names or [f"label {n + 1}" for n in range(channels)]
    if len(names) != channels:
        raise UserInputError(
            f"configs/metadata.json names {counted(len(names), 'output channel')} ({', '.join(names)}) and the network "
            f"has {channels}; correct channel_def"
        )
    return names


def _names(metadata: Mapping[str, Any], side: str, name: str) -> list[str] | None:
    """Channel names of `network_data_format`, by number; None where it has none."""
    value: Any = metadata
    for part in ("network_data_format", side, name, "channel_def"):
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not value:
        return None
    if sorted(map(str, value)) != sorted(str(n) for n in range(len(value))):
        raise UserInputError(f"configs/metadata.json: the channel_def of '{name}' is not numbered from 0; correct it")
    return [str(value[str(n)]) for n in range(len(value))]


def _windows(config: MonaiConfig, metadata: Mapping[str, Any]) -> tuple[tuple[int, int, int], SlidingWindow]:
    """The patch size, and how the bundle's own inferer puts windows together."""
    arguments: dict[str, Any] = {}
    if "inferer" in config:
        described = config.get("inferer")
        if isinstance(described, Component) and described.name == "SlidingWindowInferer":
            wanted = ("roi_size", "overlap", "mode")
            arguments = {name: value for name, value in described.resolve().items() if name in wanted}
    patch = arguments.get("roi_size") or _metadata_patch(metadata)
    if not isinstance(patch, list | tuple) or len(patch) != 3 or not all(isinstance(n, int) and n > 0 for n in patch):
        raise UserInputError(
            f"The bundle's window is {patch!r:.100}; write three whole numbers as roi_size of its 'inferer', or as "
            "spatial_shape in configs/metadata.json"
        )
    overlap, weights = arguments.get("overlap", 0.25), arguments.get("mode", "constant")
    return (patch[0], patch[1], patch[2]), SlidingWindow(float(overlap), weights)


def _metadata_patch(metadata: Mapping[str, Any]) -> Any:
    value: Any = metadata
    for part in ("network_data_format", "inputs", IMAGE, "spatial_shape"):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _loss(folder: Path) -> Loss:
    """What the bundle was trained with, as far as `configs/train.json` says it."""
    file = folder / "configs" / "train.json"
    content = read_mapping(file) if file.is_file() else {}
    described = content.get("loss")
    name = str(described.get("_target_", "")) if isinstance(described, Mapping) else ""
    return "dice" if name.rpartition(".")[2] in ("DiceLoss", "GeneralizedDiceLoss") else "dice and cross-entropy"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
