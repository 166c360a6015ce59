"""Headers that are looked at before the library reads the file: at some damaged ones MetaIO ends the process."""

from __future__ import annotations

import re
from pathlib import Path

from context_propagation.core.errors import UserInputError

LONGEST_HEADER = 2**16
"""Bytes; what comes later is voxels."""


MOST_DIMENSIONS = 10
"""MetaIO has room for so many numbers."""


def check_header(path: Path, what: str) -> None:
    """Refuse an MHA whose number of dimensions or size cannot be one; other files pass.

    Args:
        path: A file that is there.
        what: Starts the message: "Image" or "Segmentation".

    Raises:
        UserInputError: Naming the entry and its value.
    """
    if not path.name.lower().endswith((".mha", ".mhd")):
        return
    entries = _entries(path)
    named = f"{what} '{path}'"
    if not entries.get("NDims") or not entries.get("DimSize"):
        raise UserInputError(f"{named} cannot be read; give a complete MHA, with NDims and DimSize in its header")
    for key, values in entries.items():
        if key == "NDims" and not all(_is_count(value, MOST_DIMENSIONS) for value in values):
            raise _damaged(named, key, values)
    dimensions = int(entries["NDims"][0])
    for value in entries["DimSize"]:
        if len(value.split()) != dimensions or not all(_is_count(size, 2**31 - 1) for size in value.split()):
            raise _damaged(named, "DimSize", entries["DimSize"])


def holds_its_voxels(path: Path) -> bool:
    """Whether an MHA or NRRD holds its voxels itself: a header may name other files, which the reader would open."""
    with path.open("rb") as file:
        text = file.read(LONGEST_HEADER).decode("latin-1")
    if path.name.lower().endswith(".mha"):
        named = re.findall("ElementDataFile", text)
        return len(named) == len(re.findall(r"(?:^|\n)ElementDataFile\s*=\s*LOCAL\r?\n", text)) > 0
    names_another = re.search(r"[\r\n] *data ?file *:", text, re.IGNORECASE)
    return text.startswith("NRRD") and re.search(r"\n\r?\n", text) is not None and names_another is None


def _entries(path: Path) -> dict[str, list[str]]:
    """Each key's values, of which a damaged header may have several."""
    with path.open("rb") as file:
        text = file.read(LONGEST_HEADER).decode("latin-1")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key.strip(), []).append(value.strip())
        if key.strip() == "ElementDataFile":
            break
    return found


def _is_count(text: str, largest: int) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) <= largest


def _damaged(named: str, key: str, values: list[str]) -> UserInputError:
    listed = " and ".join(f"'{value[:40]}'" for value in values)
    return UserInputError(f"{named} cannot be read: the {key} in its header is {listed}; copy or export it again")
