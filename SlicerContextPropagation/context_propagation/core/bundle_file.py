"""What a bundle says about itself: `bundle.json`, every entry checked by name and type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from context_propagation.core.composition import FarMargin
from context_propagation.core.errors import UserInputError
from context_propagation.core.fusion_network import FusionSettings, Variant

FORMAT = "context-propagation bundle 1"
FILE_NAME = "bundle.json"
COPY_AGAIN = "copy the bundle again from where it was made"

MAX_SLICES, MAX_CHANNELS, MAX_WIDTH = 1000, 4096, 64.0
AXIS_LETTERS = ("LR", "PA", "SI")


@dataclass(frozen=True)
class BaseModel:
    """The frozen model that a bundle stands on: one of `folder` and `reference` is None.

    Attributes:
        sha256: Its `NnunetFolder.content_hash` with the bundle's folds.
        folder: Name of its folder inside the bundle.
        reference: Its absolute path outside the bundle.
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
class BundleDescription:
    """All of `bundle.json`.

    Attributes:
        base: The base model.
        label: Name of the target label.
        orientation: Letters such as "LPS" that images are reoriented to, or None: see `NnunetModel.load`.
        folds: Folds of the base model, in order.
        level: Decoder level of the fused features.
        neighbours: N(s): how many slices on each side take the update.
        far_margin: See `Fusion`.
        fusion: One network per fold, in the order of `folds`.
        fusion_sha256: `Fusion.content_hash`.
        provenance: Where the weights come from: free.
    """

    base: BaseModel
    label: str
    orientation: str | None
    folds: tuple[str, ...]
    level: int
    neighbours: int
    far_margin: FarMargin
    fusion: tuple[FusionFile, ...]
    fusion_sha256: str
    provenance: Mapping[str, Any] = field(default_factory=dict)


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
        "fusion": [{"file": item.file, "settings": plain_settings(item.settings)} for item in description.fusion],
    }
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserInputError(f"The provenance cannot be kept as JSON ({error}); use numbers, text and lists") from error
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def is_bundle(folder: Path) -> bool:
    """Whether a bundle, of any format version and however damaged otherwise, is here."""
    try:
        content = _read_json(folder / FILE_NAME)
    except UserInputError:
        return False
    return isinstance(content, dict) and str(content.get("format")).startswith(FORMAT.rstrip("0123456789"))


def read_description(folder: Path) -> BundleDescription:
    """Read and check `bundle.json`.

    Raises:
        UserInputError: It is missing, damaged or of another format version, or an entry is missing, unknown, of the
            wrong type or out of range.
    """
    file = folder / FILE_NAME
    entries = _Entries(file, _read_json(file))
    found = entries.any("format")
    if found != FORMAT:
        raise UserInputError(
            f"'{file}' has format {found!r:.100}, not {FORMAT!r}; update this program, or make the bundle again"
        )
    description = BundleDescription(
        base=_base(entries.object("base")),
        label=entries.text("label"),
        orientation=_orientation(entries),
        folds=_folds(entries),
        level=entries.whole_number("level", 1, 3),
        neighbours=entries.whole_number("neighbours", 0, MAX_SLICES),
        far_margin=_far_margin(entries.object("far_margin")),
        fusion=tuple(_fusion_file(item) for item in entries.objects("fusion")),
        fusion_sha256=entries.sha256("fusion_sha256"),
        provenance=entries.object("provenance").rest(),
    )
    entries.refuse_the_rest()
    if len(description.fusion) != len(description.folds):
        raise UserInputError(
            f"'{file}': 'fusion' lists {len(description.fusion)} network(s) for {len(description.folds)} fold(s); "
            f"{COPY_AGAIN}"
        )
    return description


def _base(entries: _Entries) -> BaseModel:
    sha256 = entries.sha256("sha256")
    if "reference" in entries:
        base = BaseModel(sha256, reference=entries.text("reference"))
        if not Path(entries.text("reference")).is_absolute():
            entries.refuse("reference", base.reference, "an absolute path")
    else:
        base = BaseModel(sha256, folder=entries.name_inside("folder"))
    entries.refuse_the_rest()
    return base


def _far_margin(entries: _Entries) -> FarMargin:
    margin = FarMargin(entries.number("add", 1), entries.number("remove", 1))
    entries.refuse_the_rest()
    return margin


def _orientation(entries: _Entries) -> str | None:
    letters = entries.any("orientation")
    if letters is None:
        return None
    axes = [axis for letter in str(letters) for axis in AXIS_LETTERS if letter in axis]
    if not isinstance(letters, str) or len(letters) != 3 or sorted(axes) != sorted(AXIS_LETTERS):
        entries.refuse("orientation", letters, "three letters such as LPS, or null")
    return letters


def _folds(entries: _Entries) -> tuple[str, ...]:
    folds = entries.any("folds")
    names = [fold for fold in folds if isinstance(fold, str)] if isinstance(folds, list) else []
    if not names or names != folds or len(set(names)) < len(names) or not all(map(_is_fold, names)):
        entries.refuse("folds", folds, 'a list of different folds such as ["0", "1"]')
    return tuple(names)


def _is_fold(name: str) -> bool:
    return name == "all" or re.fullmatch(r"[0-9]{1,4}", name) is not None


def _fusion_file(entries: _Entries) -> FusionFile:
    settings = entries.object("settings")
    variant = settings.text("variant")
    if variant not in get_args(Variant):
        settings.refuse("variant", variant, f"one of {', '.join(get_args(Variant))}")
    checked = FusionSettings(
        variant=cast(Variant, variant),
        channels=settings.whole_number("channels", 1, MAX_CHANNELS),
        width=settings.number("width", MAX_WIDTH, above_0=True),
    )
    settings.refuse_the_rest()
    found = FusionFile(entries.name_inside("file"), checked)
    entries.refuse_the_rest()
    return found


def _read_json(file: Path) -> Any:
    if not file.is_file():
        raise UserInputError(f"'{file}' is missing; give a bundle's folder, or {COPY_AGAIN}")
    try:
        return json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserInputError(f"'{file}' is not valid JSON ({reason:.200}); {COPY_AGAIN}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


class _Entries:
    """The entries of one JSON object, asked for by name and type; each getter raises `UserInputError`."""

    def __init__(self, file: Path, content: Any, path: str = "") -> None:
        self.file = file
        self.path = path
        if not isinstance(content, dict):
            raise UserInputError(
                f"'{file}' holds {content!r:.100} at '{path.rstrip('.') or 'the top'}', not an object; {COPY_AGAIN}"
            )
        self._content: dict[str, Any] = content
        self._asked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def refuse(self, name: str, value: object, expected: str) -> NoReturn:
        raise UserInputError(f"'{self.file}': '{self.path}{name}' is {value!r:.100}, not {expected}; {COPY_AGAIN}")

    def refuse_the_rest(self) -> None:
        for name in sorted(self._content.keys() - self._asked):
            raise UserInputError(f"'{self.file}' has the unknown entry {self.path + name!r:.100}; {COPY_AGAIN}")

    def rest(self) -> dict[str, Any]:
        return self._content

    def any(self, name: str) -> Any:
        self._asked.add(name)
        if name not in self._content:
            raise UserInputError(f"'{self.file}' lacks the entry '{self.path}{name}'; {COPY_AGAIN}")
        return self._content[name]

    def text(self, name: str) -> str:
        value = self.any(name)
        if not isinstance(value, str) or not value:
            self.refuse(name, value, "text")
        return value

    def sha256(self, name: str) -> str:
        value = self.text(name)
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            self.refuse(name, value, "a SHA-256 of 64 hexadecimal digits")
        return value

    def name_inside(self, name: str) -> str:
        """A plain name: neither an absolute path nor one that leaves the bundle."""
        value = self.text(name)
        if not re.fullmatch(r"\w[\w.-]*", value, re.ASCII):
            self.refuse(name, value, "a plain name inside the bundle")
        return value

    def whole_number(self, name: str, least: int, most: int) -> int:
        value = self.any(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(name, value, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, most: float, above_0: bool = False) -> float:
        value = self.any(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
            self.refuse(name, value, f"a number from 0 to {most:g}")
        if above_0 and value == 0:
            self.refuse(name, value, "a number above 0")
        return float(value)

    def object(self, name: str) -> _Entries:
        return _Entries(self.file, self.any(name), f"{self.path}{name}.")

    def objects(self, name: str) -> Sequence[_Entries]:
        values = self.any(name)
        if not isinstance(values, list):
            self.refuse(name, values, "a list")
        return [_Entries(self.file, value, f"{self.path}{name}[{number}].") for number, value in enumerate(values)]
