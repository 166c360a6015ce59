"""`context-propagation phantom`: cases for trying out, training and testing, without any patient's data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.optional_dependency import require
from context_propagation.core.phantom.anatomy import DifficultyName
from context_propagation.core.phantom.phantom import Kind, PhantomSettings, make_phantom
from context_propagation.core.storage.whole_file import whole_folder
from context_propagation.files.phantom_dicom import EXTRA, write_phantom_dicom
from context_propagation.training.phantom_cases import CHANNELS, nnunet_task, phantom_case
from context_propagation.training.processes import run_in_parallel

Layout = Literal["nifti", "nnunet", "dicom"]


@dataclass(frozen=True)
class PhantomRequest:
    """What to generate.

    Attributes:
        kind: "nasopharynx", "oesophagus" or "organ".
        count: Number of cases.
        output: Folder; new or empty.
        first: Number of the first case; a case is the same in whatever series it is generated.
        seed: Of the series.
        difficulty: "lower", "middle" or "higher".
        spacing: Voxel size (i, j, k) in mm; None for the kind's default.
        layout: "nifti" (images/, labels/), "nnunet" (a raw data set of nnU-Net v2), "dicom" (a folder for each case).
        jobs: Processes at a time; None for one per CPU core.
    """

    kind: Kind
    count: int
    output: Path
    first: int = 0
    seed: int = 0
    difficulty: DifficultyName = "middle"
    spacing: Sequence[float] | None = None
    layout: Layout = "nifti"
    jobs: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("count", self.count, 1), ("first", self.first, 0), ("seed", self.seed, 0)):
            if value < least:
                raise UserInputError(f"--{name} {value}; give at least {least}")
        if self.jobs is not None and self.jobs < 1:
            raise UserInputError(f"--jobs {self.jobs}; give at least 1")

    def settings(self) -> list[PhantomSettings]:
        """Of each case."""
        spacing = None if self.spacing is None else (self.spacing[0], self.spacing[1], self.spacing[2])
        one = PhantomSettings(self.kind, self.seed, self.first, self.difficulty, spacing)
        return [replace(one, number=number) for number in range(self.first, self.first + self.count)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add = parser.add_argument
    add(
        "--kind",
        choices=get_args(Kind),
        required=True,
        help="nasopharynx: CT; oesophagus: CT and PET; organ: a small MR",
    )
    add("--count", type=int, required=True, metavar="N", help="number of cases")
    add("--output", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    add("--first", type=int, default=0, metavar="N", help="number of the first case")
    add("--seed", type=int, default=0, help="of the series; seed and number give a case bit for bit")
    add("--difficulty", choices=get_args(DifficultyName), default="middle")
    add("--spacing", type=float, nargs=3, metavar=("I", "J", "K"), help="voxel size in mm")
    add("--layout", choices=get_args(Layout), default="nifti", help="NIfTI, nnU-Net's raw data, or DICOM with RTSTRUCT")
    add("--jobs", type=int, metavar="N", help="processes at a time; one per CPU core by default")


def generate_phantoms(request: PhantomRequest) -> str:
    """Generate and write.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: Something in the request cannot be used; nothing was written.
    """
    settings = request.settings()
    if request.layout == "dicom":
        if request.kind == "organ":
            raise UserInputError("--layout dicom is for CT and PET, and an organ is an MR; choose nifti or nnunet")
        require("pydicom", EXTRA)
    output = request.output.resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserInputError(f"--output '{output}' is not an empty folder; give a new one")
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(output) as partial_folder:
        inside = replace(request, output=partial_folder)
        jobs = [partial(_write, one, inside) for one in settings]
        run_in_parallel(jobs, "phantoms", request.jobs, [one.name for one in settings])
        if request.layout == "nnunet":
            _write_dataset_json(inside)
    made_of = f"{counted(request.count, 'phantom')} of {request.kind}, {' and '.join(CHANNELS[request.kind])}"
    return f"{request.output}: {made_of}"


def _write(settings: PhantomSettings, request: PhantomRequest) -> None:
    if request.layout == "dicom":
        folder = request.output / settings.name
        folder.mkdir()
        write_phantom_dicom(make_phantom(settings), settings.name, folder)
        return
    images, labels = ("imagesTr", "labelsTr") if request.layout == "nnunet" else ("images", "labels")
    folder = _folder(request)
    phantom_case(settings, folder / images, folder / labels)


def _folder(request: PhantomRequest) -> Path:
    return request.output / nnunet_task(request.kind).dataset if request.layout == "nnunet" else request.output


def _write_dataset_json(request: PhantomRequest) -> None:
    content = nnunet_task(request.kind).dataset_json(request.count)
    (_folder(request) / "dataset.json").write_text(json.dumps(content, indent=2), encoding="utf-8")


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(generate_phantoms(PhantomRequest(**fields)))
