"""`context-propagation register-pet`: a PET onto the grid of a CT."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from context_propagation.cli.arguments import add_suv
from context_propagation.cli.output_files import OutputFiles
from context_propagation.cli.progress import progress_bars
from context_propagation.core.errors import UserInputError
from context_propagation.core.provenance import installed_versions
from context_propagation.core.registration.image_matcher import PetRegistrationSettings
from context_propagation.core.registration.pet_registration import (
    PetRegistration,
    register_pet,
    resample_ct,
    resample_pet,
)
from context_propagation.core.registration.spacing_grid import grid_with_spacing
from context_propagation.files.image_files import read_image

IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")


TRANSFORM_ENDINGS = (".tfm", ".h5")


@dataclass(frozen=True)
class RegisterPetRequest:
    """What to register.

    Attributes:
        ct: File or DICOM folder.
        pet: File or DICOM folder.
        output: Where the PET goes.
        ct_output: Where the resampled CT goes; given exactly where `spacing` is.
        spacing: Of both outputs in mm: left-right, anterior-posterior, superior-inferior; None for the CT's grid.
        control_point_spacing: Of the B-spline, in mm.
        rigid_only: Whether the B-spline is left out.
        transform: Where the transform goes, from points of the CT to points of the PET.
        report: Where the JSON report goes.
        suv: Whether the PET becomes SUV.
    """

    ct: Path
    pet: Path
    output: Path
    ct_output: Path | None = None
    spacing: Sequence[float] | None = None
    control_point_spacing: float = PetRegistrationSettings.control_point_spacing_mm
    rigid_only: bool = False
    transform: Path | None = None
    report: Path | None = None
    suv: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("--ct", type=Path, required=True, metavar="FILE_OR_DICOM_DIR", help="NIfTI, NRRD, MHA or DICOM folder")
    add("--pet", type=Path, required=True, metavar="FILE_OR_DICOM_DIR", help="NIfTI, NRRD, MHA or DICOM folder")
    add("--output", type=Path, required=True, metavar="FILE", help="the PET; ends in .nii.gz, .nii, .nrrd or .mha")
    add(
        "--spacing",
        type=float,
        nargs=3,
        metavar=("LR", "AP", "SI"),
        help="resample both images to this spacing in mm, e.g. 1.0 2.0 2.5; the CT's grid by default",
    )
    add("--ct-output", type=Path, metavar="FILE", help="the resampled CT; needed with --spacing")
    add(
        "--control-point-spacing",
        type=float,
        default=RegisterPetRequest.control_point_spacing,
        metavar="MM",
        help="of the B-spline; 50 by default",
    )
    add("--rigid-only", action="store_true", help="no B-spline")
    add("--transform", type=Path, metavar="OUT.tfm|OUT.h5", help="from points of the CT to points of the PET")
    add_suv(parser)
    add("--report", type=Path, metavar="OUT.json", help="what was found, as JSON")


def register_pet_files(request: RegisterPetRequest) -> str:
    """Register and write.

    Returns:
        One line about what was found and written.

    Raises:
        UserInputError: Something in the request cannot be used; no file was written.
    """
    _check(request)
    destinations = [request.output, request.ct_output, request.transform, request.report]
    with OutputFiles(destinations, inputs=[request.ct, request.pet]) as outputs, progress_bars() as progress:
        ct, pet = read_image(request.ct), read_image(request.pet, request.suv)
        grid = ct if request.spacing is None else grid_with_spacing(ct, request.spacing)
        settings = PetRegistrationSettings(
            deformable=not request.rigid_only, control_point_spacing_mm=request.control_point_spacing
        )
        found = register_pet(ct, pet, settings, progress)
        _write_image(resample_pet(pet, grid, found.transform), outputs.staged(request.output))
        if request.ct_output is not None:
            _write_image(resample_ct(ct, grid), outputs.staged(request.ct_output))
        if request.transform is not None:
            sitk.WriteTransform(found.transform, str(outputs.staged(request.transform)))
        if request.report is not None:
            _write_report(outputs.staged(request.report), found, settings, grid)
        outputs.publish()
    return _summary(request.output, found)


def _check(request: RegisterPetRequest) -> None:
    if (request.spacing is None) != (request.ct_output is None):
        raise UserInputError(
            "--spacing resamples the CT too: give --ct-output FILE"
            if request.ct_output is None
            else "--ct-output is for a CT that --spacing resamples: give --spacing, or leave it out"
        )
    if not 10.0 <= request.control_point_spacing <= 500.0:
        raise UserInputError(
            f"--control-point-spacing {request.control_point_spacing:g} is not from 10 to 500 mm; give one that is"
        )
    for path, endings in (
        (request.output, IMAGE_ENDINGS),
        (request.ct_output, IMAGE_ENDINGS),
        (request.transform, TRANSFORM_ENDINGS),
        (request.report, (".json",)),
    ):
        if path is not None and not path.name.lower().endswith(endings):
            raise UserInputError(f"Output '{path}' has no known ending; use {', '.join(endings)}")


def _write_image(image: sitk.Image, path: Path) -> None:
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_report(path: Path, found: PetRegistration, settings: PetRegistrationSettings, grid: sitk.Image) -> None:
    check = {**asdict(found.check), "negative_share": found.check.negative_share}
    report = {
        "stages": [asdict(stage) for stage in found.stages],
        "overlap_before": found.overlap_before,
        "overlap": found.overlap,
        "check": check,
        "messages": found.messages,
        "output_grid": {"size": grid.GetSize(), "spacing_mm": grid.GetSpacing(), "origin_lps_mm": grid.GetOrigin()},
        "settings": asdict(settings),
        "versions": installed_versions(),
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _summary(output: Path, found: PetRegistration) -> str:
    kept = [stage.name for stage in found.stages if stage.kept]
    check = found.check
    parts = [
        f"{' and '.join(kept)} registration" if kept else "the PET stays where the scanner placed it",
        f"moved by {check.displacement_mean_mm:.1f} mm on average, {check.displacement_max_mm:.1f} mm at most",
        f"covers {found.overlap:.0%} of the body",
        f"{check.negative_jacobians} folded voxels" if check.negative_jacobians else "no folding",
        *found.messages,
    ]
    return f"{output}: {'; '.join(parts)}"


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(register_pet_files(RegisterPetRequest(**fields)))
