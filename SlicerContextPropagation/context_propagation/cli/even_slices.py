"""`context-propagation even-slices`: a DICOM series with uneven slices as an even volume file, and contours back."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from context_propagation.cli.output_files import OutputFiles
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.image.even_slices import EvenSlices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.dicom_images import read_made_even
from context_propagation.files.image_files import check_exists
from context_propagation.files.native_messages import native_messages_hidden
from context_propagation.files.rtstruct_reading import RTSTRUCT, check_rtstruct_output, has_rtstruct_name
from context_propagation.files.rtstruct_writing import SEMIAUTOMATIC, write_on_acquired_slices
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.segmentation_files import read_together

ROI_NAME = "GTV"
"""Of an ROI whose segment was not named."""


ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")


@dataclass(frozen=True)
class EvenSlicesRequest:
    """What to make even.

    Attributes:
        image: DICOM folder.
        output: Where the volume goes, or the structure set.
        segmentation: A segmentation on that volume, whose contours go back on the slices of the series.
        segment: Its segment; None for the only one.
    """

    image: Path
    output: Path
    segmentation: Path | None = None
    segment: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("--image", type=Path, required=True, metavar="DICOM_DIR", help="folder of one DICOM series")
    add("--output", type=Path, required=True, metavar="FILE", help="the volume (.nii.gz, .nii, .nrrd, .mha), or .dcm")
    add("--segmentation", type=Path, metavar="SEG", help="drawn on the volume; --output is an RT Structure Set of it")
    add("--segment", metavar="NAME", help="of the segmentation, where it has several, and of the ROI")


def make_even(request: EvenSlicesRequest) -> str:
    """Read, compute and write.

    Returns:
        One line about what changed.

    Raises:
        UserInputError: Something in the request cannot be used; no file was written.
    """
    _check(request)
    with OutputFiles([request.output], [path for path in (request.image, request.segmentation) if path]) as outputs:
        with native_messages_hidden():
            image, even = read_made_even(request.image)
        if request.segmentation is None:
            sitk.WriteImage(image, str(outputs.staged(request.output)), useCompression=True)
            done = f"'{request.image}' has slices {even.distances}; written are {even.change}"
        else:
            done = _contours_back(request, outputs.staged(request.output), image, even)
        outputs.publish()
    return f"{request.output}: {done}"


def _check(request: EvenSlicesRequest) -> None:
    check_exists(request.image, "Image")
    if not request.image.is_dir():
        raise UserInputError(
            f"Image '{request.image}' is no DICOM folder, whose headers say where slices lie; give one"
        )
    if request.segmentation is None and request.segment is not None:
        raise UserInputError(f"--segment '{request.segment}' is of a --segmentation; give that too")
    if request.segmentation is not None:
        if not has_rtstruct_name(request.output):
            raise UserInputError(f"Output '{request.output}' is no RT Structure Set; end its name in {RTSTRUCT}")
        check_rtstruct_output(request.output, [request.image])
    elif not request.output.name.lower().endswith(ENDINGS):
        raise UserInputError(f"Output '{request.output}' has no known ending; use {', '.join(ENDINGS)}")


def _contours_back(request: EvenSlicesRequest, staged: Path, image: sitk.Image, even: EvenSlices) -> str:
    """Write the structure set; what was done, in words."""
    assert request.segmentation is not None
    volume, name = SourceVolume.from_sitk([image]), request.segment or ROI_NAME
    (read,) = read_together([request.segmentation], Wanted(name, (1,)), volume)
    write_on_acquired_slices(staged, read.mask, name, volume, even, request.image, SEMIAUTOMATIC)
    slices = int(even.back(read.mask).any(axis=(1, 2)).sum())
    written = f"'{name}' on {counted(slices, 'slice')} of '{request.image}'"
    return f"{written}, each with the contours of the even slice next to it"


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return make_even(EvenSlicesRequest(**fields))
