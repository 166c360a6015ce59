"""What a model of Slicer's extension MONAI Auto3DSeg says of itself: read without torch, and nothing in it is run."""

from __future__ import annotations

import csv
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from context_propagation.core.errors import UserInputError

MODEL, LABELS = "model.pt", "labels.csv"


KIND = "auto3dseg_kind.txt"
"""Written into a copy: the kind that the model's folder was named after."""


BRATS, WHOLE_HEAD = "brats", "whole-head"
"""Two kinds of model that the extension's script treats in ways of its own; it knows them by the name of the folder."""


BRATS_IMAGES = ("T2F", "T1C", "T1N", "T2W")
"""The extension's order of the images, as it asks for them."""


USED = (
    *("network", "modality", "extra_modalities", "normalize_mode", "intensity_bounds", "crop_foreground"),
    *("orientation_ras", "resample_resolution", "roi_size", "sigmoid", "class_index", "class_names"),
)
"""Entries of a configuration that decide on anything here."""


SWITCHES = ("crop_foreground", "orientation_ras", "sigmoid")


MOST_PICKLE_BYTES, MOST_TEXT_BYTES = 20_000_000, 1_000_000


AGAIN = "download the model again and unzip it"


def is_auto3dseg(folder: Path) -> bool:
    """Whether a folder holds such a model: the checkpoint of Auto3DSeg's SegResNet and the names of its labels."""
    return (folder / MODEL).is_file() and (folder / LABELS).is_file()


def kind_in_extension(folder: Path) -> str:
    """`BRATS` or `WHOLE_HEAD` where the folder's name has it, or the one around has it with a version; else empty.

    Raises:
        UserInputError: The folder is a copy, and what it says of this cannot be read.
    """
    file, kinds = folder / KIND, (BRATS, WHOLE_HEAD)
    if not file.exists():
        own, around = folder.resolve().name.lower(), folder.resolve().parent.name.lower()
        return next((kind for kind in kinds if kind in own or re.fullmatch(rf"{kind}-.*v\d+\.\d+\.\d+", around)), "")
    kind = file.read_bytes()[:100].decode(errors="replace").strip() if file.is_file() else None
    if kind not in (*kinds, ""):
        raise UserInputError(f"'{file}' holds {kind!r:.60}, not {' or '.join(kinds)} or nothing; copy the model again")
    return str(kind)


def label_names(folder: Path) -> dict[int, str]:
    """The names of `labels.csv` by value; the background is not among them.

    Raises:
        UserInputError: It cannot be read, or a value is no whole number above 0.
    """
    file = folder / LABELS
    try:
        if file.stat().st_size > MOST_TEXT_BYTES:
            raise UserInputError(f"'{file}' is too large for a list of labels; {AGAIN}")
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = [(int(row["LabelValue"]), str(row["Name"]).strip()) for row in csv.DictReader(text)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(f"'{file}' is no table with LabelValue and Name ({error!r:.80}); {AGAIN}") from error
    names = dict(rows)
    twice = len(names) < len(rows)
    names.pop(0, None)
    if twice or not names or min(names) < 1 or not all(names.values()) or len(set(names.values())) < len(names):
        raise UserInputError(f"'{file}' does not name each label once, with a value above 0; {AGAIN}")
    return names


def require_plain(config: dict[str, Any], file: Path) -> None:
    """What is used of a configuration is plain: numbers, texts, lists and tables of them.

    Raises:
        UserInputError: It is not; the message names the entry.
    """
    for key in USED:
        value = config.get(key)
        if not _is_plain(value):
            raise UserInputError(f"'{file}': '{key}' of its configuration is no plain value ({value!r:.60}); {AGAIN}")
    for key in SWITCHES:
        if config.get(key) not in (None, True, False):
            raise UserInputError(f"'{file}': '{key}' is {config[key]!r:.60}, neither true nor false; {AGAIN}")


def _is_plain(value: Any, deepest: int = 8) -> bool:
    if isinstance(value, (list, tuple)):
        return deepest > 0 and all(_is_plain(one, deepest - 1) for one in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and _is_plain(list(value.values()), deepest)
    return value is None or isinstance(value, (bool, int, float, str))


def channel_count(network: Any, key: str, usual: int, file: Path) -> int:
    """A number of channels in the description of the network.

    Raises:
        UserInputError: It is no whole number above 0.
    """
    count = network.get(key, usual) if isinstance(network, dict) else usual
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UserInputError(f"'{file}': {key} of the network is {count!r:.60}, no whole number above 0; {AGAIN}")
    return count


def channel_names(config: Any, count: int, kind: str) -> list[str]:
    """The image channels, as far as a configuration names them, or the extension for its models of a kind."""
    if kind == BRATS and count == len(BRATS_IMAGES):
        return list(BRATS_IMAGES)
    modality = config.get("modality") if isinstance(config, dict) else None
    extra = config.get("extra_modalities") if isinstance(config, dict) else None
    names = [modality.upper() if isinstance(modality, str) else "image", *(extra if isinstance(extra, dict) else ())]
    return [str(name) for name in names] if len(names) == count else [f"channel {n}" for n in range(count)]


def described_config(folder: Path) -> dict[str, Any]:
    """The configuration in `model.pt`, for a list of models; what is no plain value in it is left out.

    Raises:
        UserInputError: There is none.
    """
    file = folder / MODEL
    try:
        with zipfile.ZipFile(file) as archive:
            (entry,) = (info for info in archive.infolist() if info.filename.endswith("/data.pkl"))
            if entry.file_size > MOST_PICKLE_BYTES:
                raise UserInputError(f"'{file}' is too large for a checkpoint's description; {AGAIN}")
            with archive.open(entry) as stored:
                config = _Inert(stored).load()["config"]
    except Exception as error:  # damaged bytes make zip and pickle raise almost anything
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(f"'{file}' is no checkpoint of Auto3DSeg with its configuration; {AGAIN}") from error
    if not isinstance(config, dict):
        raise UserInputError(f"'{file}' holds no configuration; {AGAIN}")
    return config


class _Nothing:
    """In place of everything that a pickle names: made from anything, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Nothing:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class _Inert(pickle.Unpickler):
    """Reads plain values; no name in the file is looked up, so that nothing is run."""

    def __init__(self, file: BinaryIO | Any) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> type:
        return _Nothing

    def persistent_load(self, pid: Any) -> _Nothing:
        return _Nothing()
