"""What a model folder says about itself, read from its small files alone: no weights, no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, WHOLE_VOLUME
from context_propagation.core.model.auto3dseg_files import (
    channel_count,
    channel_names,
    described_config,
    kind_in_extension,
    label_names,
)
from context_propagation.core.model.auto3dseg_regions import read_regions
from context_propagation.core.model.model_kinds import PSNN_FILE, Kind, kind_of

MAX_JSON_BYTES = 20_000_000


KIND_NAMES: dict[Kind, str] = {"psnn": "PSNN", "monai": "MONAI", "auto3dseg": "MONAI Auto3DSeg", "nnunet": "nnU-Net"}


@dataclass(frozen=True)
class ModelDescription:
    """What a list of models shows.

    Attributes:
        path: The folder.
        kind: "nnU-Net", "PSNN" or "MONAI", of the base model.
        architecture: The network's class or layout, as far as the files say.
        channels: Names of the image channels, in order.
        labels: Names of the labels that can be refined.
        label: The label that a bundle refines; empty where one has to be chosen.
        size_bytes: Of all files in the folder.
        reach: "whole volume (trained for this model)" of a bundle, else "near slices only".
        validation: A line with the figures that a bundle's training left, or empty.
    """

    path: Path
    kind: str
    architecture: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    label: str
    size_bytes: int
    reach: str
    validation: str

    @property
    def summary(self) -> str:
        """All of it in a few lines, for people."""
        lines = [
            f"{self.kind}: {self.architecture}",
            f"channels: {', '.join(self.channels)}",
            f"label: {self.label or 'one of ' + ', '.join(self.labels)}",
            f"edits reach: {self.reach}",
            f"size: {self.size_bytes / 1e6:.1f} MB",
        ]
        return "\n".join([*lines, self.validation] if self.validation else lines)


def describe_model(path: str | Path) -> ModelDescription:
    """Describe a bundle, or a trained-model folder of nnU-Net v2, a PSNN, or a MONAI bundle.

    Raises:
        UserInputError: The folder holds none of them, or its files cannot be read.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            raise UserInputError(f"'{path}' is not a folder; give a bundle, or a trained model's folder")
        return _bundle(path) if (path / "bundle.json").is_file() else _base(path, path)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OSError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(
            f"The files in '{path}' do not describe a model ({error!r:.100}); copy it again"
        ) from error


def _bundle(path: Path) -> ModelDescription:
    bundle = _json(path / "bundle.json")
    base = bundle["base"]
    folder = path / base["folder"] if "folder" in base else Path(base["reference"])
    described = _base(folder, path)
    return ModelDescription(
        path=path,
        kind=described.kind,
        architecture=described.architecture,
        channels=described.channels,
        labels=(bundle["label"],),
        label=str(bundle["label"]),
        size_bytes=described.size_bytes,
        reach=WHOLE_VOLUME,
        validation=_validation(bundle.get("provenance", {}).get("validation")),
    )


def _base(folder: Path, path: Path) -> ModelDescription:
    kind = kind_of(folder)
    if kind == "psnn":
        architecture, channels, labels = _psnn(_json(folder / PSNN_FILE))
    elif kind == "monai":
        architecture, channels, labels = _monai(folder)
    elif kind == "auto3dseg":
        architecture, channels, labels = _auto3dseg(folder)
    elif (folder / "plans.json").is_file() and (folder / "dataset.json").is_file():
        architecture, channels, labels = _nnunet(folder)
    else:
        raise UserInputError(
            f"'{folder}' is not a model's folder; choose one that holds bundle.json, plans.json and dataset.json "
            "(nnU-Net), psnn.json, configs/metadata.json (MONAI), or model.pt and labels.csv (MONAI Auto3DSeg)"
        )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    only = labels[0] if len(labels) == 1 else ""
    return ModelDescription(path, KIND_NAMES[kind], architecture, channels, labels, only, size, NEAR_SLICES_ONLY, "")


_Facts = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Architecture, channels, labels."""


def _nnunet(folder: Path) -> _Facts:
    plans, dataset = _json(folder / "plans.json"), _json(folder / "dataset.json")
    names = dataset.get("channel_names") or dataset["modality"]
    channels = tuple(str(names[key]) for key in sorted(names, key=int))
    labels = tuple(str(name) for name in dataset["labels"] if name not in ("background", "ignore"))
    configuration = plans["configurations"].get("3d_fullres", {})
    named = configuration.get("architecture", {}).get("network_class_name") or configuration.get("UNet_class_name")
    return str(named or "U-Net").rsplit(".", 1)[-1], channels, labels


def _psnn(content: dict[str, Any]) -> _Facts:
    chain = content["architecture"]["kind"] == "chain"
    channels = tuple(str(channel["name"]) for channel in content["channels"])
    return "two-stream chain of PSNNs" if chain else "PSNN", channels, tuple(str(name) for name in content["labels"])


def _monai(folder: Path) -> _Facts:
    metadata = _json(folder / "configs" / "metadata.json")
    channels = _channel_def(metadata, "inputs", "image")
    labels = [name for name in _channel_def(metadata, "outputs", "pred") if name.lower() != "background"]
    return str(metadata.get("name", "network")), tuple(channels) or ("image",), tuple(labels) or ("label 1",)


def _auto3dseg(folder: Path) -> _Facts:
    config, names, kind = described_config(folder), label_names(folder), kind_in_extension(folder)
    network = config["network"]
    channels = channel_names(config, channel_count(network, "in_channels", 1, folder), kind)
    labels = tuple(names[value] for value in sorted(names))
    if config.get("sigmoid", False):
        labels = read_regions(folder, config, names, channel_count(network, "out_channels", 2, folder), kind).names
    return str(network.get("_target_", "network")).rpartition(".")[2], tuple(channels), labels


def _channel_def(metadata: dict[str, Any], side: str, name: str) -> list[str]:
    names: Any = metadata
    for part in ("network_data_format", side, name, "channel_def"):
        names = names.get(part) if isinstance(names, dict) else None
    return [str(names[key]) for key in sorted(names, key=int)] if isinstance(names, dict) else []


def _validation(validation: Any) -> str:
    """The whole-volume DSC of the rows that matter, worst slice edited; nothing where the provenance has no figures."""
    dsc = validation.get("dsc") if isinstance(validation, dict) else None
    if not isinstance(dsc, dict):
        return ""
    rows = ("baseline", "update", "fusion", "no-edit control")
    means = {row: dsc.get(f"worst, whole, {row}") for row in rows}
    found = [f"{row} {mean:.3f}" for row, mean in means.items() if isinstance(mean, float)]
    return f"validation DSC, {validation.get('cases', '?')} cases: {', '.join(found)}" if found else ""


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.exists() and not file.is_file():
            raise UserInputError(f"'{file}' is no ordinary file; put a copy of the file in its place")
        if file.stat().st_size > MAX_JSON_BYTES:
            raise UserInputError(f"'{file}' is too large for a description; choose another folder")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(f"'{file}' cannot be read ({error!s:.100}); copy the model again") from error
    if not isinstance(content, dict):
        raise UserInputError(f"'{file}' does not hold a JSON object; copy the model again")
    return content
