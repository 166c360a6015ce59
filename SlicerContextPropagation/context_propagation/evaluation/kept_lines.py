"""A tested case's lines of the table, kept on disk so that it is tested once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from context_propagation.core.callbacks import Progress, no_progress
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.evaluation.case_rows import evaluate_case
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.rows import NEEDED_NO_EDIT
from context_propagation.evaluation.simulated_case import CaseJob
from context_propagation.training.job_memory import memory_of_a_job
from context_propagation.training.processes import run_in_parallel


def lines_of_cases(
    jobs: Sequence[CaseJob], folder: Path, description: str, workers: int | None, progress: Progress = no_progress
) -> list[CaseRow]:
    """The lines of all cases, in their order; a case that failed is tried again by the next run.

    Args:
        jobs: The cases.
        folder: Where their lines are kept, one file each.
        description: Of the stage.
        workers: See `run_in_parallel`.
        progress: See `run_in_parallel`.
    """
    found = run_in_parallel(
        [partial(_kept, job, folder) for job in jobs],
        description,
        workers,
        [job.case.name for job in jobs],
        [_lines_file(job, folder) for job in jobs],
        progress,
        jobs[0].base.device if jobs else "cpu",
        partial(memory_of_a_job, jobs[0].base, [job.case for job in jobs], jobs[0].settings) if jobs else None,
    )
    return [line for of_case in found for line in of_case]


def _lines_file(job: CaseJob, folder: Path) -> Path:
    """Its name holds the far thresholds of all rows: with others, the case is tested anew."""
    chosen = json.dumps({row.name: [*row.far_thresholds.hashed, row.far_thresholds.fading_slices] for row in job.rows})
    return folder / f"{job.case.name}.{hashlib.sha256(chosen.encode()).hexdigest()[:12]}.json"


def _kept(job: CaseJob, folder: Path) -> list[CaseRow]:
    """A case's lines: those on disk where it was evaluated before."""
    path = _lines_file(job, folder)
    if path.is_file():
        return [CaseRow(**line) for line in json.loads(path.read_text(encoding="utf-8"))]
    lines = evaluate_case(job)
    if any(line.error not in ("", NEEDED_NO_EDIT) for line in lines):
        return lines  # tried again in the next run
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial_file:
        partial_file.write_text(json.dumps([asdict(line) for line in lines], default=float))
    return lines
