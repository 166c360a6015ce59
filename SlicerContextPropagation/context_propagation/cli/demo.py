"""`context-propagation demo`: the main job on a phantom that the shipped bundle never saw."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from context_propagation.cli.predict import PredictRequest, predict
from context_propagation.cli.propagate import propagate
from context_propagation.cli.propagate_request import PropagateRequest
from context_propagation.cli.replaced_files import check_results_folder
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.shipped_bundle import CONTROL, shipped_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.phantom.unseen_phantoms import UNSEEN
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.provenance import provenance
from context_propagation.evaluation.case_rows import evaluate_case
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.simulated_case import CaseJob, CaseSession, FusionRow
from context_propagation.server.serving import DEFAULT_PORT
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.phantom_cases import phantom_case

ROWS = ("baseline", "paste", "update", "fusion", "no-edit control")


RESULTS = ("initial.nii.gz", "edited.nii.gz", "refined.seg.nrrd", "report.json", "figure.png", "table.md")


SCOPES = ("near", "far", "whole")


IN_A_BROWSER = f"the case in a browser: make demo-browser, then http://127.0.0.1:{DEFAULT_PORT}/"


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
    if bundle.resolve() in (output.resolve(), *output.resolve().parents):
        raise UserInputError(f"Output '{output}' lies in the bundle that ships; choose another folder")
    check_results_folder(output, RESULTS, f"truth/{UNSEEN.name}.json")
    output.mkdir(parents=True, exist_ok=True)
    case = phantom_case(UNSEEN, output, output / "truth")
    job = demo_job(bundle, case)
    initial, edited, refined, report, figure, table_file = (output / name for name in RESULTS)
    first = PredictRequest(bundle, case.images, initial)
    _say("predict", first)
    print(predict(first), flush=True)
    index = _redraw_worst_slice(job, initial, edited)
    second = PropagateRequest(bundle, case.images, initial, edited, refined, report=report, figure=figure)
    _say("propagate", second)
    print(propagate(second), flush=True)
    table = _table(evaluate_case(job))
    table_file.write_text(table + "\n", encoding="utf-8")
    made = "\n".join(f"{name}: {value}" for name, value in provenance().items())
    about = (
        f"{case.name}, a phantom that no network saw; axial slice {index} redrawn from the truth; seed {UNSEEN.seed}"
    )
    return f"\n{about}. DSC:\n\n{table}\n\n{made}\n{IN_A_BROWSER}\nresults in {output}"


def _say(command: str, request: PredictRequest | PropagateRequest) -> None:
    """Show the command by which a user would ask for the same: every path of the request is an argument."""
    words = [command]
    for item in fields(request):
        value = getattr(request, item.name)
        paths = [value] if isinstance(value, Path) else value if item.name == "image" else []
        words += [f"--{item.name}", *map(str, paths)] if paths else []
    print(f"\n$ context-propagation {shlex.join(words)}", flush=True)


def demo_job(bundle: Path, case: LabelledCase) -> CaseJob:
    """The rows of the table: the bundle's network and the one of its no-edit control."""
    loaded = load_model(bundle, device="cpu")
    if not isinstance(loaded.fusion, Fusion):
        raise UserInputError(f"'{bundle}' has no fusion network; make it again: context-propagation build-demo")
    architecture = loaded.fusion.networks[0].settings
    far_thresholds = loaded.fusion.far_thresholds
    rows = (
        FusionRow("fusion", architecture, "edit", (bundle / "fusion_all.safetensors",), far_thresholds),
        FusionRow("no-edit control", architecture, "no edit", (bundle / CONTROL,), far_thresholds),
    )
    base = ModelSource(bundle / "model", device="cpu")
    return CaseJob("demo", base, case, loaded.settings(), rows, interpolation=False)


def _redraw_worst_slice(job: CaseJob, initial: Path, edited: Path) -> int:
    """Write the initial segmentation with its worst axial slice redrawn; the slice's index."""
    session = CaseSession(job)
    image = sitk.ReadImage(str(initial))
    mask = sitk.GetArrayFromImage(image)
    edit = session.next_edit("worst", mask > 0, ())
    if edit is None:
        raise UserInputError("The prediction equals the truth: there is nothing to redraw; build the demo again")
    mask[edit.place] = edit.mask
    drawn = sitk.GetImageFromArray(mask)
    drawn.CopyInformation(image)
    sitk.WriteImage(drawn, str(edited))
    return edit.index


def _table(lines: Sequence[CaseRow]) -> str:
    """DSC of each row and scope, for the worst slice redrawn, as Markdown."""
    dsc = {(line.row, line.scope): line.dsc for line in lines if line.pick == "worst"}
    titles = {"near": "slices s ± 2", "far": "other slices", "whole": "whole volume"}
    head = ["| | " + " | ".join(titles[scope] for scope in SCOPES) + " |", "|---|" + "---|" * len(SCOPES)]
    return "\n".join(
        [*head, *(f"| {row} | " + " | ".join(f"{dsc[row, scope]:.3f}" for scope in SCOPES) + " |" for row in ROWS)]
    )


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(run_demo(DemoRequest(**fields)))
