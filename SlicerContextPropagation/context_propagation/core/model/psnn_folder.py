"""A PSNN, or a chain of PSNNs, on disk: `psnn.json` and one safetensors file per fold; nothing in it is code."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.model.network_model import NetworkModel, Output
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.network.psnn import Factors, Psnn, PsnnChain, PsnnSettings, chain_of
from context_propagation.core.network.psnn_split import ChainSplit, PsnnSplit
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.checked_entries import Entries, has_format, read_json
from context_propagation.core.storage.content_hash import content_hash
from context_propagation.core.storage.weights_file import read_weights

FORMAT = "context-propagation psnn 1"


FILE_NAME = "psnn.json"


COPY_AGAIN = "copy the folder again from where it was made, or train again"


MAX_CLASSES, MAX_CHANNELS, MAX_PATCH, MAX_SPACING_MM, MAX_VALUE = 64, 1024, 1024, 100.0, 1e9


NORMALISATIONS = ("none", "z-score", "clip and scale")


@dataclass(frozen=True)
class PsnnDescription:
    """All of `psnn.json`.

    Attributes:
        chain: A chain of two streams and a late fusion; else one network.
        architecture: Of the network, or of each of the chain's, which differ only in what they read.
        preprocessing: The image channels, and the voxel size of the network's grid.
        patch_size: (D, H, W) that the network was trained on.
        labels: Names of the foreground labels; the background is not named.
        orientation: Letters such as "LPS" that images are reoriented to, or None.
        provenance: Where the weights come from: free, not part of the content hash.
    """

    chain: bool
    architecture: PsnnSettings
    preprocessing: Preprocessing
    patch_size: tuple[int, int, int]
    labels: tuple[str, ...]
    orientation: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        channels = len(self.preprocessing.channels)
        if channels != (2 if self.chain else self.architecture.in_channels):
            raise UserInputError(
                f"{counted(channels, 'image channel')} for a {'chain' if self.chain else 'network'} that reads "
                f"{2 if self.chain else self.architecture.in_channels}; describe each channel"
            )
        if len(self.labels) != self.architecture.classes - 1:
            raise UserInputError(
                f"{counted(len(self.labels), 'label')} for {self.architecture.classes} classes, one of them the "
                "background; name each label once"
            )
        strides = self.architecture.total_stride
        if any(n % stride for n, stride in zip(self.patch_size, strides, strict=True)):
            raise UserInputError(f"The patch size {self.patch_size} is not a multiple of {strides}; give one that is")

    def build(self) -> Psnn | PsnnChain:
        """A network with fresh weights."""
        return chain_of(self.architecture) if self.chain else Psnn(self.architecture)

    def content(self) -> dict[str, Any]:
        """As JSON holds it, without the provenance."""
        architecture = asdict(self.architecture)
        if self.chain:
            del architecture["in_channels"]
        return {
            "format": FORMAT,
            "architecture": {"kind": "chain" if self.chain else "psnn", **architecture},
            "channels": [_plain_channel(channel) for channel in self.preprocessing.channels],
            "spacing_mm": self.preprocessing.spacing_mm,
            "patch_size": self.patch_size,
            "labels": self.labels,
            "orientation": self.orientation,
        }


def save_psnn_folder(
    folder: Path | str, description: PsnnDescription, networks: Mapping[str, Psnn | PsnnChain]
) -> None:
    """Write a folder that does not exist yet, or is empty.

    Args:
        folder: Where to write; its parent exists.
        description: What the networks are.
        networks: By fold: "all", or "0", "1", ....

    Raises:
        UserInputError: A fold's name is none, or JSON cannot hold the provenance.
        MissingDependencyError: safetensors is not installed.
        OSError: A file cannot be written.
    """
    folder = Path(folder)
    serialize = require("safetensors.torch", extra="nnunet").save
    for fold in networks:
        if not _is_fold(fold):
            raise UserInputError(f"'{fold}' is not the name of a fold; choose all, or a number")
    try:
        content = {**description.content(), "provenance": description.provenance}
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise UserInputError(f"The provenance cannot be kept as JSON ({error}); use numbers, text and lists") from error
    folder.mkdir(exist_ok=True)
    for fold, network in networks.items():
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
        (folder / _weights_name(fold)).write_bytes(serialize(tensors))
    (folder / FILE_NAME).write_text(text, encoding="utf-8")


def load_psnn_folder(
    folder: Path | str,
    label: str | int | None = None,
    device: str = "auto",
    folds: Sequence[str | int] | None = None,
    orientation: str | None = None,
) -> NetworkModel:
    """Load a folder; no code in it is run.

    Args:
        folder: Holds `psnn.json` and `fold_*.safetensors`.
        label: Name or value of the label to refine; not needed where there is only one.
        device: "auto", "cpu", "cuda" or "mps".
        folds: Folds to average; all by default.
        orientation: Orientation of the training arrays where the folder does not say it: see `NnunetModel.load`.

    Raises:
        UserInputError: The folder cannot be used, the label or a fold is unknown, or the device is missing.
        MissingDependencyError: safetensors is not installed.
    """
    folder = Path(folder)
    chosen = select_device(device)
    description = read_psnn_description(folder)
    output = Output.of(("background", *description.labels), label)
    files = psnn_weights(folder, folds)
    networks = [read_weights(file, description.build, COPY_AGAIN).to(chosen) for file in files.values()]
    text = json.dumps(description.content(), sort_keys=True).encode()
    return NetworkModel(
        [ChainSplit(network) if isinstance(network, PsnnChain) else PsnnSplit(network) for network in networks],
        description.preprocessing,
        output,
        patch_size=description.patch_size,
        content_hash=content_hash({FILE_NAME: text}, [network.state_dict() for network in networks]),
        device=chosen,
        orientation=description.orientation or orientation,
        loss="dice",
        folds=tuple(files),
    )


def copy_psnn_folder(source: Path | str, destination: Path | str, folds: Sequence[str | int] | None = None) -> None:
    """Copy what inference needs, for a bundle; the copy's content hash is the original's with these folds.

    Args:
        source: A folder that `load_psnn_folder` loads.
        destination: Folder that is made.
        folds: Folds to copy; all by default.

    Raises:
        UserInputError: The folder cannot be used, or a fold is missing.
        OSError: A file cannot be read or written.
    """
    source, destination = Path(source), Path(destination)
    read_psnn_description(source)
    files = psnn_weights(source, folds)
    destination.mkdir()
    for file in (source / FILE_NAME, *files.values()):
        shutil.copyfile(file, destination / file.name)


def psnn_weights(folder: Path, folds: Sequence[str | int] | None = None) -> dict[str, Path]:
    """The weight files by fold, in the order asked for; all of them, in order, by default.

    Raises:
        UserInputError: There is none, or a fold is missing or named twice.
    """
    found = {
        file.name.removeprefix("fold_").removesuffix(".safetensors"): file
        for file in sorted(folder.glob("fold_*.safetensors"))
        if file.is_file()
    }
    names = [name for name in found if _is_fold(name)]
    names.sort(key=lambda name: (name == "all", int(name) if name != "all" else 0))
    if not names:
        raise UserInputError(f"'{folder}' holds no fold_*.safetensors; {COPY_AGAIN}")
    chosen = names if folds is None else [re.sub("^fold_", "", str(fold)) for fold in folds]
    if not chosen or len(set(chosen)) < len(chosen):
        raise UserInputError(f"The folds are {', '.join(chosen) or 'none'}; name each fold once")
    for name in chosen:
        if name not in names:
            raise UserInputError(f"'{folder}' has no fold '{name}'; it has {', '.join(names)}")
    return {name: found[name] for name in chosen}


# ---- psnn.json


def is_psnn_folder(folder: Path) -> bool:
    """Whether a folder of this kind, of any format version and however damaged otherwise, is here."""
    return has_format(folder / FILE_NAME, FORMAT)


def read_psnn_description(folder: Path) -> PsnnDescription:
    """Read and check `psnn.json`.

    Raises:
        UserInputError: It is missing, damaged or of another format version, or an entry is missing, unknown, of the
            wrong type or out of range.
    """
    file = folder / FILE_NAME
    entries = Entries(file, read_json(file, f"give the folder that a training wrote, or {COPY_AGAIN}"), COPY_AGAIN)
    found = entries.any("format")
    if found != FORMAT:
        raise UserInputError(f"'{file}' has format {found!r:.100}, not {FORMAT!r}; update this program, or train again")
    channels = tuple(_channel(item) for item in entries.objects("channels"))
    chain, architecture = _architecture(entries.object("architecture"), len(channels))
    spacing_mm = _triple(entries, "spacing_mm", MAX_SPACING_MM)
    d, h, w = (int(n) for n in _triple(entries, "patch_size", MAX_PATCH, whole=True))
    labels = _names(entries, "labels", entries.list("labels"))
    orientation = entries.orientation("orientation")
    provenance = entries.object("provenance").rest()
    entries.refuse_the_rest()
    try:
        preprocessing = Preprocessing(spacing_mm, channels)
        return PsnnDescription(chain, architecture, preprocessing, (d, h, w), labels, orientation, provenance)
    except UserInputError as error:
        raise UserInputError(f"'{file}': {error}; {COPY_AGAIN}") from error


def _plain_channel(channel: ChannelNormalisation) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": channel.name, "normalisation": channel.kind}
    if channel.kind == "clip and scale":
        plain |= {name: float(getattr(channel, name)) for name in ("low", "high", "mean", "std")}
    return plain


def _channel(entries: Entries) -> ChannelNormalisation:
    name = entries.text("name")
    kind = entries.choice("normalisation", NORMALISATIONS)
    values: dict[str, float] = {}
    if kind == "clip and scale":
        values = {entry: _value(entries, entry) for entry in ("low", "high", "mean", "std")}
    entries.refuse_the_rest()
    try:
        return ChannelNormalisation(name, cast(Literal["none", "z-score", "clip and scale"], kind), **values)
    except UserInputError as error:
        raise UserInputError(f"'{entries.file}': {error}; {COPY_AGAIN}") from error


def _value(entries: Entries, name: str) -> float:
    value = entries.any(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_VALUE:
        entries.refuse(name, value, f"a number from {-MAX_VALUE:g} to {MAX_VALUE:g}")
    return float(value)


def _architecture(entries: Entries, image_channels: int) -> tuple[bool, PsnnSettings]:
    chain = entries.choice("kind", ("psnn", "chain")) == "chain"
    in_channels = image_channels if chain else entries.whole_number("in_channels", 1, MAX_CHANNELS)
    classes = entries.whole_number("classes", 2, MAX_CLASSES)
    channels = entries.list("channels")
    if not all(_is_whole(n, MAX_CHANNELS) for n in channels):
        entries.refuse("channels", channels, f"a list of whole numbers from 1 to {MAX_CHANNELS}")
    poolings = entries.list("poolings")
    if not all(isinstance(p, list) and len(p) == 3 and all(_is_whole(n, 4) for n in p) for p in poolings):
        entries.refuse("poolings", poolings, "a list of three factors each")
    entries.refuse_the_rest()
    factors = tuple(cast(Factors, tuple(pooling)) for pooling in poolings)
    try:
        return chain, PsnnSettings(in_channels, classes, tuple(channels), factors)
    except UserInputError as error:
        raise UserInputError(f"'{entries.file}': {error}; {COPY_AGAIN}") from error


def _triple(entries: Entries, name: str, most: float, whole: bool = False) -> tuple[float, float, float]:
    """Three numbers above 0."""
    values = entries.list(name)
    fits = [_is_whole(n, int(most)) if whole else _is_positive(n, most) for n in values]
    if len(values) != 3 or not all(fits):
        entries.refuse(name, values, f"three {'whole ' if whole else ''}numbers above 0 and at most {most:g}")
    first, second, third = values
    return first, second, third


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_positive(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most


def _names(entries: Entries, name: str, values: Sequence[Any]) -> tuple[str, ...]:
    found = [value for value in values if isinstance(value, str) and value and value != "background"]
    if not found or len(set(found)) < len(values):
        entries.refuse(name, values, "a list of different names, without the background")
    return tuple(found)


# ---- weights


def _weights_name(fold: str) -> str:
    return f"fold_{fold}.safetensors"


def _is_fold(name: str) -> bool:
    return name == "all" or re.fullmatch(r"0|[1-9][0-9]{0,3}", name) is not None
