"""`context-propagation propagate-cohort`: recorded edits made again over a table of cases."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from context_propagation.cli.arguments import add_places, add_running, add_suv, add_trust
from context_propagation.cli.cohort_case import FAILED, CohortJob, Outcome, replay_case
from context_propagation.cli.cohort_memory import memory_of_cases
from context_propagation.cli.cohort_table import COLUMNS, read_cohort
from context_propagation.cli.job_places import jobs_placed
from context_propagation.cli.output_files import remove_unfinished
from context_propagation.cli.replaced_files import check_results_folder
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.training.places import leave_the_rest_to_who_gathers
from context_propagation.training.processes import run_in_parallel

RECORD, OUTCOMES = "cohort.json", "outcomes.csv"


ENDINGS = (".nii.gz", ".seg.nrrd", ".nrrd", ".mha", ".nii", ".dcm", ".seg.dcm")


@dataclass(frozen=True)
class CohortRequest:
    """What to replay.

    Attributes:
        cases: The table, see `read_cohort`.
        output: Folder for segmentations and outcomes; an interrupted run goes on in it.
        model: Of lines that name none.
        ending: Of the segmentations' names.
        jobs: Processes at a time; None for one per CPU core.
        device: "auto", "cpu", "cuda" or "mps".
        general_far: See `PropagateRequest`, as the following ones.
        allow_loss: Whether outputs may lose what their kind of file cannot hold.
        suv: Whether a DICOM PET among the channels becomes SUV.
        trust_bundle: Whether a MONAI bundle's own expressions may run.
    """

    cases: Path
    output: Path
    model: Path | None = None
    ending: str = ENDINGS[0]
    jobs: int | None = None
    device: str = "auto"
    general_far: bool = True
    allow_loss: bool = False
    suv: bool = False
    trust_bundle: bool = False

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserInputError(f"--jobs {self.jobs}; give at least 1")

    def case_jobs(self) -> list[CohortJob]:
        """One for each case.

        Raises:
            UserInputError: The table cannot be used.
        """
        options = self.device, self.general_far, self.trust_bundle, self.allow_loss, self.suv
        model = None if self.model is None else self.model.absolute()
        return [CohortJob(case, self.output, self.ending, *options) for case in read_cohort(self.cases, model)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add = parser.add_argument
    add("--cases", type=Path, required=True, metavar="TABLE.csv", help=f"columns: {', '.join(COLUMNS)}")
    add("--output", type=Path, required=True, metavar="DIR", help="segmentations and outcomes; goes on where it was")
    add("--model", type=Path, metavar="DIR", help="a bundle, or a frozen model's folder, for lines that name none")
    add("--ending", choices=ENDINGS, default=ENDINGS[0], help="of the segmentations' names; it says the format")
    add(
        "--general-far", action=argparse.BooleanOptionalAction, default=True,
        help="far slices too where the model has no fusion network; see the docs",
    )  # fmt: skip
    add("--allow-loss", action="store_true", help="write outputs that cannot hold all of the edited segmentation")
    add_suv(parser)
    add_running(parser)
    add_places(parser)
    add_trust(parser)


def propagate_cohort(request: CohortRequest) -> str:
    """Replay every case, write a segmentation for each and the table of outcomes.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: The table or the folder cannot be used; or cases failed: the others are written, the table says
            why, and the next run tries these cases again.
    """
    jobs = request.case_jobs()
    check_results_folder(request.output, [OUTCOMES], RECORD)
    request.output.mkdir(parents=True, exist_ok=True)
    with whole_file(request.output / RECORD) as partial_file:
        partial_file.write_text(json.dumps({"cases": len(jobs)}), encoding="utf-8")
    outcomes = run_in_parallel(
        [partial(replay_case, job) for job in jobs],
        "cases",
        request.jobs,
        [job.case.case for job in jobs],
        [job.leaves for job in jobs],
        device=request.device,
        memory_bytes=partial(memory_of_cases, jobs),
    )
    leave_the_rest_to_who_gathers()
    remove_unfinished(request.output)
    return _written(request.output / OUTCOMES, outcomes)


def _written(table: Path, outcomes: Sequence[Outcome]) -> str:
    with whole_file(table) as partial_file, open(partial_file, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Outcome)])
        writer.writeheader()
        writer.writerows(asdict(outcome) for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.outcome == FAILED]
    said = f"{table}: {counted(len(outcomes) - len(failed), 'case')} done"
    if failed:
        first = f"{failed[0].case}: {failed[0].said}"
        raise UserInputError(f"{said}, {len(failed)} FAILED, first {first}; the same command tries them again")
    return said


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    request = CohortRequest(**{name: value for name, value in fields.items() if name in CohortRequest.__annotations__})
    cases = [job.case for job in request.case_jobs()]
    files = [path for case in cases for path in (*case.image, case.edited, case.initial, case.session) if path]
    reads = {path.parent for path in files if path.parent.exists()} | {case.model for case in cases}
    with jobs_placed(fields, [request.output], [path for path in reads if path.exists()]) as others:
        return propagate_cohort(CohortRequest(**others))
