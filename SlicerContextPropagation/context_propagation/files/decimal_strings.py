"""Decimal strings of a DICOM object: 16 characters at most, whatever wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from context_propagation.core.optional_dependency import require
from context_propagation.files.dicom_files import EXTRA

if TYPE_CHECKING:
    from pydicom import Dataset

LONGEST = 16
"""Source: DICOM PS3.5, 6.2, DS."""


def shorten_decimal_strings(dataset: Dataset) -> int:
    """Round the numbers that are longer than DICOM allows, in all of a dataset; others keep their characters.

    Returns:
        How many were rounded.
    """
    count = 0
    for tag in list(dataset.keys()):
        element = dataset.get_item(tag)
        if element is None:
            continue
        kind = element.VR or _kind_of(tag)
        if kind == "SQ":
            count += sum(shorten_decimal_strings(item) for item in dataset[tag].value)
        elif kind == "DS":
            words = _words(element)
            long = [word for word in words if len(word) > LONGEST]
            if long:
                dataset[tag].value = [_shortened(word) for word in words]
                count += len(long)
    return count


def _words(element: object) -> list[str]:
    """The characters of an element's numbers, parsed or not."""
    value = element.value  # type: ignore[attr-defined]
    if isinstance(value, bytes):
        return [word.strip(" \0") for word in value.decode("latin-1").split("\\")]
    values = [value] if isinstance(value, (str, float, int)) or value is None else list(value)
    return [str(getattr(one, "original_string", one)) for one in values]


def _shortened(word: str) -> str:
    if len(word) <= LONGEST:
        return word
    return str(require("pydicom.valuerep", extra=EXTRA).format_number_as_ds(float(word)))


def _kind_of(tag: object) -> str:
    try:
        return str(require("pydicom.datadict", extra=EXTRA).dictionary_VR(tag))
    except KeyError:
        return ""
