"""How sure the fusion network must be before it changes a far voxel: chosen on validation cases alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np

from context_propagation.core.callbacks import Progress, no_progress
from context_propagation.core.measures.accuracy import dice
from context_propagation.core.measures.regression import ALLOWED_REGRESSION, regressed_slices
from context_propagation.core.propagation.composition import compose
from context_propagation.core.propagation.far_thresholds import FADING_SLICES, FarThresholds
from context_propagation.core.session.preview import Preview
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.evaluation.rows import PICKS
from context_propagation.evaluation.simulated_case import CaseJob, CaseSession
from context_propagation.training.job_memory import memory_of_a_job
from context_propagation.training.labelled_cases import with_copies
from context_propagation.training.processes import run_in_parallel

ADD = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.0)


REMOVE = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)


WITH_GAIN = (0.0, 0.4, 0.8, 0.9, 0.98, 1.0), (0.2, 0.6, 0.9, 0.98, 0.998, 1.0), (0.02, 0.05, 0.08, 0.12, 0.2)
"""Of both and of the least gain: fewer pairs are tried with one."""


NOTHING = FarThresholds(1.0, 1.0)
"""Changes nothing."""


CANDIDATES = (
    *(FarThresholds(add, remove) for add, remove in product(ADD, REMOVE)),
    *(FarThresholds(add, remove, least_gain=gain) for add, remove, gain in product(*WITH_GAIN) if min(add, remove) < 1),
)


@dataclass(frozen=True)
class Trial:
    """One candidate on one edit of one case.

    Attributes:
        candidate: Its number.
        pick: Of the slice.
        regressed: Slices that lost more than 0.02 DSC.
        untouched: Slices that were not drawn.
        dsc: Of the whole volume.
    """

    candidate: int
    pick: str
    regressed: int
    untouched: int
    dsc: float


def choose_far_thresholds(
    jobs: Sequence[CaseJob],
    row: str,
    folder: Path,
    copies: int,
    allowed: float,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> FarThresholds:
    """The candidate with the best mean DSC among those with which the edits make few enough slices worse.

    Args:
        jobs: Cases that neither the base model nor the fusion networks were trained on.
        row: Whose network is tried.
        folder: Where the trials are kept.
        copies: Of each case with augmented intensities that are tried too.
        allowed: Share of untouched slices, mean of both picks, that may lose more than 0.02 DSC on these cases.
        workers: Processes at a time.
        progress: See `run_in_parallel`.

    Returns:
        The most careful candidate, which changes nothing, where none is safe enough.
    """
    return best_safe(kept_trials(jobs, row, folder, copies, workers, progress), allowed)[0]


def kept_trials(
    jobs: Sequence[CaseJob],
    row: str,
    folder: Path,
    copies: int = 0,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> list[Trial]:
    """Every candidate on every edit of the cases; see `choose_far_thresholds`."""
    record = folder / f"far-trials.{row.replace(' ', '-')}.json"
    rule = {
        "candidates": [one.hashed for one in CANDIDATES],
        "cases": [job.case.name for job in jobs],
        "copies": copies,
        "fading_slices": FADING_SLICES,
    }
    stage = f"far thresholds, {row}"
    if record.is_file() and (kept := json.loads(record.read_text(encoding="utf-8")))["rule"] == rule:
        progress(stage, 1.0)
        return [Trial(*trial) for trial in kept["trials"]]
    alone = [replace(job, rows=tuple(of_job for of_job in job.rows if of_job.name == row)) for job in jobs]
    tried = [replace(job, case=case) for job in alone for case in with_copies([job.case], copies)]
    kept_in = folder / record.stem / hashlib.sha256(json.dumps(rule, sort_keys=True).encode()).hexdigest()[:12]
    leaves = [kept_in / f"{job.case.name}.copy{job.case.copy}.json" for job in tried]
    work = [partial(_kept_trials, job, file) for job, file in zip(tried, leaves, strict=True)]
    names, device = [job.case.name for job in tried], jobs[0].base.device
    memory = partial(memory_of_a_job, jobs[0].base, [job.case for job in jobs], jobs[0].settings)
    found = run_in_parallel(work, stage, workers, names, leaves, progress, device, memory)
    trials = [trial for of_case in found for trial in of_case]
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(record) as partial_file:
        partial_file.write_text(json.dumps({"rule": rule, "trials": [astuple(trial) for trial in trials]}))
    return trials


def best_safe(trials: Sequence[Trial], allowed: float = ALLOWED_REGRESSION) -> tuple[FarThresholds, dict[str, float]]:
    """The choice, and its regression rate for each pick of the slice; their mean must be allowed."""
    picks = sorted({trial.pick for trial in trials})
    best, best_dsc, best_rates = NOTHING, -1.0, dict.fromkeys(picks, 0.0)
    for number, candidate in enumerate(CANDIDATES):
        of_candidate = [trial for trial in trials if trial.candidate == number]
        rates = {pick: _rate([trial for trial in of_candidate if trial.pick == pick]) for pick in picks}
        dsc = mean(trial.dsc for trial in of_candidate) if of_candidate else -1.0
        if dsc > best_dsc and mean(rates.values()) <= allowed:
            best, best_dsc, best_rates = candidate, dsc, rates
    return best, best_rates


def _rate(trials: Sequence[Trial]) -> float:
    return sum(trial.regressed for trial in trials) / max(1, sum(trial.untouched for trial in trials))


def _kept_trials(job: CaseJob, file: Path) -> list[Trial]:
    """A case's trials: those on disk where it was tried before."""
    if file.is_file():
        return [Trial(*trial) for trial in json.loads(file.read_text(encoding="utf-8"))]
    trials = _trials(job)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as partial_file:
        partial_file.write_text(json.dumps([astuple(trial) for trial in trials]))
    return trials


def _trials(job: CaseJob) -> list[Trial]:
    evaluation = CaseSession(job)
    edits = {pick: edit for pick in PICKS if (edit := evaluation.edit(pick)) is not None}
    trials = []
    for pick, edit in edits.items():
        preview = evaluation.preview(edit)
        for fusion in evaluation.fusions.values():
            trials += _trials_of(evaluation, preview.fused_by(fusion), pick)
    return trials


def _trials_of(evaluation: CaseSession, fused: Preview, pick: str) -> list[Trial]:
    """Of all candidates; what many of them give alike is measured once."""
    known: dict[bytes, Trial] = {}
    trials = []
    for number, candidate in enumerate(CANDIDATES):
        labels = compose(fused.masks.window_prediction, fused.after, candidate, fused.far_rule)
        key = hashlib.sha256(np.packbits(labels)).digest()
        if key not in known:
            known[key] = _trial(evaluation, fused.with_thresholds(candidate), number, pick)
        trials.append(replace(known[key], candidate=number))
    return trials


def _trial(evaluation: CaseSession, fused: Preview, number: int, pick: str) -> Trial:
    (edit,) = fused.edits
    mask = fused.segmentation
    untouched = np.delete(np.arange(evaluation.truth.shape[edit.axis]), edit.index).tolist()
    count = regressed_slices(evaluation.baseline, mask, evaluation.truth, edit.axis, untouched)
    return Trial(number, pick, count.regressed, count.untouched, dice(mask, evaluation.truth))
