"""What 3, 10 and 48 labelled cases are worth to a fresh fusion network, 3 and 10 to the general one, trained further.

    python benchmarks/few_cases.py --work DIR [--protocol hippocampus-observer.toml] [--tested N]

On the protocol's first test fold. Each network has its no-edit control, trained on the same cases, and far thresholds
of its own, chosen on the protocol's threshold cases. Fresh ones are trained in as many steps each. Without cases: the
general far network that ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import pandas as pd
from scipy.stats import wilcoxon

from context_propagation.evaluation.case_rows import evaluate_case
from context_propagation.evaluation.far_thresholds import choose_far_thresholds
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.rows import GENERAL_PAIR, PICKS, TRAINED_ROWS
from context_propagation.evaluation.simulated_case import CaseJob, FusionRow, TunedRow
from context_propagation.evaluation.validated_bundle import TrainFusionRequest
from context_propagation.training.fusion.fusion_jobs import NetworkJob
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.fusion.network_trainings import train_networks
from context_propagation.training.general.general_training import Shown
from context_propagation.training.general.general_tuning import (
    GENERAL_EXAMPLES,
    LEAST_STYLES,
    TuningJob,
    tune_general,
)
from context_propagation.training.processes import run_in_parallel
from first_fold import FirstFold, arguments_of
from provenance import provenance

NUMBERS = (3, 10, 48)
TUNED = (3, 10)
"""On how many the general network is trained further: with more it is not what `train-fusion` does."""


PAIR = TRAINED_ROWS[:2]
EPOCHS = TrainFusionRequest.epochs
Row = FusionRow | TunedRow


def title(row: str, cases: int) -> str:
    """Of a row of the table."""
    return f"{row}, {cases} cases"


def trained(first: FirstFold) -> list[FusionRow]:
    """The networks: as often as it takes, few cases are repeated, so that an epoch has the same number of steps."""
    plan = first.plan
    training, validation = first.fusion_examples()
    architecture = first.architecture(training[0][0])
    most = max(NUMBERS)
    jobs, rows = [], []
    for cases in NUMBERS:
        repeated = [path for of_case in training[:cases] for path in of_case] * (most // cases)
        for row, shown in PAIR:
            name = title(row, cases).replace(",", "").replace(" ", "-")
            settings = TrainingSettings(plan.epochs, seed=plan.seed, inputs_shown=shown, averaging=plan.averaging)
            chosen = tuple(path for of_case in validation for path in of_case)
            networks = first.folder / "few_cases" / "networks"
            job = NetworkJob(name, networks, first.base, 0, architecture, settings, tuple(repeated), chosen)
            jobs.append(job)
            rows.append(FusionRow(title(row, cases), architecture, shown, (job.weights,)))
    train_networks(jobs, "networks")
    return rows


def tuned(first: FirstFold) -> list[TunedRow]:
    """The general far network, trained further; each second case is an augmented copy, as for fresh ones."""
    plan, names = first.plan, first.cases
    styled = replace(first.recipe, styles=max(LEAST_STYLES, plan.contour_styles))
    made = first.folder / "few_cases" / "general"

    learned = first.training_cases(names.fusion[: max(TUNED)], plan.augmented_copies)
    training = GENERAL_EXAMPLES.of_cases(first.base, learned, styled, made)
    validated = first.training_cases(names.validation, 0)
    validation = tuple(GENERAL_EXAMPLES.of_cases(first.base, validated, first.recipe, made))
    jobs, rows = [], []
    for cases in TUNED:
        for row, shown in zip(GENERAL_PAIR, get_args(Shown), strict=True):
            name = title(row, cases).replace(",", "").replace(" ", "-")
            job = TuningJob(name, made, shown, EPOCHS, plan.seed, tuple(training[:cases]), validation)
            jobs.append(job)
            rows.append(TunedRow(title(row, cases), shown, job.weights))
    run_in_parallel([partial(tune_general, job) for job in jobs], "networks", leaves=[job.leaves for job in jobs])
    return rows


def with_thresholds(plan: EvaluationPlan, rows: Sequence[Row], trials: Sequence[CaseJob], folder: Path) -> list[Row]:
    """Those of each network are its control's too."""
    made: list[Row] = []
    for fusion, control in zip(rows[::2], rows[1::2], strict=True):
        copies = min(1, plan.augmented_copies)
        chosen = choose_far_thresholds(trials, fusion.name, folder / "few_cases", copies, plan.allowed_regression)
        made += [replace(row, far_thresholds=chosen) for row in (fusion, control)]
    return made


def main() -> None:
    """Print a table for each pick."""
    arguments = arguments_of(__doc__ or "", "hippocampus-observer.toml")
    first = FirstFold.of(arguments.protocol, arguments.work)
    rows: list[Row] = [*trained(first), *tuned(first)]
    chosen = with_thresholds(first.plan, rows, first.trials(rows), first.folder)
    jobs = first.tests(chosen, arguments.tested)
    names = [job.case.name for job in jobs]
    found = run_in_parallel([partial(evaluate_case, job) for job in jobs], "cases", names=names)
    frame = pd.DataFrame([vars(line) for of_case in found for line in of_case if not line.error])
    print(f"{first.plan.name}\n{provenance(first.plan.seed, len(jobs))}")
    pairs = [GENERAL_PAIR]
    for (fusion, control), numbers in (((PAIR[0][0], PAIR[1][0]), NUMBERS), (GENERAL_PAIR, TUNED)):
        pairs += [(title(fusion, cases), title(control, cases)) for cases in numbers]
    for pick in PICKS:
        print(f"\n{pick} slice redrawn; DSC of the whole volume and of far slices; control's in brackets")
        of_pick = frame[frame["pick"] == pick]
        table = of_pick.pivot_table(index="case", columns=["scope", "row"], values="dsc")
        print(f"update: {table['whole', 'update'].mean():.4f}, far {table['far', 'update'].mean():.4f}")
        whole = of_pick[of_pick["scope"] == "whole"].groupby("row")[["regressed_slices", "untouched_slices"]].sum()
        for row, control in pairs:
            gain = table["far", row] - table["far", control]
            worse = 100 * whole.loc[row, "regressed_slices"] / whole.loc[row, "untouched_slices"]
            means = [table[scope, name].mean() for scope in ("whole", "far") for name in (row, control)]
            p = wilcoxon(gain).pvalue if gain.any() else 1.0
            print(
                f"{row:18s} {means[0]:.4f} ({means[1]:.4f}), far {means[2]:.4f} ({means[3]:.4f}), the edit's part "
                f"{gain.mean():+.4f} p {p:.1g}, {worse:.1f} % worse"
            )


if __name__ == "__main__":
    main()
