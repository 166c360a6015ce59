"""How sure the fusion network must be before it changes a far voxel: chosen on validation cases alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from context_propagation.cli.evaluation_case import PICKS, CaseJob, CaseSession
from context_propagation.cli.fusion_jobs import run_in_parallel
from context_propagation.cli.regression import regressed_slices

CANDIDATES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
ALLOWED_REGRESSION = 0.025
"""Share of untouched slices that may lose more than 0.02 DSC on the validation cases; 0.03 is what is promised."""


@dataclass(frozen=True)
class MarginTrial:
    """One candidate on one case: counts over both picks of the edited slice."""

    far_margin: float
    regressed: int
    untouched: int


def choose_far_margin(jobs: Sequence[CaseJob], folder: Path, workers: int | None = None) -> float:
    """The smallest candidate with which few enough slices get worse; the largest one where none is enough.

    Args:
        jobs: Cases that neither the base model nor the fusion network was trained on, with the network's row alone.
        folder: Where the trials are kept.
        workers: Processes at a time.
    """
    record = folder / "far_margin.json"
    if record.is_file():
        return float(json.loads(record.read_text(encoding="utf-8"))["far_margin"])
    found = run_in_parallel([partial(_trials, job) for job in jobs], "far margin", workers)
    trials = [trial for of_case in found for trial in of_case]
    rates = {}
    for candidate in CANDIDATES:
        of_candidate = [trial for trial in trials if trial.far_margin == candidate]
        rates[candidate] = sum(t.regressed for t in of_candidate) / max(1, sum(t.untouched for t in of_candidate))
    allowed = [candidate for candidate, rate in rates.items() if rate <= ALLOWED_REGRESSION]
    chosen = min(allowed, default=CANDIDATES[-1])
    partial_file = record.with_suffix(".partial")
    partial_file.write_text(json.dumps({"far_margin": chosen, "validation_regression_rates": rates}, indent=2))
    partial_file.replace(record)
    return chosen


def _trials(job: CaseJob) -> list[MarginTrial]:
    evaluation = CaseSession(job)
    (fusion,) = evaluation.fusions.values()
    trials = []
    for pick in PICKS:
        edit = evaluation.edit(pick)
        if edit is None:
            continue
        record = evaluation.fused(evaluation.updated(edit), fusion)
        untouched = np.delete(np.arange(evaluation.truth.shape[edit.axis]), edit.index)
        for candidate in CANDIDATES:
            mask = evaluation.composed(record, candidate)
            count = regressed_slices(evaluation.baseline, mask, evaluation.truth, edit.axis, untouched.tolist())
            trials.append(MarginTrial(candidate, count.regressed, count.untouched))
    return trials
