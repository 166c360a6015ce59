"""Runs a protocol from data to results: folds, trainings, cases, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.provenance import commit
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.evaluation.contour_interpolation import prepare_interpolation
from context_propagation.evaluation.data_sets import evaluation_data
from context_propagation.evaluation.fold_cases import cases_of_fold
from context_propagation.evaluation.plan import EvaluationPlan, read_plan
from context_propagation.evaluation.protocol_fold import ProtocolFold, base_training
from context_propagation.evaluation.report import Written, write_results
from context_propagation.evaluation.request import EvaluateRequest
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.stage_clock import StageClock
from context_propagation.training.places import each, leave_the_rest_to_who_gathers, this_call_gathers
from context_propagation.training.processes import run_in_parallel


def evaluate(request: EvaluateRequest) -> str:
    """Run a protocol; every finished step is kept, and the tables are written after each fold and decoder level.

    Returns:
        A line about what was written, and one with the seconds of each stage; what an earlier run left costs none.

    Raises:
        MissingDependencyError: A package that it needs is not installed.
        UserInputError: The protocol or the data cannot be used, or the output folder holds another protocol's results;
            or cases failed: all tables are written, and the next run tries these cases again.
    """
    plan = read_plan(request.protocol, request.quick)
    data = evaluation_data(plan, request.protocol, request.work or request.output / "work")
    folds = {fold: cases_of_fold(data.folds, plan, fold) for fold in plan.test_folds}
    prepare_interpolation()  # before processes would do so at the same time, and before any training
    _claim(request.output, plan)
    commits = _commits(request.output)
    clock = StageClock()
    with clock.stage("images"):
        data.make([name for cases in folds.values() for name in cases.names], request.jobs)
    trainings = [base_training(request, plan, data, cases) for cases in folds.values()]
    with clock.stage("base training"):
        run_in_parallel(
            [training.run for training in trainings],
            "base models",
            request.jobs,
            [f"fold {fold}" for fold in folds],
            [training.leaves for training in trainings],
            device="cpu" if plan.model == "nnU-Net" else request.device,
        )
    written = Written(plan, _command(request), commits, data.style_counts(folds))
    failed = 0
    evaluations = [ProtocolFold(request, plan, data, fold, cases, written, clock) for fold, cases in folds.items()]
    steps: list[Callable[[], list[CaseRow]]] = [evaluation.main_level for evaluation in evaluations]
    steps += [partial(evaluations[0].other_level, level) for level in plan.other_levels]
    for lines in each(steps):
        written.lines += lines
        failed = write_results(written, request.output) if this_call_gathers() else 0
    leave_the_rest_to_who_gathers()
    done = f"{len({line.case for line in written.lines})} cases in {len(folds)} folds"
    said = f"{request.output / 'summary.md'}: {done}"
    if failed:
        raise UserInputError(f"{said}; {failed} cases FAILED, named there; the same command tries them again")
    return f"{said}\ntook: {clock}"


def _commits(output: Path) -> list[str]:
    """The commits at which this folder's results were computed, this one last."""
    record = output / "commits.json"
    commits: list[str] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    if commit() not in commits:
        commits.append(commit())
        with whole_file(record) as partial_file:
            partial_file.write_text(json.dumps(commits), encoding="utf-8")
    return commits


def _command(request: EvaluateRequest) -> str:
    quick = " --quick" if request.quick else ""
    return f"context-propagation evaluate --protocol {request.protocol.name} --output DIR{quick}"


def _claim(output: Path, plan: EvaluationPlan) -> None:
    """Say whose results the folder holds, before any work."""
    record = output / "protocol.json"
    wanted = json.dumps(asdict(plan), indent=2) + "\n"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if record.is_file() and record.read_text(encoding="utf-8") != wanted:
            raise UserInputError(f"'{output}' holds results of another protocol; choose another folder or delete it")
        with whole_file(record) as partial_file:
            partial_file.write_text(wanted, encoding="utf-8")
    except OSError as error:
        raise UserInputError(f"Cannot write to '{output}': {error.strerror or error}; choose another place") from error
