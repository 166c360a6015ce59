"""What a least gain of far slices is worth: far thresholds chosen with and without one, at several allowed rates.

    python benchmarks/least_gain.py --work DIR [--protocol hippocampus-clean.toml] [--tested N]

On the protocol's first test fold: its fusion network, which `evaluate` with the same --work may have trained. Both ways
choose on the protocol's threshold cases, are tested on the same cases, and are compared by a paired Wilcoxon test of
the whole volume's DSC. The control is the update alone, which no threshold touches.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from context_propagation.core.propagation.far_thresholds import EVERY_SLICE, FarThresholds
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.data_sets import EvaluationData, evaluation_data
from context_propagation.evaluation.far_thresholds import CANDIDATES, NOTHING, Trial, best_safe, kept_trials
from context_propagation.evaluation.fold_cases import FoldCases, cases_of_fold
from context_propagation.evaluation.plan import EvaluationPlan, read_plan
from context_propagation.evaluation.rows import FUSION, PICKS
from context_propagation.evaluation.simulated_case import CaseJob, FusionRow
from context_propagation.training.base.base_training import BaseTraining
from context_propagation.training.fusion.fusion_example import load_example
from context_propagation.training.fusion.fusion_jobs import ExampleRecipe, NetworkJob, cache_examples, train_network
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.labelled_cases import ModelSource
from context_propagation.training.processes import run_in_parallel
from provenance import provenance

PROTOCOLS = Path(__file__).parent / "protocols"
ALLOWED = (0.005, 0.01, 0.015, 0.02, 0.03)


def examples(
    base: ModelSource, data: EvaluationData, names: Sequence[str], recipe: ExampleRecipe, copies: int, folder: Path
) -> tuple[Path, ...]:
    """As the evaluation has them."""
    cases = [replace(data.training_case(name), copy=number % (copies + 1)) for number, name in enumerate(names)]
    made = run_in_parallel([partial(cache_examples, base, case, recipe, folder) for case in cases], "examples")
    return tuple(path for of_case in made for _, path in of_case)


def trained(plan: EvaluationPlan, data: EvaluationData, fold: FoldCases, base: ModelSource, folder: Path) -> FusionRow:
    """The fusion row, as `evaluate` trains it and where it keeps it."""
    recipe = ExampleRecipe(SessionSettings(level=plan.level), plan.edits_per_case, plan.seed)
    of_training = replace(recipe, styles=plan.contour_styles)
    training = examples(base, data, fold.fusion, of_training, plan.augmented_copies, folder / "examples")
    validation = examples(base, data, fold.validation, recipe, 0, folder / "examples")
    channels = int(load_example(training[0]).inputs.f.shape[1])
    architecture = FusionSettings(plan.fusion, channels, plan.width_for(channels))
    settings = TrainingSettings(plan.epochs, seed=plan.seed, inputs_shown="edit", averaging=plan.averaging)
    job = NetworkJob("fusion.fold0", folder / "networks", base, 0, architecture, settings, training, validation)
    (weights,) = run_in_parallel([partial(train_network, job)], "network", leaves=[job.leaves])
    return FusionRow(FUSION, architecture, "edit", (weights,))


def without_gain(trials: Sequence[Trial]) -> list[Trial]:
    """Those of candidates without a least gain."""
    return [trial for trial in trials if CANDIDATES[trial.candidate].least_gain == EVERY_SLICE]


def of(trials: Sequence[Trial], thresholds: FarThresholds) -> list[Trial]:
    """Those of one candidate, in the order of cases and picks."""
    number = CANDIDATES.index(thresholds)
    return [trial for trial in trials if trial.candidate == number]


def figures(trials: Sequence[Trial]) -> str:
    """DSC and slices made worse, for each pick."""
    parts = []
    for pick in PICKS:
        here = [trial for trial in trials if trial.pick == pick]
        worse = 100 * sum(trial.regressed for trial in here) / sum(trial.untouched for trial in here)
        parts.append(f"{pick} {np.mean([trial.dsc for trial in here]):.4f}, {worse:.2f} % worse")
    return "; ".join(parts)


def main() -> None:
    """Print a line for each allowed rate and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="for trainings; as evaluate's")
    parser.add_argument("--protocol", default="hippocampus-clean.toml", help="its file name")
    parser.add_argument("--tested", type=int, default=20, help="cases")
    arguments = parser.parse_args()
    file = PROTOCOLS / arguments.protocol
    plan = read_plan(file)
    data = evaluation_data(plan, file, arguments.work)
    number = plan.test_folds[0]
    fold = cases_of_fold(data.folds, plan, number)
    training = tuple(data.training_case(name) for name in fold.base)
    source = BaseTraining(plan.model, training, data.task, data.work / "base", plan.base_epochs, plan.seed)
    base, folder = ModelSource(source.run(), device="cpu"), data.work / f"fold{number}" / f"level{plan.level}"
    row, settings = trained(plan, data, fold, base, folder), SessionSettings(level=plan.level)
    choosing = [
        CaseJob(str(number), base, data.training_case(name), settings, (row,), interpolation=False)
        for name in fold.thresholds
    ]
    tested = list(fold.test)[: arguments.tested]
    testing = [
        CaseJob(str(number), base, data.test_case(name), settings, (row,), interpolation=False) for name in tested
    ]
    tried = kept_trials(choosing, FUSION, folder / "least_gain" / "chosen_on", min(1, plan.augmented_copies))
    found = kept_trials(testing, FUSION, folder / "least_gain" / plan.name.replace(" ", "-"))
    print(f"{plan.name}\n{provenance(plan.seed, len(tested))}")
    print(f"update alone: {figures(of(found, NOTHING))}")
    for allowed in ALLOWED:
        both = [best_safe(trials, allowed)[0] for trials in (without_gain(tried), tried)]
        for name, chosen in zip(("without", "with"), both, strict=True):
            gain = "" if chosen.least_gain == EVERY_SLICE else f", least gain {chosen.least_gain:g}"
            print(
                f"{100 * allowed:g} % allowed, {name} a least gain: {figures(of(found, chosen))} (add {chosen.add:g}, "
                f"remove {chosen.remove:g}{gain})"
            )
        for pick in PICKS:
            pairs = [[trial.dsc for trial in of(found, chosen) if trial.pick == pick] for chosen in both]
            differences = np.subtract(pairs[1], pairs[0])
            p = wilcoxon(differences).pvalue if differences.any() else 1.0
            print(f"    {pick}: {differences.mean():+.4f}, p {p:.1g}")


if __name__ == "__main__":
    main()
