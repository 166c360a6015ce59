"""What the stored numbers of a DICOM image are worth, where GDCM does not say it by itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.files.dicom_files import damage_named, read_dicom
from context_propagation.files.dicom_headers import groups_of, header_of, value_of

if TYPE_CHECKING:
    from pydicom import Dataset

SOP_CLASS, RESCALE_SLOPE, DOSE_GRID_SCALING = "0008|0016", "0028|1053", "3004|000e"


RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"


RESCALED = tuple(
    f"1.2.840.10008.5.1.4.1.1.{kind}"
    for kind in ("2.1", "2.2", "4.1", "4.4", "128.1", "130", "13.1.1", "13.1.2", "13.1.3")
)
"""Kinds of multi-frame images whose groups' rescale slopes GDCM applies: enhanced CT, MR and PET, what was converted to
them, 3D X-ray and tomosynthesis."""


def stored_step(file: str) -> float:
    """What a stored 1 is in the units of a dose; 1 for all other images: GDCM applies their rescale slopes.

    Raises:
        UserInputError: A dose does not say it, or says it twice.
    """
    reader = header_of(file)
    if value_of(reader, SOP_CLASS) != RT_DOSE:
        return 1.0
    text = value_of(reader, DOSE_GRID_SCALING)
    step = float(np.float32(_number(text)))
    if not 0 < step < math.inf:
        raise UserInputError(f"DICOM file '{file}' is a dose whose DoseGridScaling is '{text}'; export it again")
    slope = value_of(reader, RESCALE_SLOPE)
    if slope and _number(slope) != 1:
        raise UserInputError(
            f"DICOM file '{file}' is a dose with a DoseGridScaling and a RescaleSlope of '{slope}'; export it with one"
        )
    return step


def check_rescale(path: Path) -> None:
    """Refuse frames that GDCM would not rescale as they say: it takes the first one's slope, in images of some kinds.

    Raises:
        UserInputError: They have slopes of their own, or one that is not known to be read.
    """
    with damage_named(f"DICOM file '{path}'"):
        dataset = read_dicom(path, with_voxels=False)
        found = {_rescale(dataset, number) for number in range(int(dataset.NumberOfFrames))}
    if len(found) > 1:
        raise UserInputError(
            f"DICOM file '{path}' rescales its frames in {len(found)} ways; convert it to one file for each slice"
        )
    if found != {(1.0, 0.0)} and dataset.SOPClassUID not in RESCALED:
        raise UserInputError(
            f"DICOM file '{path}' rescales its frames and is of a kind ({dataset.SOPClassUID.name}) for which that is "
            "not known to be read; convert it to one file for each slice"
        )


def _rescale(dataset: Dataset, number: int) -> tuple[float, float]:
    """A frame's slope and intercept, where its groups say them."""
    items = [item for group in groups_of(dataset, number) for item in group.get("PixelValueTransformationSequence", [])]
    slope, intercept = (items[0].get(name) for name in ("RescaleSlope", "RescaleIntercept")) if items else (1, 0)
    return float(1 if slope is None else slope), float(intercept or 0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
