"""Models of Slicer's extension MONAI Auto3DSeg: SegResNetDS with its configuration in one checkpoint, read as data.

Source: SlicerMONAIAuto3DSeg, Scripts/auto3dseg_segresnet_inference.py: preprocessing, windows and labels are as there.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError, _line
from context_propagation.core.model.auto3dseg_files import AGAIN, LABELS, MODEL, channel_names, label_names
from context_propagation.core.model.monai_preprocessing import IMAGE, MonaiPreprocessing
from context_propagation.core.model.network_model import NetworkModel, Output, SlidingWindow
from context_propagation.core.model.nnunet_checkpoint import load_weights_only
from context_propagation.core.network.traced_split import TracedSplit
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.own_files import refuse_foreign_file
from context_propagation.core.storage.sound_weights import built_for, refuse_huge_numbers, refuse_unsound_weights

FOLD = "all"


OVERLAP = (0.625, 0.625, 0.625)


FOREGROUND_MARGIN = 10
"""Voxels around what is above 0 in the first channel."""


SAME_SPACING = (0.75, 1.25)
"""An image whose voxels are of this share of the network's is not resampled."""


NORMALISATIONS = ("none", "range", "ct", "meanstd", "mri", "meanstdtanh", "pet")


NETWORK = "SegResNetDS"


ARGUMENTS = frozenset(
    (
        *("spatial_dims", "init_filters", "in_channels", "out_channels", "act", "norm", "blocks_down", "blocks_up"),
        *("dsdepth", "upsample_mode", "resolution"),
    )
)


def load_auto3dseg_folder(
    folder: Path | str,
    label: str | int | None = None,
    device: str = "auto",
    folds: Sequence[str | int] | None = None,
    orientation: str | None = None,
) -> NetworkModel:
    """Load a model; nothing in it is run.

    Args:
        folder: Holds `model.pt` and `labels.csv`.
        label: Name or value of the label to refine; not needed where there is only one.
        device: "auto", "cpu" or "cuda".
        folds: None or "all": there is one network.
        orientation: Of the training arrays, where the configuration says none.

    Raises:
        UserInputError: A file is missing, damaged, holds more than weights and plain values, or names the unknown.
        MissingDependencyError: MONAI is not installed.
    """
    folder, chosen = Path(folder), select_device(device)
    if folds is not None and [str(fold) for fold in folds] != [FOLD]:
        raise UserInputError(f"'{folder}' holds one network, fold {FOLD}; leave the folds out")
    refuse_foreign_file(folder, folder / MODEL)
    file, names = folder / MODEL, label_names(folder)
    config, weights = _read(file)
    described = _network_arguments(config, file)
    channels = channel_names(config, int(described.get("in_channels", 1)))
    output = _output(config, int(described.get("out_channels", 2)), names, label, file)
    d, h, w = (int(n) for n in _three(config, "roi_size", file))
    network = _network(described, weights, file).to(chosen)
    preprocessing = MonaiPreprocessing(tuple(_transforms(config, len(channels), file)), tuple(channels))
    generator = torch.Generator().manual_seed(0)
    example = torch.rand((1, len(channels), d, h, w), generator=generator).to(chosen)
    texts = {"config": json.dumps(config, sort_keys=True, default=str).encode(), LABELS: (folder / LABELS).read_bytes()}
    return NetworkModel(
        [TracedSplit(network, example)],
        preprocessing,
        output,
        patch_size=(d, h, w),
        content_hash=content_hash(texts, [weights]),
        device=chosen,
        orientation="RAS" if config.get("orientation_ras") else orientation,
        folds=(FOLD,),
        sliding_window=SlidingWindow(OVERLAP),
    )


def copy_auto3dseg_folder(source: Path, destination: Path) -> None:
    """Copy what inference needs; the copy has the same content hash."""
    destination.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, LABELS):
        shutil.copyfile(source / name, destination / name)


def _read(file: Path) -> tuple[dict[str, Any], Mapping[str, torch.Tensor]]:
    content = load_weights_only(file, "Auto3DSeg")
    config, weights = (content.get(key) if isinstance(content, dict) else None for key in ("config", "state_dict"))
    if not isinstance(config, dict) or not isinstance(weights, dict):
        raise UserInputError(
            f"'{file}' is no checkpoint of Auto3DSeg's SegResNet: it lacks config or state_dict; {AGAIN}"
        )
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserInputError(f"The network weights in '{file}' are not tensors; {AGAIN}")
    refuse_unsound_weights(file, weights, AGAIN)
    return config, weights


def _network_arguments(config: Mapping[str, Any], file: Path) -> dict[str, Any]:
    network = config.get("network")
    described = dict(network) if isinstance(network, dict) else {}
    name = str(described.pop("_target_", "")).rpartition(".")[2]
    if name != NETWORK:
        raise UserInputError(f"'{file}' describes the network {name!r:.60}; of Auto3DSeg only {NETWORK} is known")
    unknown = sorted(str(key) for key in described if key not in ARGUMENTS)
    expressions = [key for key, value in described.items() if isinstance(value, str) and value[:1] in ("$", "@", "%")]
    if unknown or expressions:
        odd = ", ".join([*unknown, *expressions])
        raise UserInputError(f"'{file}': the network's arguments {odd:.100} are not known or are expressions; {AGAIN}")
    refuse_huge_numbers(described, f"'{file}': the network")
    if described.get("spatial_dims", 3) != 3:
        raise UserInputError(f"'{file}' holds a network of {described['spatial_dims']} dimensions; give a 3D one")
    if str(described.get("norm", "")).upper() == "INSTANCE_NVFUSER":
        described["norm"] = ("INSTANCE", {"affine": True})  # the same, written for one kind of GPU
    return described


def _network(described: dict[str, Any], weights: Mapping[str, torch.Tensor], file: Path) -> nn.Module:
    nets = require("monai.networks.nets", extra="monai")
    try:
        with built_for(weights, f"The network in '{file}'", AGAIN):
            network: nn.Module = nets.SegResNetDS(**described)
        network.load_state_dict(weights)
    except UserInputError:
        raise
    except Exception as error:  # MONAI checks arguments with anything
        raise UserInputError(
            f"The network in '{file}' cannot be built of its weights ({_line(error)}); {AGAIN}"
        ) from error
    return network.eval().requires_grad_(False)


def _output(
    config: Mapping[str, Any], channels: int, names: Mapping[int, str], label: str | int | None, file: Path
) -> Output:
    if not config.get("sigmoid", False):
        lacking = [value for value in range(1, channels) if value not in names]
        if lacking or max(names) >= channels:
            raise UserInputError(
                f"'{file}' has {channels - 1} labels and {LABELS} names {', '.join(map(str, sorted(names)))}; "
                "correct it"
            )
        return Output.of(["background", *(names[value] for value in range(1, channels))], label)
    if channels != 1 or set(names) != {1}:
        raise UserInputError(
            f"'{file}' has regions that overlap (sigmoid), and {LABELS} does not say which channel is which; use the "
            "model as a MONAI bundle, whose metadata.json does"
        )
    return Output.of([names[1]], label, "sigmoid")


# ---- before the network


def _transforms(config: Mapping[str, Any], channels: int, file: Path) -> list[Any]:
    """As the extension has them: intensities on the whole image, then orientation, foreground, voxel size."""
    monai = require("monai.transforms", extra="monai")
    spacing = None if config.get("resample_resolution") is None else _three(config, "resample_resolution", file)
    found: list[Any] = [_Source(), _Intensities(_modes(config, channels, file), _bounds(config, file))]
    if config.get("crop_foreground", True):
        found.append(
            monai.CropForegroundd(
                IMAGE, source_key=_Source.KEY, channel_indices=0, margin=FOREGROUND_MARGIN, allow_smaller=True
            )
        )
    if config.get("orientation_ras", False):
        found.append(monai.Orientationd(IMAGE, axcodes="RAS"))
    if spacing is not None:
        low, high = ([share * mm for mm in spacing] for share in SAME_SPACING)
        found.append(
            monai.Spacingd(
                IMAGE, pixdim=list(spacing), mode="bilinear", dtype=torch.float, min_pixdim=low, max_pixdim=high
            )
        )
    return found


class _Source:
    """Keeps the image as it came: the foreground is what is above 0 in it."""

    KEY = "source"

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, self.KEY: data[IMAGE].clone()}


@dataclass(frozen=True)
class _Intensities:
    """Changes each channel's intensities.

    Attributes:
        modes: One of `NORMALISATIONS` for each channel.
        bounds: What "range" and "ct" take to -1 and 1, before a sigmoid.
    """

    modes: tuple[str, ...]
    bounds: tuple[float, float]

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        image = data[IMAGE]
        for channel, mode in enumerate(self.modes):
            image[channel] = self._changed(image[channel].float(), mode)
        return {**data, IMAGE: image}

    def _changed(self, x: Any, mode: str) -> Any:
        if mode == "none":
            return x
        if mode in ("range", "ct"):
            low, high = self.bounds
            return torch.sigmoid((x - low) / (high - low) * 2 - 1)
        if mode == "pet":
            return torch.sigmoid((x - x.min()) / x.std())
        inside = x != 0
        if not bool(inside.any()):
            return x
        deviation = x[inside].std(correction=0)
        x[inside] = (x[inside] - x[inside].mean()) / (deviation if float(deviation) else 1.0)
        return 3 * torch.tanh(x / 3) if mode == "meanstdtanh" else x


def _modes(config: Mapping[str, Any], channels: int, file: Path) -> tuple[str, ...]:
    extra = config.get("extra_modalities") or {}
    modes = [config.get("normalize_mode"), *(extra.values() if isinstance(extra, dict) else ())]
    if len(modes) != channels or not all(mode in NORMALISATIONS for mode in modes):
        raise UserInputError(
            f"'{file}' normalizes {channels} channels by {', '.join(str(mode) for mode in modes):.100}; known are "
            f"{', '.join(NORMALISATIONS)}, one for each"
        )
    return tuple(str(mode) for mode in modes)


def _bounds(config: Mapping[str, Any], file: Path) -> tuple[float, float]:
    value = config.get("intensity_bounds") or (-1.0, 1.0)
    if not isinstance(value, list | tuple) or len(value) != 2 or not _finite(value) or not value[0] < value[1]:
        raise UserInputError(f"'{file}' has the intensity_bounds {value!r:.60}, not two numbers that rise; {AGAIN}")
    return float(value[0]), float(value[1])


def _three(config: Mapping[str, Any], key: str, file: Path) -> tuple[float, float, float]:
    value = config.get(key)
    if not isinstance(value, list | tuple) or len(value) != 3 or not _finite(value) or not min(value) > 0:
        raise UserInputError(f"'{file}' has the {key} {value!r:.60}, not three numbers above 0; {AGAIN}")
    refuse_huge_numbers(list(value), f"'{file}': {key}")
    first, second, third = map(float, value)
    return first, second, third


def _finite(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
