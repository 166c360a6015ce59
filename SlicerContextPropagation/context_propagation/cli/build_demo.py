"""`context-propagation build-demo`: the bundle that ships with the package, from nothing but seeds."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from context_propagation.cli.arguments import add_places
from context_propagation.cli.job_places import jobs_placed
from context_propagation.core.bundle.bundle_saving import check_bundle_destination
from context_propagation.core.bundle.shipped_bundle import FOLDER
from context_propagation.core.errors import UserInputError
from context_propagation.core.phantom.unseen_phantoms import FIRST_UNSEEN, UNSEEN
from context_propagation.core.storage.whole_file import claim_folder
from context_propagation.evaluation.validated_bundle import TrainFusionRequest, train_fusion_bundle
from context_propagation.training.base.base_training import BaseTraining
from context_propagation.training.labelled_cases import LabelledCase
from context_propagation.training.phantom_cases import nnunet_task, phantom_case, phantom_files
from context_propagation.training.places import each
from context_propagation.training.processes import run_in_parallel

MOST_BYTES = 8 * 2**20


TRAINING = {
    "averaging": 0.98,
    "edits_per_case": 2,
    "augmented_copies": 0,
    "contour_styles": 2,
    "allowed_regression": 0.05,
}
"""Of the fusion network, as the protocols of the phantoms have it; see docs/phantoms.md."""


MARK = "build-demo"
"""In a work folder that this command made."""


@dataclass(frozen=True)
class BuildDemoRequest:
    """What to build.

    Attributes:
        output: The bundle's folder; by default the package's own.
        work: Folder for phantoms and trainings; an interrupted build goes on in it. By default beside the bundle, and
            removed at the end.
        base_cases: Phantoms that nnU-Net is trained on.
        base_epochs: Of 40 steps each.
        fusion_cases: Further phantoms for the fusion network; a fifth of them validates.
        epochs: Of the fusion network, at most.
        jobs: Processes at a time; None for one per CPU core.
    """

    output: Path = FOLDER
    work: Path | None = None
    base_cases: int = 28
    base_epochs: int = 36
    fusion_cases: int = 36
    epochs: int = 8
    jobs: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("base_cases", 1), ("base_epochs", 1), ("fusion_cases", 2), ("epochs", 1)):
            if getattr(self, name) < least:
                raise UserInputError(f"--{name.replace('_', '-')} {getattr(self, name)}; give at least {least}")
        if self.base_cases + self.fusion_cases > FIRST_UNSEEN:
            raise UserInputError(
                f"{self.base_cases} and {self.fusion_cases} cases; give at most {FIRST_UNSEEN} together: from case "
                f"{FIRST_UNSEEN} on, cases are kept for tests"
            )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    default = BuildDemoRequest()
    add = parser.add_argument
    add("--output", type=Path, default=default.output, metavar="BUNDLE", help="by default the package's own bundle")
    add("--work", type=Path, metavar="DIR", help="for phantoms and trainings; kept, so that a further build is quick")
    add("--base-cases", type=int, default=default.base_cases, help="phantoms for nnU-Net")
    add("--base-epochs", type=int, default=default.base_epochs, help="of 40 steps each")
    add("--fusion-cases", type=int, default=default.fusion_cases, help="further phantoms for the fusion network")
    add("--epochs", type=int, default=default.epochs, help="of the fusion network, at most")
    add("--jobs", type=int, metavar="N", help="processes at a time; one per CPU core by default")
    add_places(parser)


def build_demo(request: BuildDemoRequest) -> str:
    """Generate phantoms, train nnU-Net and the fusion network, write the bundle.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: Something in the request cannot be used, or the bundle became too large to ship.
    """
    output = request.output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    check_bundle_destination(output)
    work = request.work or _own_work_folder(output)
    fusion_numbers = range(request.base_cases, request.base_cases + request.fusion_cases)
    fusion = work / f"fusion-{fusion_numbers.start}-{fusion_numbers.stop}"  # holds these cases and no others
    phantoms = [(range(request.base_cases), work / "base"), (fusion_numbers, fusion)]
    base_cases, _ = each([partial(_phantoms, numbers, folder, request.jobs) for numbers, folder in phantoms])
    training_of_base = BaseTraining(
        "nnU-Net", tuple(base_cases), nnunet_task(UNSEEN.kind), work, request.base_epochs, 0
    )
    (model,) = run_in_parallel([training_of_base.run], "base model", 1, (), [training_of_base.leaves])
    training = TrainFusionRequest(
        model,
        fusion / "images",
        fusion / "labels",
        output,
        start="fresh",
        fusion="attention",
        epochs=request.epochs,
        jobs=request.jobs,
        **TRAINING,
    )
    trained = train_fusion_bundle(training)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise UserInputError(f"'{output}' has {size / 2**20:.1f} MiB; what ships may have {MOST_BYTES / 2**20:.0f}")
    if request.work is None:
        shutil.rmtree(work)
    return f"{output}: {trained.summary}; {size / 2**20:.1f} MiB"


def _own_work_folder(output: Path) -> Path:
    """Beside the bundle, with a mark that it may be removed."""
    work = output.with_name(f"{output.name}.work")
    claim_folder(work, MARK)
    if not (work / MARK).is_file():
        raise UserInputError(f"'{work}' is not a folder of this command; move it away, or name another with --work")
    return work


def _phantoms(numbers: range, folder: Path, jobs: int | None) -> list[LabelledCase]:
    wanted = [replace(UNSEEN, number=number) for number in numbers]
    write = [partial(phantom_case, settings, folder / "images", folder / "labels") for settings in wanted]
    names = [settings.name for settings in wanted]
    leaves = [phantom_files(settings, folder / "images", folder / "labels") for settings in wanted]
    return run_in_parallel(write, "phantoms", jobs, names, leaves)


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    output, work = fields["output"], fields.get("work")
    with jobs_placed(fields, [output.resolve().parent, work]) as others:
        return str(build_demo(BuildDemoRequest(**others)))
