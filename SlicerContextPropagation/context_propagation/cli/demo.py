"""`context-propagation demo`: the main job on a phantom that the shipped bundle never saw."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from context_propagation.core.bundle.bundle import load_bundle
from context_propagation.core.bundle.shipped_bundle import CONTROL, UNSEEN, shipped_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.provenance import provenance
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.case_rows import evaluate_case
from context_propagation.evaluation.simulated_case import CaseJob, CaseSession, FusionRow
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.phantom_cases import phantom_case

ROWS = ("baseline", "paste", "update", "fusion", "no-edit control")


SCOPES = ("near", "far", "whole")


@dataclass(frozen=True)
class DemoRequest:
    """Where the demo's files go.

    Attributes:
        output: A folder; made where it is missing, and earlier results in it are replaced.
    """

    output: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for images, results and figure")


def run_demo(request: DemoRequest) -> str:
    """Predict, redraw the worst slice from the truth, propagate; then a table with its controls.

    Args:
        request: Where the files go.

    Returns:
        The table, and where the files are.

    Raises:
        UserInputError: The bundle is missing, a command cannot run, or the prediction needs no edit.
    """
    bundle, output = shipped_bundle(), request.output
    output.mkdir(parents=True, exist_ok=True)
    case = phantom_case(UNSEEN, output, output / "truth")
    job = _job(bundle, case)
    initial, edited = output / "initial.nii.gz", output / "edited.nii.gz"
    image = [str(path) for path in case.images]
    _say_and_run(["predict", "--model", str(bundle), "--image", *image, "--output", str(initial)])
    index = _redraw_worst_slice(job, initial, edited)
    # fmt: off
    _say_and_run([
        "propagate", "--model", str(bundle), "--image", *image, "--initial", str(initial), "--edited", str(edited),
        "--output", str(output / "refined.seg.nrrd"), "--report", str(output / "report.json"),
        "--figure", str(output / "figure.png"),
    ])
    # fmt: on
    table = _table(evaluate_case(job))
    (output / "table.md").write_text(table + "\n", encoding="utf-8")
    made = "\n".join(f"{name}: {value}" for name, value in provenance().items())
    about = (
        f"{case.name}, a phantom that no network saw; axial slice {index} redrawn from the truth; seed {UNSEEN.seed}"
    )
    return f"\n{about}. DSC:\n\n{table}\n\n{made}\nresults in {output}"


def _say_and_run(words: Sequence[str]) -> None:
    """Run a command of the project as a user would, and show it."""
    from context_propagation.cli.commands import parsed

    print(f"\n$ context-propagation {shlex.join(words)}", flush=True)
    command, fields = parsed(words)
    print(command.run(fields), flush=True)


def _job(bundle: Path, case: LabelledCase) -> CaseJob:
    """The rows of the table: the bundle's network and the one of its no-edit control."""
    _, fusion = load_bundle(bundle, "cpu")
    architecture = fusion.networks[0].settings
    rows = (
        FusionRow("fusion", architecture, "edit", (bundle / "fusion_all.safetensors",)),
        FusionRow("no-edit control", architecture, "no edit", (bundle / CONTROL,)),
    )
    settings = SessionSettings(level=fusion.level, neighbours=fusion.neighbours)
    base = ModelSource(bundle / "model", device="cpu")
    return CaseJob("demo", base, case, settings, rows, fusion.far_margin, interpolation=False)


def _redraw_worst_slice(job: CaseJob, initial: Path, edited: Path) -> int:
    """Write the initial segmentation with its worst axial slice redrawn; the slice's index."""
    session = CaseSession(job)
    image = sitk.ReadImage(str(initial))
    mask = sitk.GetArrayFromImage(image)
    edit = session.edit("worst", mask > 0)
    if edit is None:
        raise UserInputError("The prediction equals the truth: there is nothing to redraw; build the demo again")
    np.moveaxis(mask, edit.axis, 0)[edit.index] = edit.mask
    drawn = sitk.GetImageFromArray(mask)
    drawn.CopyInformation(image)
    sitk.WriteImage(drawn, str(edited))
    return edit.index


def _table(lines: Sequence[dict[str, Any]]) -> str:
    """DSC of each row and scope, for the worst slice redrawn, as Markdown."""
    dsc = {(line["row"], line["scope"]): line["dsc"] for line in lines if line["pick"] == "worst"}
    titles = {"near": "slices s ± 2", "far": "other slices", "whole": "whole volume"}
    head = ["| | " + " | ".join(titles[scope] for scope in SCOPES) + " |", "|---|" + "---|" * len(SCOPES)]
    return "\n".join(
        [*head, *(f"| {row} | " + " | ".join(f"{dsc[row, scope]:.3f}" for scope in SCOPES) + " |" for row in ROWS)]
    )


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(run_demo(DemoRequest(**fields)))
