"""What a least gain of far slices is worth: far thresholds chosen with and without one, at several allowed rates.

    python benchmarks/least_gain.py --work DIR [--protocol hippocampus-clean.toml] [--tested N]

On the protocol's first test fold: its fusion network, which `evaluate` with the same --work may have trained. Both ways
choose on the protocol's threshold cases, are tested on the same cases, and are compared by a paired Wilcoxon test of
the whole volume's DSC. The control is the update alone, which no threshold touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from scipy.stats import wilcoxon

from context_propagation.core.propagation.far_thresholds import EVERY_SLICE, FarThresholds
from context_propagation.evaluation.far_thresholds import CANDIDATES, NOTHING, Trial, best_safe, kept_trials
from context_propagation.evaluation.rows import FUSION, PICKS
from context_propagation.evaluation.simulated_case import FusionRow
from context_propagation.training.fusion.fusion_jobs import NetworkJob
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.fusion.network_trainings import train_networks
from first_fold import FirstFold, arguments_of
from provenance import provenance

ALLOWED = (0.005, 0.01, 0.015, 0.02, 0.03)


def trained(first: FirstFold) -> FusionRow:
    """The fusion row, as `evaluate` trains it and where it keeps it."""
    plan = first.plan
    training, validation = (tuple(chain.from_iterable(of_cases)) for of_cases in first.fusion_examples())
    architecture = first.architecture(training[0])
    settings = TrainingSettings(plan.epochs, seed=plan.seed, inputs_shown="edit", averaging=plan.averaging)
    networks = first.folder / "networks"
    job = NetworkJob("fusion.fold0", networks, first.base, 0, architecture, settings, training, validation)
    (weights,) = train_networks([job], "network")
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


def compared(before: Sequence[Trial], after: Sequence[Trial]) -> None:
    """Print how much the DSC of the same edits differs, for each pick."""
    for pick in PICKS:
        pairs = [[trial.dsc for trial in trials if trial.pick == pick] for trials in (before, after)]
        differences = np.subtract(pairs[1], pairs[0])
        p = wilcoxon(differences).pvalue if differences.any() else 1.0
        print(f"    {pick}: {differences.mean():+.4f}, p {p:.1g}")


def main() -> None:
    """Print a line for each allowed rate and way."""
    arguments = arguments_of(__doc__ or "", "hippocampus-clean.toml")
    first = FirstFold.of(arguments.protocol, arguments.work)
    plan, kept, row = first.plan, first.folder / "least_gain", trained(first)
    tested = first.tests([row], arguments.tested)
    tried = kept_trials(first.trials([row]), FUSION, kept / "chosen_on", min(1, plan.augmented_copies))
    found = kept_trials(tested, FUSION, kept / plan.name.replace(" ", "-"))
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
        compared(*(of(found, chosen) for chosen in both))


if __name__ == "__main__":
    main()
