"""Headers that are looked at before the library reads the file.

At some damaged ones MetaIO ends the process; and of MHA and NRRD, ITK takes all lengths for millimetres and all values
as they are stored, whatever the header says.
"""

from __future__ import annotations

import re
from pathlib import Path

from context_propagation.core.errors import UserInputError

LONGEST_HEADER = 2**16
"""Bytes; what comes later is voxels."""


MOST_DIMENSIONS = 10
"""MetaIO has room for so many numbers."""


UNHEARD = {
    "ElementToIntensityFunctionSlope": ("1", "1.0"),
    "ElementToIntensityFunctionOffset": ("0", "0.0"),
    "DistanceUnits": ("mm",),
}
"""Entries of an MHA that ITK leaves out, and the values with which nothing is lost by it."""


MILLIMETRES = ("", "mm", "millimeter", "millimeters", "millimetre", "millimetres")


def check_header(path: Path, what: str) -> None:
    """Refuse an MHA whose number of dimensions or size cannot be one, and what MHA and NRRD say that ITK does not hear.

    Args:
        path: A file that is there.
        what: Starts the message: "Image" or "Segmentation".

    Raises:
        UserInputError: Naming the entry and its value.
    """
    named, name = f"{what} '{path}'", path.name.lower()
    if name.endswith((".nrrd", ".nhdr")):
        _check_space_units(path, named)
    if not name.endswith((".mha", ".mhd")):
        return
    entries = _entries(path)
    if not entries.get("NDims") or not entries.get("DimSize"):
        raise UserInputError(f"{named} cannot be read; give a complete MHA, with NDims and DimSize in its header")
    for key, values in entries.items():
        if key == "NDims" and not all(_is_count(value, MOST_DIMENSIONS) for value in values):
            raise _damaged(named, key, values)
    dimensions = int(entries["NDims"][0])
    for value in entries["DimSize"]:
        if len(value.split()) != dimensions or not all(_is_count(size, 2**31 - 1) for size in value.split()):
            raise _damaged(named, "DimSize", entries["DimSize"])

    for key, harmless in UNHEARD.items():
        for value in entries.get(key, []):
            if value.lower() not in harmless:
                raise UserInputError(f"{named} has {key} = {value[:40]}, which ITK leaves out; write {harmless[0]}")


def _check_space_units(path: Path, named: str) -> None:
    with path.open("rb") as file:
        header = re.split(r"\n\r?\n", file.read(LONGEST_HEADER).decode("latin-1"))[0]
    for units in re.findall(r"[\r\n]space units *:(.*)", header, re.IGNORECASE):
        for unit in re.findall(r'"([^"]*)"', units):
            if unit.strip().lower() not in MILLIMETRES:
                raise UserInputError(
                    f"{named} has space units of '{unit[:40]}', which ITK takes for mm; write it in mm"
                )


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
