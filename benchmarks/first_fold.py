"""The first test fold of a protocol, with its base model: what benchmarks of single networks have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.data_sets import EvaluationData, evaluation_data
from context_propagation.evaluation.fold_cases import FoldCases, cases_of_fold
from context_propagation.evaluation.plan import EvaluationPlan, read_plan
from context_propagation.evaluation.simulated_case import CaseJob, FusionRow, TunedRow
from context_propagation.training.base.base_training import BaseTraining
from context_propagation.training.fusion.fusion_example import load_example
from context_propagation.training.fusion.fusion_jobs import FUSION_EXAMPLES
from context_propagation.training.kept_examples import ExampleRecipe
from context_propagation.training.labelled_cases import LabelledCase, ModelSource

PROTOCOLS = Path(__file__).parent / "protocols"


def arguments_of(description: str, protocol: str) -> argparse.Namespace:
    """The command line: `work`, `protocol` and `tested`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="for trainings; as evaluate's")
    parser.add_argument("--protocol", default=protocol, help="its file name")
    parser.add_argument("--tested", type=int, default=20, help="cases")
    return parser.parse_args()


@dataclass(frozen=True)
class FirstFold:
    """A fold whose base model is trained.

    Attributes:
        plan: The protocol.
        data: Its images.
        number: Of the fold.
        cases: Who is trained, validated, tested.
        base: The base model.
        folder: Where `evaluate` keeps what belongs to fold and level.
    """

    plan: EvaluationPlan
    data: EvaluationData
    number: int
    cases: FoldCases
    base: ModelSource
    folder: Path

    @classmethod
    def of(cls, protocol: str, work: Path) -> FirstFold:
        """Read the protocol, and train the base model where that is not done yet."""
        file = PROTOCOLS / protocol
        plan = read_plan(file)
        data = evaluation_data(plan, file, work)
        number = plan.test_folds[0]
        cases = cases_of_fold(data.folds, plan, number)
        training = tuple(data.training_case(name) for name in cases.base)
        source = BaseTraining(plan.model, training, data.task, data.work / "base", plan.base_epochs, plan.seed)
        base = ModelSource(source.run(), device="cpu")
        return cls(plan, data, number, cases, base, data.work / f"fold{number}" / f"level{plan.level}")

    @property
    def settings(self) -> SessionSettings:
        """Of all sessions."""
        return SessionSettings(level=self.plan.level)

    @property
    def recipe(self) -> ExampleRecipe:
        """Of validation examples; training ones have the plan's styles too."""
        return ExampleRecipe(self.settings, self.plan.edits_per_case, self.plan.seed)

    def training_cases(self, names: Sequence[str], copies: int) -> list[LabelledCase]:
        """Of every copies + 1 cases one as it is, as the evaluation has them."""
        return [replace(self.data.training_case(name), copy=number % (copies + 1)) for number, name in enumerate(names)]

    def fusion_examples(self) -> tuple[list[list[Path]], list[list[Path]]]:
        """For training and for validation, of each case."""
        plan = self.plan
        styled = replace(self.recipe, styles=plan.contour_styles)
        training = self._examples(self.training_cases(self.cases.fusion, plan.augmented_copies), styled)
        return training, self._examples(self.training_cases(self.cases.validation, 0), self.recipe)

    def _examples(self, cases: Sequence[LabelledCase], recipe: ExampleRecipe) -> list[list[Path]]:
        folder = self.folder / "examples"
        made = FUSION_EXAMPLES.of_cases(self.base, cases, recipe, folder)
        return [[path for _, path in of_case] for of_case in made]

    def architecture(self, example: Path) -> FusionSettings:
        """The plan's network for features such as this example's."""
        channels = int(load_example(example).inputs.f.shape[1])
        return FusionSettings(self.plan.fusion, channels, self.plan.width_for(channels))

    def trials(self, rows: Sequence[FusionRow | TunedRow]) -> list[CaseJob]:
        """The cases that choose far thresholds."""
        return [self._job(self.data.training_case(name), rows) for name in self.cases.thresholds]

    def tests(self, rows: Sequence[FusionRow | TunedRow], most: int) -> list[CaseJob]:
        """The first tested cases."""
        return [self._job(self.data.test_case(name), rows) for name in list(self.cases.test)[:most]]

    def _job(self, case: LabelledCase, rows: Sequence[FusionRow | TunedRow]) -> CaseJob:
        return CaseJob(str(self.number), self.base, case, self.settings, tuple(rows), interpolation=False)
