"""What a bundle says about itself: `bundle.json`, every entry checked by name and type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from torch import nn

from context_propagation.core.bundle.thresholds_entry import plain_thresholds, read_thresholds
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.far_evidence import MAPS, NUMBERS
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_network import FusionNetwork
from context_propagation.core.propagation.fusion_settings import FusionSettings, Variant
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.core.propagation.trained_fusion import build_fusion_network
from context_propagation.core.storage.checked_entries import Entries, has_format, read_json
from context_propagation.core.storage.weights_file import read_weights

FORMAT = "context-propagation bundle 1"


FILE_NAME = "bundle.json"


COPY_AGAIN = "copy the bundle again from where it was made"


MAX_SLICES, MAX_CHANNELS, MAX_WIDTH = 1000, 4096, 64.0


@dataclass(frozen=True)
class BundledModel:
    """The frozen model that a bundle stands on: one of `folder` and `reference` is None.

    Attributes:
        sha256: Its `SegmentationModel.content_hash` with the bundle's folds.
        folder: Name of its folder inside the bundle.
        reference: Its absolute path outside the bundle, on the same computer.
    """

    sha256: str
    folder: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class FusionFile:
    """Where one fold's fusion network is, and its architecture."""

    file: str
    settings: FusionSettings


@dataclass(frozen=True)
class GeneralFile:
    """Where a general far network that was trained further is, and its hidden channels."""

    file: str
    width: int


@dataclass(frozen=True)
class BundleDescription:
    """All of `bundle.json`.

    Attributes:
        base: The base model.
        label: Name of the target label.
        orientation: Letters such as "LPS" that images are reoriented to, or None: see `load_base_model`.
        folds: Folds of the base model, in order.
        level: Decoder level of the fused features.
        neighbours: N(s): how many slices on each side take the update.
        far_thresholds: See `Fusion`.
        fusion: One network per fold, in the order of `folds`; none where there is `general`.
        fusion_sha256: `Fusion.content_hash`, or that of `TunedGeneral`.
        provenance: Where the weights come from: free.
        general: In place of fusion networks the general far network, trained further.
    """

    base: BundledModel
    label: str
    orientation: str | None
    folds: tuple[str, ...]
    level: int
    neighbours: int
    far_thresholds: FarThresholds
    fusion: tuple[FusionFile, ...]
    fusion_sha256: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    general: GeneralFile | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Of the weights."""
        return tuple(item.file for item in self.fusion) if self.general is None else (self.general.file,)


def plain_settings(settings: FusionSettings) -> dict[str, Any]:
    """An architecture as a bundle keeps it: never with what an oracle is told."""
    return {"variant": settings.variant, "channels": settings.channels, "width": float(settings.width)}


def write_description(folder: Path, description: BundleDescription) -> None:
    """Write `bundle.json`.

    Raises:
        UserInputError: JSON cannot hold the provenance.
        OSError: The file cannot be written.
    """
    content = {
        "format": FORMAT,
        **asdict(description),
        "base": {name: value for name, value in asdict(description.base).items() if value is not None},
        "far_thresholds": plain_thresholds(description.far_thresholds),
        "fusion": [{"file": item.file, "settings": plain_settings(item.settings)} for item in description.fusion],
    }
    if description.general is None:
        del content["general"]
    else:
        content["general"] = {**asdict(description.general), "maps": MAPS, "numbers": NUMBERS}
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserInputError(f"The provenance cannot be kept as JSON ({error}); use numbers, text and lists") from error
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def is_bundle(folder: Path) -> bool:
    """Whether a bundle, of any format version and however damaged otherwise, is here."""
    return has_format(folder / FILE_NAME, FORMAT)


def read_description(folder: Path) -> BundleDescription:
    """Read and check `bundle.json`.

    Raises:
        UserInputError: It is missing, damaged or of another format version, or an entry is missing, unknown, of the
            wrong type or out of range.
    """
    file = folder / FILE_NAME
    entries = Entries(file, read_json(file, f"give a bundle's folder, or {COPY_AGAIN}"), COPY_AGAIN)
    found = entries.any("format")
    if found != FORMAT:
        raise UserInputError(
            f"'{file}' has format {found!r:.100}, not {FORMAT!r}; update this program, or make the bundle again"
        )
    description = BundleDescription(
        base=_base(entries.object("base")),
        label=entries.text("label"),
        orientation=entries.orientation("orientation"),
        folds=_folds(entries),
        level=entries.whole_number("level", 1, 3),
        neighbours=entries.whole_number("neighbours", 0, MAX_SLICES),
        far_thresholds=read_thresholds(entries.object("far_thresholds")),
        fusion=tuple(_fusion_file(item) for item in entries.objects("fusion")),
        fusion_sha256=entries.sha256("fusion_sha256"),
        provenance=entries.object("provenance").rest(),
        general=_general_file(entries.object("general")) if "general" in entries else None,
    )
    entries.refuse_the_rest()
    if len(description.fusion) != (len(description.folds) if description.general is None else 0):
        raise UserInputError(
            f"'{file}': 'fusion' lists {counted(len(description.fusion), 'network')} for "
            f"{counted(len(description.folds), 'fold')}; "
            f"{COPY_AGAIN}"
        )
    return description


def _base(entries: Entries) -> BundledModel:
    sha256 = entries.sha256("sha256")
    if "reference" in entries:
        base = BundledModel(sha256, reference=_reference(entries))
    else:
        base = BundledModel(sha256, folder=entries.name_inside("folder"))
    entries.refuse_the_rest()
    return base


def _reference(entries: Entries) -> str:
    """An absolute path on this computer: only to look at a path on another one would contact it."""
    reference = entries.text("reference")
    if re.match(r"[\\/]{2}", reference):
        raise UserInputError(
            f"'{entries.file}' refers to the base model on the network, {reference!r:.300}; "
            "copy the model to this computer, and correct 'reference'"
        )
    if not Path(reference).is_absolute():
        entries.refuse("reference", reference, "an absolute path")
    return reference


def _folds(entries: Entries) -> tuple[str, ...]:
    folds = entries.any("folds")
    names = [fold for fold in folds if isinstance(fold, str)] if isinstance(folds, list) else []
    if not names or names != folds or len(set(names)) < len(names) or not all(map(_is_fold, names)):
        entries.refuse("folds", folds, 'a list of different folds such as ["0", "1"]')
    return tuple(names)


def _is_fold(name: str) -> bool:
    return name == "all" or re.fullmatch(r"[0-9]{1,4}", name) is not None


def _fusion_file(entries: Entries) -> FusionFile:
    settings = entries.object("settings")
    variant = settings.choice("variant", get_args(Variant))
    checked = FusionSettings(
        variant=cast(Variant, variant),
        channels=settings.whole_number("channels", 1, MAX_CHANNELS),
        width=settings.number("width", MAX_WIDTH, above_0=True),
    )
    settings.refuse_the_rest()
    found = FusionFile(entries.name_inside("file"), checked)
    entries.refuse_the_rest()
    return found


def _general_file(entries: Entries) -> GeneralFile:
    for name, wanted in (("maps", MAPS), ("numbers", NUMBERS)):
        entries.whole_number(name, wanted, wanted)
    found = GeneralFile(entries.name_inside("file"), entries.whole_number("width", 1, MAX_CHANNELS))
    entries.refuse_the_rest()
    return found


def write_network(file: Path, network: nn.Module) -> None:
    """Write a network's weights.

    Raises:
        OSError: The file cannot be written.
    """
    serialize = require("safetensors.torch", extra="nnunet").save  # its save_file would let only this user read them
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    file.write_bytes(serialize(tensors))


def read_network(file: Path, settings: FusionSettings) -> FusionNetwork:
    """Read a network; nothing is allocated before the names, types and shapes of its tensors are right.

    Returns:
        The network on the CPU, in eval mode, without gradients for the weights.

    Raises:
        UserInputError: The file is damaged, its tensors are not those of this architecture, or not finite.
    """
    return read_weights(file, lambda: build_fusion_network(settings), COPY_AGAIN)


def read_general(file: Path, width: int) -> GeneralFarNetwork:
    """The same for a general far network with so many hidden channels; see `read_network`."""
    return read_weights(file, lambda: GeneralFarNetwork(width), COPY_AGAIN)
