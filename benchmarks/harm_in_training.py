"""What charging a fusion network for what far slices lose is worth: trained with and without, at several rates.

    python benchmarks/harm_in_training.py --work DIR [--protocol hippocampus-observer.toml] [--tested N]

On the protocol's first test fold, for our network and the paper's: two trainings each, alike but for the harm. Far
thresholds are chosen on the protocol's threshold cases at each allowed rate; the whole volume's DSC on the tested ones
is compared by a paired Wilcoxon test. The control is the update alone, which no training touches.
"""

from __future__ import annotations

from functools import partial
from itertools import chain

from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.evaluation.far_thresholds import NOTHING, Trial, best_safe, kept_trials
from context_propagation.evaluation.rows import FUSION, PAPER_PAIR
from context_propagation.evaluation.simulated_case import FusionRow
from context_propagation.training.far_harm import HARM_WEIGHT
from context_propagation.training.fusion.fusion_jobs import NetworkJob, train_network
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.processes import run_in_parallel
from first_fold import FirstFold, arguments_of
from least_gain import ALLOWED, compared, figures, of
from provenance import provenance

WEIGHTS = {"without": 0.0, "with": HARM_WEIGHT}


def trained(first: FirstFold) -> dict[str, list[FusionRow]]:
    """For our network and the paper's, the rows without and with the harm."""
    plan = first.plan
    training, validation = (tuple(chain.from_iterable(of_cases)) for of_cases in first.fusion_examples())
    ours = first.architecture(training[0])
    architectures = {FUSION: ours, PAPER_PAIR[0]: FusionSettings("paper", ours.channels, plan.paper_width)}
    jobs = [
        NetworkJob(
            f"{architecture.variant}-{way}",
            first.folder / "harm" / "networks",
            first.base,
            0,
            architecture,
            TrainingSettings(plan.epochs, seed=plan.seed, averaging=plan.averaging, harm_weight=weight),
            training,
            validation,
        )
        for architecture in architectures.values()
        for way, weight in WEIGHTS.items()
    ]
    run_in_parallel([partial(train_network, job) for job in jobs], "networks", leaves=[job.leaves for job in jobs])
    return {
        name: [FusionRow(FUSION, job.architecture, "edit", (job.weights,)) for job in jobs[start : start + 2]]
        for start, name in zip((0, 2), architectures, strict=True)
    }


def tried(first: FirstFold, row: FusionRow, tested: int) -> tuple[list[Trial], list[Trial]]:
    """All far thresholds on the cases that choose, and on those that are tested."""
    kept, copies = first.folder / "harm" / row.weights[0].stem, min(1, first.plan.augmented_copies)
    chosen_on = kept_trials(first.trials([row]), FUSION, kept / "chosen_on", copies)
    return chosen_on, kept_trials(first.tests([row], tested), FUSION, kept / first.plan.name.replace(" ", "-"))


def main() -> None:
    """Print a line for each network, allowed rate and way."""
    arguments = arguments_of(__doc__ or "", "hippocampus-observer.toml")
    first = FirstFold.of(arguments.protocol, arguments.work)
    print(f"{first.plan.name}\n{provenance(first.plan.seed, arguments.tested)}")
    for name, rows in trained(first).items():
        both = [tried(first, row, arguments.tested) for row in rows]
        print(f"{name}; update alone: {figures(of(both[0][1], NOTHING))}")
        for allowed in ALLOWED:
            found = [of(tests, best_safe(trials, allowed)[0]) for trials, tests in both]
            for way, trials in zip(WEIGHTS, found, strict=True):
                print(f"{100 * allowed:g} % allowed, {way} the harm: {figures(trials)}")
            compared(*found)


if __name__ == "__main__":
    main()
