"""A MONAI bundle as a `SegmentationModel`: its network, its transforms; data only, unless the user trusts it."""

from __future__ import annotations

import inspect
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.model.largest_components import LargestComponents
from context_propagation.core.model.loss import Loss
from context_propagation.core.model.monai_config import (
    TRUST,
    USE_PYTHON,
    Component,
    MonaiConfig,
    argument,
    composed,
    name_of,
    read_mapping,
)
from context_propagation.core.model.monai_inferer import read_windows
from context_propagation.core.model.monai_postprocessing import Postprocessing, read_postprocessing
from context_propagation.core.model.monai_preprocessing import IMAGE, MonaiPreprocessing
from context_propagation.core.model.network_model import NetworkModel, Output
from context_propagation.core.network.traced_split import TracedSplit
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.own_files import refuse_foreign_file
from context_propagation.core.storage.sound_weights import (
    built_for,
    refuse_huge_numbers,
    refuse_unsound_norms,
    refuse_unsound_weights,
)

NETWORKS = frozenset(
    (
        *("AttentionUnet", "BasicUNet", "BasicUnet", "Basicunet", "DynUNet", "DynUnet", "Dynunet", "SegResNet"),
        *("SegResNetDS", "SwinUNETR", "UNet", "Unet", "UNETR", "VNet", "Vnet"),
    )
)
"""Networks that a bundle may name; their arguments are plain values."""


OURS = frozenset(
    ("LoadImaged", "LoadImageD", "LoadImageDict", "EnsureChannelFirstd", "EnsureChannelFirstD", "AddChanneld")
)
"""What is done before a model sees the image."""


WITHOUT_EFFECT = frozenset(("EnsureTyped", "EnsureTypeD", "CastToTyped", "CastToTypeD", "ToDeviced", "ToTensord"))


TRANSFORMS = frozenset(
    (
        *("Orientationd", "Spacingd", "CropForegroundd", "NormalizeIntensityd", "ScaleIntensityd"),
        *("ScaleIntensityRanged", "ScaleIntensityRangePercentilesd", "ThresholdIntensityd"),
    )
)
"""Transforms of the image that run as the bundle describes them."""


FOLD = "all"


WEIGHTS = ("models/model.safetensors", "models/model.pt")


TORCHSCRIPT = "models/model.ts"


MAX_CHANNELS = 64


RENAMED = {"dimensions": "spatial_dims"}
"""Arguments of published configurations that MONAI has given other names."""


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
        device: "auto", "cpu", "cuda" or "mps".
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
    postprocessing = read_postprocessing(config)
    patch_size, sliding_window, padding = read_windows(config, metadata)
    transforms = _transforms(config)
    channels = _channels(config, metadata)
    foreseen = _out_channels(config, metadata)
    if foreseen is not None:  # what is cheap to refuse is refused before the network is built and traced
        _output(metadata, foreseen, label, postprocessing)
    network, weights = _network(config, folder)
    network.to(chosen)
    example = torch.rand((1, len(channels), *patch_size), generator=torch.Generator().manual_seed(0)).to(chosen)
    split = TracedSplit(network, example)
    output, largest = _output(metadata, split.graph.shapes[split.graph.logits][1], label, postprocessing)
    texts = {config.file.name: config.file.read_bytes(), "metadata": (folder / "configs/metadata.json").read_bytes()}
    return NetworkModel(
        [split],
        MonaiPreprocessing(tuple(transforms), tuple(channels)),
        output,
        patch_size=patch_size,
        content_hash=content_hash(texts, [weights]),
        device=chosen,
        orientation=_orientation(transforms) or orientation,
        loss=_loss(folder),
        folds=(FOLD,),
        sliding_window=sliding_window,
        padding=padding,
        largest=largest,
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
    file = _weights_file(folder)
    weights = _read_weights(file)
    refuse_unsound_weights(file, weights, "download the bundle again, or train again")
    described = config.get("network_def")
    if isinstance(described, nn.Module):  # a trusted expression
        network = described
    elif config.trust:
        network = _built(config, described, "monai.networks.nets", NETWORKS, "network")
    else:
        with built_for(weights, f"The network in '{config.file}'", "take both from one bundle"):
            network = _built(config, described, "monai.networks.nets", NETWORKS, "network")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserInputError(
            f"The weights in '{file}' do not fit the network in '{config.file}' ({_line(error)}); take both from one "
            "bundle"
        ) from error
    refuse_unsound_norms(network, config.file)
    return network.eval().requires_grad_(False), weights


def _network_argument(config: MonaiConfig, name: str) -> int | None:
    """A number of channels, where the network is described by its class."""
    described = config.get("network_def")
    value = argument(described, name) if isinstance(described, Component) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _channels(config: MonaiConfig, metadata: Mapping[str, Any]) -> list[str]:
    """Names of the image channels."""
    names, count = _names(metadata, "inputs", IMAGE), _network_argument(config, "in_channels")
    if names is None and (count is None or not 1 <= count <= MAX_CHANNELS):
        raise UserInputError(
            "configs/metadata.json does not describe the image channels (network_data_format, inputs, image, "
            f"channel_def); add them, or {USE_PYTHON}"
        )
    if names is not None and count is not None and len(names) != count:
        raise UserInputError(
            f"configs/metadata.json names {counted(len(names), 'image channel')} ({', '.join(names)}) and the network "
            f"takes {count}; correct channel_def"
        )
    return names or [f"channel {n}" for n in range(count or 0)]


def _out_channels(config: MonaiConfig, metadata: Mapping[str, Any]) -> int | None:
    """As far as the files say it; the network itself has the last word."""
    count = _network_argument(config, "out_channels")
    return len(_names(metadata, "outputs", "pred") or []) or None if count is None else count


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
    refuse_huge_numbers(arguments, f"'{config.file}': the {what} {described.name} at '{described.place}'")
    kind = getattr(require(package, extra="monai"), described.name)
    try:
        return kind(**_as_monai_has_it(described.name, arguments, inspect.signature(kind).parameters))
    except UserInputError:
        raise
    except Exception as error:  # constructors check their arguments with anything
        raise UserInputError(
            f"'{config.file}': the {what} {described.name} at '{described.place}' cannot be built ({_line(error)}); "
            "correct its arguments"
        ) from error


def _as_monai_has_it(name: str, arguments: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of published configurations as the installed MONAI takes them; what is left out changes no result."""
    kept = {RENAMED.get(key, key) if key not in known else key: value for key, value in arguments.items()}
    if name == "SwinUNETR":
        kept.pop("use_checkpoint", None)  # it saves memory while training, and cannot be traced
        if "img_size" not in known:
            kept.pop("img_size", None)  # MONAI checks the image itself
    return kept


def _weights_file(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).exists():
            refuse_foreign_file(folder, folder / name)
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


def _transforms(config: MonaiConfig) -> list[Any]:
    """The transforms of the image that run, in order."""
    found = []
    for item in composed(config, "preprocessing"):
        name = name_of(item)
        if name in OURS or name in WITHOUT_EFFECT:
            _refuse_rounding(config, item)
            continue
        built = _built(config, item, "monai.transforms", TRANSFORMS, "transform") if _is_data(item) else item
        if _is_data(item) or name in TRANSFORMS:
            _refuse_other_keys(config, name, argument(item, "keys"))
        found.append(built)
    return found


def _is_data(item: Any) -> bool:
    """Whether an item is described; else a trusted expression has built it."""
    return isinstance(item, Component)


def _refuse_rounding(config: MonaiConfig, item: Any) -> None:
    if not _is_data(item) or "dtype" not in item.given or name_of(item) in OURS:
        return
    dtype = item.text("dtype")
    if not any(kind in dtype for kind in ("float32", "float16", "float64", "float", "None", "null")):
        raise UserInputError(
            f"'{config.file}' casts the image to {dtype!r:.50} at '{item.place}', which rounds it; write float32"
        )


def _refuse_other_keys(config: MonaiConfig, name: str, keys: Any) -> None:
    if keys not in (IMAGE, [IMAGE], (IMAGE,)):
        raise UserInputError(f"'{config.file}': {name} transforms {keys!r:.100}; only '{IMAGE}' is known, write that")


def _orientation(transforms: Sequence[Any]) -> str | None:
    codes = [built.ornt_transform.axcodes for built in transforms if type(built).__name__ == "Orientationd"]
    return None if not codes or codes[-1] is None else "".join(codes[-1])


def _output(
    metadata: Mapping[str, Any], channels: int, label: str | int | None, postprocessing: Postprocessing
) -> tuple[Output, LargestComponents | None]:
    """What the output channels mean, and what is kept of the target."""
    activation = postprocessing.activation
    if postprocessing.half and channels > 2 and activation == "softmax":
        raise UserInputError(
            "The bundle's labels are a softmax above 0.5; only argmax is known for several, write that"
        )
    output = Output.of(_labels(metadata, channels, activation), label, activation)
    return output, postprocessing.largest(output.chosen, channels)


def _labels(metadata: Mapping[str, Any], channels: int, activation: str) -> list[str]:
    names = _names(metadata, "outputs", "pred")
    if names is None:
        if not 1 <= channels <= MAX_CHANNELS:
            raise UserInputError(f"The network has {channels} output channels; use from 1 to {MAX_CHANNELS}")
        first = 0 if activation == "softmax" else 1
        names = [f"label {n}" for n in range(first, channels + first)]
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


def _loss(folder: Path) -> Loss:
    """What the bundle was trained with, as far as `configs/train.json` says it."""
    file = folder / "configs" / "train.json"
    content = read_mapping(file) if file.is_file() else {}
    described = content.get("loss")
    name = str(described.get("_target_", "")) if isinstance(described, Mapping) else ""
    return "dice" if name.rpartition(".")[2] in ("DiceLoss", "GeneralizedDiceLoss") else "dice and cross-entropy"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
