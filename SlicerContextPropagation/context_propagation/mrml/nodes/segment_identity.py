"""What a segment is, beside its voxels: colour, terminology, the ROI that it came from."""

from __future__ import annotations

import slicer
import vtk

ROI_NUMBER = "DicomRtImport.RoiNumber"
"""The tag in which SlicerRT keeps an ROI's number."""


TISSUE = ("SCT", "85756007")
"""What Slicer takes a new segment for; nobody chose it."""


def rgb_of(segment: slicer.vtkSegment) -> tuple[int, int, int]:
    """Its colour, from 0 to 255."""
    red, green, blue = (round(255 * min(max(part, 0.0), 1.0)) for part in segment.GetColor())
    return red, green, blue


def roi_number_of(segment: slicer.vtkSegment) -> int | None:
    """The number of the ROI that SlicerRT made it from."""
    number = _tag(segment, ROI_NUMBER)
    return int(number) if number.isdigit() else None


def codes_of(segment: slicer.vtkSegment) -> tuple[tuple[str, str, str], tuple[str, str, str]] | None:
    """Category and type of its terminology, each as value, scheme and meaning; None where nobody chose one.

    An entry is written as `context~scheme^value^meaning~scheme^value^meaning~...`: category, type, what refines them.
    """
    parts = _tag(segment, segment.GetTerminologyEntryTagName()).split("~")
    codes = [tuple(part.split("^")) for part in parts[1:3]]
    if len(codes) != 2 or not all(len(code) == 3 and all(code) for code in codes) or codes[1][:2] == TISSUE:
        return None
    category, kind = ((value, scheme, meaning) for scheme, value, meaning in codes)
    return category, kind


def _tag(segment: slicer.vtkSegment, name: str) -> str:
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""
