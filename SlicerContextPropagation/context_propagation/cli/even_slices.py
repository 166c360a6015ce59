"""`context-propagation even-slices`: a DICOM series whose slices lie unevenly as a volume file with even slices."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from context_propagation.cli.output_files import OutputFiles
from context_propagation.core.errors import UserInputError
from context_propagation.files.dicom_images import read_made_even
from context_propagation.files.image_files import check_exists
from context_propagation.files.native_messages import native_messages_hidden

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")


@dataclass(frozen=True)
class EvenSlicesRequest:
    """What to make even.

    Attributes:
        image: DICOM folder.
        output: Where the volume goes.
    """

    image: Path
    output: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--image", type=Path, required=True, metavar="DICOM_DIR", help="folder of one DICOM series")
    ending = "ends in .nii.gz, .nii, .nrrd or .mha"
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=f"the volume; {ending}")


def make_even(request: EvenSlicesRequest) -> str:
    """Read, compute and write.

    Returns:
        One line about what changed.

    Raises:
        UserInputError: Something in the request cannot be used; no file was written.
    """
    check_exists(request.image, "Image")
    if not request.image.is_dir():
        raise UserInputError(
            f"Image '{request.image}' is no DICOM folder, whose headers say where slices lie; give one"
        )
    if not request.output.name.lower().endswith(ENDINGS):
        raise UserInputError(f"Output '{request.output}' has no known ending; use {', '.join(ENDINGS)}")
    with OutputFiles([request.output], inputs=[request.image]) as outputs:
        with native_messages_hidden():
            image, even = read_made_even(request.image)
        sitk.WriteImage(image, str(outputs.staged(request.output)), useCompression=True)
        outputs.publish()
    return f"{request.output}: '{request.image}' has slices {even.distances}; written are {even.change}"


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return make_even(EvenSlicesRequest(**fields))
