"""The data of an evaluation on phantoms: generated as they are needed, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from context_propagation.core.phantom.anatomy import DifficultyName
from context_propagation.core.phantom.phantom import Kind, PhantomSettings, make_phantom
from context_propagation.evaluation.fold_cases import FoldCases
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.training.labelled_cases import LabelledCase, NnunetTask
from context_propagation.training.phantom_cases import nnunet_task, phantom_case, phantom_files
from context_propagation.training.processes import run_in_parallel

FOLDS = 5


@dataclass(frozen=True)
class PhantomData:
    """See `EvaluationData`: every fifth phantom is in the same fold.

    Attributes:
        work: Where trainings go; the phantoms go into `data` in it.
        plan: Gives kind, difficulty, number and seed.
    """

    work: Path
    plan: EvaluationPlan
    has_styles = True

    @property
    def task(self) -> NnunetTask:
        """What the base model is trained for."""
        return nnunet_task(cast(Kind, self.plan.phantom))

    @property
    def folds(self) -> dict[str, int]:
        """The fold of every case."""
        numbers = range(self.plan.phantom_cases)
        return {_settings(self.plan, number).name: number % FOLDS for number in numbers}

    def make(self, names: Sequence[str], workers: int | None) -> None:
        """Generate the cases."""
        ordered = sorted(set(names))
        leaves = [phantom_files(*self._places(name)) for name in ordered]
        run_in_parallel([partial(self.training_case, name) for name in ordered], "phantoms", workers, (), leaves)

    def training_case(self, name: str) -> LabelledCase:
        """A case; all of its style is told to an oracle."""
        return phantom_case(*self._places(name))

    def _places(self, name: str) -> tuple[PhantomSettings, Path, Path]:
        """Settings of a case; the folders of images and labels."""
        folder, number = self.work / "data", int(name.rsplit("_", 1)[1])
        return _settings(self.plan, number), folder / "images", folder / "labels"

    test_case = training_case

    def style_counts(self, folds: Mapping[int, FoldCases]) -> list[str]:
        """Mean and range of the tested styles' offset, -1 to 1 within the difficulty's."""
        lines = []
        for fold, cases in folds.items():
            offsets = [self.training_case(name).hidden_truth[0] for name in cases.test]
            mean = sum(offsets) / len(offsets)
            lines.append(
                f"fold {fold}: style offsets tested {min(offsets):+.2f} to {max(offsets):+.2f}, mean {mean:+.2f}"
            )
        return lines


def identity(plan: EvaluationPlan) -> list[str]:
    """Another one where the generator makes another first case."""
    phantom = make_phantom(_settings(plan, 0))
    arrays = [array for array in (phantom.ct, phantom.pet, phantom.gtv) if array is not None]
    return [*(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays), repr(phantom.hidden_truth)]


def _settings(plan: EvaluationPlan, number: int) -> PhantomSettings:
    return PhantomSettings(cast(Kind, plan.phantom), plan.seed, number, cast(DifficultyName, plan.difficulty))
