"""The networks of a test fold: one for each row, decoder level and fold of the base model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.data_sets import EvaluationData
from context_propagation.evaluation.fold_cases import FoldCases
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.rows import PAPER_PAIR
from context_propagation.evaluation.simulated_case import FusionRow
from context_propagation.evaluation.stage_clock import StageClock
from context_propagation.training.fusion.fusion_controls import InputsShown
from context_propagation.training.fusion.fusion_example import load_example
from context_propagation.training.fusion.fusion_jobs import FUSION_EXAMPLES, NO_EXAMPLES, NetworkJob
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.fusion.network_trainings import train_networks
from context_propagation.training.kept_examples import ExampleRecipe
from context_propagation.training.labelled_cases import ModelSource
from context_propagation.training.places import each


@dataclass(frozen=True)
class FoldNetworks:
    """Trains the networks of one test fold, on cases that its base model never saw.

    Attributes:
        plan: The protocol.
        data: Of the protocol.
        fold: Number of the test fold.
        cases: Of the fold.
        jobs: Processes at a time; None for one per CPU core.
        clock: Counts the seconds of the stages.
    """

    plan: EvaluationPlan
    data: EvaluationData
    fold: int
    cases: FoldCases
    jobs: int | None
    clock: StageClock

    def folder(self, level: int) -> Path:
        """Where a decoder level's examples and networks are."""
        return self.data.work / f"fold{self.fold}" / f"level{level}"

    def trained_rows(
        self, base: ModelSource, settings: SessionSettings, rows: Sequence[tuple[str, InputsShown]]
    ) -> list[FusionRow]:
        """Cache the examples, then train a network for each row and fold of the base model."""
        plan, folder = self.plan, self.folder(settings.level)
        recipe = ExampleRecipe(settings, plan.edits_per_case, plan.seed)
        of_training = replace(recipe, styles=plan.contour_styles)
        with self.clock.stage("examples"):
            training, validation = each(
                [
                    partial(self.examples, base, self.cases.fusion, of_training, plan.augmented_copies),
                    partial(self.examples, base, self.cases.validation, recipe, 0),
                ]
            )
        networks = len(base.here().load().splits)
        jobs = [
            NetworkJob(
                name=f"{row.replace(' ', '-')}.fold{number}",
                folder=folder / "networks",
                base=base,
                fold=number,
                architecture=self.architecture(row, inputs_shown, _channels(training)),
                settings=TrainingSettings(
                    epochs=plan.epochs, seed=plan.seed, inputs_shown=inputs_shown, averaging=plan.averaging
                ),
                training=tuple(path for of_fold, path in training if of_fold == number),
                validation=tuple(path for of_fold, path in validation if of_fold == number),
            )
            for row, inputs_shown in rows
            for number in range(networks)
        ]
        with self.clock.stage("fusion training"):
            train_networks(jobs, f"fold {self.fold}, level {settings.level}, networks", self.jobs)
        return [
            FusionRow(row, jobs_of_row[0].architecture, inputs_shown, tuple(job.weights for job in jobs_of_row))
            for index, (row, inputs_shown) in enumerate(rows)
            if (jobs_of_row := jobs[index * networks : (index + 1) * networks])
        ]

    def architecture(self, row: str, inputs_shown: InputsShown, channels: int) -> FusionSettings:
        plan = self.plan
        variant, width = (plan.fusion, plan.width_for(channels))
        if row in PAPER_PAIR:
            variant, width = "paper", plan.paper_width
        first = self.data.training_case(self.cases.fusion[0])
        numbers = len(first.hidden_truth) if inputs_shown == "hidden truth" else 0
        return FusionSettings(variant, channels, width, numbers)

    def examples(
        self, base: ModelSource, names: Sequence[str], recipe: ExampleRecipe, copies: int
    ) -> list[tuple[int, Path]]:
        """Number of the base model's fold, and file; of every copies + 1 cases, one is taken as it is."""
        cases = [
            replace(self.data.training_case(name), copy=number % (copies + 1)) for number, name in enumerate(names)
        ]
        folder = self.folder(recipe.settings.level) / "examples"
        stage = f"fold {self.fold}, level {recipe.settings.level}, simulated edits"
        found = FUSION_EXAMPLES.of_cases(base, cases, recipe, folder, stage, self.jobs)
        return [example for of_case in found for example in of_case]


def _channels(examples: Sequence[tuple[int, Path]]) -> int:
    """C', as the first example has it."""
    if not examples:
        raise UserInputError(NO_EXAMPLES)
    return int(load_example(examples[0][1]).inputs.f.shape[1])
