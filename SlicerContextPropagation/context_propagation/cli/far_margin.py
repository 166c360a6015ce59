"""How sure the fusion network must be before it changes a far voxel: chosen on validation cases alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np

from context_propagation.cli.evaluation_case import PICKS, CaseJob, CaseSession
from context_propagation.cli.fusion_jobs import run_in_parallel, with_copies
from context_propagation.cli.regression import regressed_slices, slice_dsc
from context_propagation.core.composition import EditRecord, FarMargin

ADD, REMOVE = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95), (0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
CANDIDATES = tuple(FarMargin(add, remove) for add, remove in product(ADD, REMOVE) if add <= remove)
ALLOWED_REGRESSION = 0.02
"""Share of untouched slices that may lose more than 0.02 DSC on the validation cases, below the 0.03 that is promised:
validation cases are few, and the images tested may be worse."""

AUGMENTED_COPIES = 2


@dataclass(frozen=True)
class Trial:
    """One candidate on one edit of one case.

    Attributes:
        row: The table's row.
        candidate: Its number.
        group: Edits that must be safe together: the pick of the slice, and whether the image is augmented.
        regressed: Slices that lost more than 0.02 DSC.
        untouched: Slices that were not drawn.
        dsc: Mean DSC over all slices.
    """

    row: str
    candidate: int
    group: str
    regressed: int
    untouched: int
    dsc: float


def choose_far_margins(jobs: Sequence[CaseJob], folder: Path, workers: int | None = None) -> dict[str, FarMargin]:
    """For each row, the candidate with the best mean DSC among those that make few enough slices worse in every group.

    Args:
        jobs: Cases that neither the base model nor the fusion networks were trained on. Each is tried as it is and with
            augmented intensities.
        folder: Where the choice is kept.
        workers: Processes at a time.

    Returns:
        For each row's name its margin; the most careful candidate where none is safe enough.
    """
    record = folder / "far_margin.json"
    rule = {"add": ADD, "remove": REMOVE, "allowed": ALLOWED_REGRESSION, "copies": AUGMENTED_COPIES}
    rule = json.loads(json.dumps(rule))
    if record.is_file() and (kept := json.loads(record.read_text(encoding="utf-8")))["rule"] == rule:
        return {row: FarMargin(**margin) for row, margin in kept["far_margins"].items()}
    tried = [replace(job, case=case) for job in jobs for case in with_copies([job.case], AUGMENTED_COPIES)]
    found = run_in_parallel([partial(_trials, job) for job in tried], "far margins", workers)
    trials = [trial for of_case in found for trial in of_case]
    chosen, rates = {}, {}
    for row in jobs[0].rows:
        chosen[row.name], rates[row.name] = best_candidate([trial for trial in trials if trial.row == row.name])
    folder.mkdir(parents=True, exist_ok=True)
    partial_file = record.with_suffix(".partial")
    margins = {row: asdict(margin) for row, margin in chosen.items()}
    text = json.dumps({"rule": rule, "far_margins": margins, "validation_regression_rates": rates}, indent=2)
    partial_file.write_text(text)
    partial_file.replace(record)
    return chosen


def best_candidate(trials: Sequence[Trial]) -> tuple[FarMargin, dict[str, float]]:
    """The choice, and its regression rate in each group."""
    groups = sorted({trial.group for trial in trials})
    best, best_dsc, best_rates = CANDIDATES[-1], -1.0, dict.fromkeys(groups, float("nan"))
    for number, candidate in enumerate(CANDIDATES):
        of_candidate = [trial for trial in trials if trial.candidate == number]
        rates = {group: _rate([trial for trial in of_candidate if trial.group == group]) for group in groups}
        dsc = mean(trial.dsc for trial in of_candidate) if of_candidate else -1.0
        if dsc > best_dsc and max(rates.values()) <= ALLOWED_REGRESSION:
            best, best_dsc, best_rates = candidate, dsc, rates
    return best, best_rates


def _rate(trials: Sequence[Trial]) -> float:
    return sum(trial.regressed for trial in trials) / max(1, sum(trial.untouched for trial in trials))


def _trials(job: CaseJob) -> list[Trial]:
    evaluation = CaseSession(job)
    edits = {pick: edit for pick in PICKS if (edit := evaluation.edit(pick)) is not None}
    trials = []
    for pick, edit in edits.items():
        record, _ = evaluation.propagated(edit)
        group = f"{pick}, {'augmented' if job.case.copy else 'as it is'}"
        for row, fusion in evaluation.fusions.items():
            fused = evaluation.fused(record, fusion)
            trials += [_trial(evaluation, fused, row, number, group) for number in range(len(CANDIDATES))]
    return trials


def _trial(evaluation: CaseSession, record: EditRecord, row: str, number: int, group: str) -> Trial:
    (edit,) = record.edits
    mask = evaluation.composed(record, CANDIDATES[number])
    untouched = np.delete(np.arange(evaluation.truth.shape[edit.axis]), edit.index).tolist()
    count = regressed_slices(evaluation.baseline, mask, evaluation.truth, edit.axis, untouched)
    dsc = float(np.mean(slice_dsc(mask, evaluation.truth, edit.axis)))
    return Trial(row, number, group, count.regressed, count.untouched, dsc)
