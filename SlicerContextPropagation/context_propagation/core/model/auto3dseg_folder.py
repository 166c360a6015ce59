"""Models of Slicer's extension MONAI Auto3DSeg: SegResNetDS with its configuration in one checkpoint, read as data.

Source: SlicerMONAIAuto3DSeg, Scripts/auto3dseg_segresnet_inference.py: preprocessing, windows and labels are as there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError, _line
from context_propagation.core.model.auto3dseg_files import (
    AGAIN,
    BRATS,
    KIND,
    LABELS,
    MODEL,
    WHOLE_HEAD,
    channel_count,
    channel_names,
    kind_in_extension,
    label_names,
    require_plain,
)
from context_propagation.core.model.auto3dseg_preprocessing import read_transforms, three
from context_propagation.core.model.auto3dseg_regions import read_regions
from context_propagation.core.model.largest_components import LargestComponents
from context_propagation.core.model.monai_preprocessing import MonaiPreprocessing
from context_propagation.core.model.network_model import NetworkModel, Output, SlidingWindow
from context_propagation.core.model.nnunet_checkpoint import load_weights_only
from context_propagation.core.model.target import Target, chosen_label
from context_propagation.core.network.traced_split import TracedSplit
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.own_files import refuse_foreign_file
from context_propagation.core.storage.sound_weights import built_for, refuse_huge_numbers, refuse_unsound_weights

FOLD = "all"


OVERLAP = (0.625, 0.625, 0.625)


PARTS_OF_HEAD = 2
"""So many parts of a label are kept by the extension's models of the whole head: most labels there are pairs."""


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
    file, kind = folder / MODEL, kind_in_extension(folder)
    config, weights = _read(file)
    described = _network_arguments(config, file)
    channels = channel_names(config, channel_count(described, "in_channels", 1, file), kind)
    output = _output(folder, config, channel_count(described, "out_channels", 2, file), kind, label)
    d, h, w = (int(n) for n in three(config, "roi_size", file))
    network = _network(described, weights, file).to(chosen)
    transforms = read_transforms(config, len(channels), kind == BRATS, file)
    generator = torch.Generator().manual_seed(0)
    example = torch.rand((1, len(channels), d, h, w), generator=generator).to(chosen)
    texts = {"config": _as_text(config, file), LABELS: (folder / LABELS).read_bytes()}
    if kind:
        texts[KIND] = kind.encode()
    return NetworkModel(
        [TracedSplit(network, example)],
        MonaiPreprocessing(tuple(transforms), tuple(channels)),
        output,
        patch_size=(d, h, w),
        content_hash=content_hash(texts, [weights]),
        device=chosen,
        orientation="RAS" if config.get("orientation_ras") else orientation,
        folds=(FOLD,),
        sliding_window=SlidingWindow(OVERLAP),
        largest=LargestComponents(PARTS_OF_HEAD) if kind == WHOLE_HEAD else None,
    )


def copy_auto3dseg_folder(source: Path, destination: Path) -> None:
    """Copy what inference needs; the copy has the same content hash."""
    destination.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, LABELS):
        shutil.copyfile(source / name, destination / name)
    (destination / KIND).write_text(kind_in_extension(source))  # also if empty: the copy's own name says nothing


def _read(file: Path) -> tuple[dict[str, Any], Mapping[str, torch.Tensor]]:
    content = load_weights_only(file, "Auto3DSeg")
    config, weights = (content.get(key) if isinstance(content, dict) else None for key in ("config", "state_dict"))
    if not isinstance(config, dict) or not isinstance(weights, dict):
        raise UserInputError(
            f"'{file}' is no checkpoint of Auto3DSeg's SegResNet: it lacks config or state_dict; {AGAIN}"
        )
    require_plain(config, file)
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserInputError(f"The network weights in '{file}' are not tensors; {AGAIN}")
    refuse_unsound_weights(file, weights, AGAIN)
    return config, weights


def _as_text(config: dict[str, Any], file: Path) -> bytes:
    try:
        return json.dumps(config, sort_keys=True, default=str).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UserInputError(f"The configuration in '{file}' is no plain table ({_line(error)}); {AGAIN}") from error


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
        raise UserInputError(
            f"'{file}' holds a network of spatial_dims {described['spatial_dims']!r:.60}; give one of 3"
        )
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


def _output(folder: Path, config: Mapping[str, Any], channels: int, kind: str, label: str | int | None) -> Output:
    names = label_names(folder)
    if config.get("sigmoid", False):
        regions = read_regions(folder, config, names, channels, kind)
        number = chosen_label(regions.names, [v[0] if len(v) == 1 else v for v in regions.members], label)
        target = Target(
            regions.names[number], number, regions.label(number), regions.other_training(number), regions.outer(number)
        )
        return Output(regions.names, target.name, "sigmoid", target)
    lacking = [value for value in range(1, channels) if value not in names]
    if lacking or max(names) >= channels:
        raise UserInputError(
            f"'{folder / MODEL}' has {channels - 1} labels and {LABELS} names {', '.join(map(str, sorted(names)))}; "
            "correct it"
        )
    return Output.of(["background", *(names[value] for value in range(1, channels))], label)
