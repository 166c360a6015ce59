"""What charging a fusion network for what far slices lose is worth: trained with and without, at several rates.

    python benchmarks/harm_in_training.py --work DIR [--protocol hippocampus-observer.toml] [--tested N]

On the protocol's first test fold, for our network and the paper's: two trainings each, alike but for the harm. Far
thresholds are chosen on the protocol's threshold cases at each allowed rate; the whole volume's DSC on the tested ones
is compared by a paired Wilcoxon test. The control is the update alone, which no training touches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.evaluation.far_thresholds import NOTHING, Trial, best_safe, kept_trials
from context_propagation.evaluation.rows import FUSION, PAPER_PAIR
from context_propagation.evaluation.simulated_case import FusionRow
from context_propagation.training.far_harm import HARM_WEIGHT
from context_propagation.training.fusion.fusion_jobs import NetworkJob
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.fusion.network_trainings import train_networks
from first_fold import FirstFold, arguments_of
from least_gain import ALLOWED, compared, figures, of
from provenance import provenance

WAYS = "without", "with"


@dataclass(frozen=True)
class Way:
    """A network, trained one of both ways.

    Attributes:
        row: Of the protocol's table.
        job: Its training.
        folder: Where what is tried with it is kept.
    """

    row: str
    job: NetworkJob
    folder: Path

    def tried(self, first: FirstFold, tested: int) -> tuple[list[Trial], list[Trial]]:
        """All far thresholds on the cases that choose, and on those that are tested."""
        row = FusionRow(self.row, self.job.architecture, "edit", (self.job.weights,))
        chosen_on = kept_trials(first.trials([row]), self.row, self.folder, min(1, first.plan.augmented_copies))
        return chosen_on, kept_trials(
            first.tests([row], tested), self.row, self.folder / first.plan.name.replace(" ", "-")
        )


def ways(first: FirstFold) -> dict[str, list[Way]]:
    """For our network and the paper's, without and with the harm; as it is by default, where `evaluate` keeps it."""
    plan = first.plan
    training, validation = (tuple(chain.from_iterable(of_cases)) for of_cases in first.fusion_examples())
    ours = first.architecture(training[0])
    paper = FusionSettings("paper", ours.channels, plan.paper_width)
    usual = TrainingSettings(plan.epochs, seed=plan.seed, averaging=plan.averaging)

    def way(row: str, architecture: FusionSettings, weight: float | None) -> Way:
        folder = first.folder if weight is None else first.folder / "harm"
        name, settings = f"{row.replace(' ', '-')}.fold0", replace(usual, harm_weight=weight)
        networks = folder / "networks"
        job = NetworkJob(name, networks, first.base, 0, architecture, settings, training, validation)
        return Way(row, job, folder)

    return {
        FUSION: [way(FUSION, ours, 0.0), way(FUSION, ours, None)],
        PAPER_PAIR[0]: [way(PAPER_PAIR[0], paper, None), way(PAPER_PAIR[0], paper, HARM_WEIGHT)],
    }


def main() -> None:
    """Print a line for each network, allowed rate and way."""
    arguments = arguments_of(__doc__ or "", "hippocampus-observer.toml")
    first = FirstFold.of(arguments.protocol, arguments.work)
    cases = min(arguments.tested, len(first.cases.test))
    print(f"{first.plan.name}\n{provenance(first.plan.seed, cases)}")
    found = ways(first)
    jobs = [way.job for both in found.values() for way in both]
    train_networks(jobs, "networks")
    for row, both in found.items():
        tried = [way.tried(first, cases) for way in both]
        print(f"{row}; update alone: {figures(of(tried[0][1], NOTHING))}")
        for allowed in ALLOWED:
            chosen = [of(tests, best_safe(trials, allowed)[0]) for trials, tests in tried]
            for way, trials in zip(WAYS, chosen, strict=True):
                print(f"{100 * allowed:g} % allowed, {way} the harm: {figures(trials)}")
            compared(*chosen)


if __name__ == "__main__":
    main()
