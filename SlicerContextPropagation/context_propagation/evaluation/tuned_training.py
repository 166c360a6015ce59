"""`train-fusion` with few cases: the general far network and its control are trained further, one for all folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.course import Course
from context_propagation.evaluation.fusion_recipe import FusionRecipe
from context_propagation.evaluation.rows import FUSION, NO_EDIT
from context_propagation.evaluation.simulated_case import TunedRow
from context_propagation.evaluation.training_fold import TrainingFold
from context_propagation.training.general.general_training import Shown
from context_propagation.training.general.general_tuning import (
    GENERAL_EXAMPLES,
    LEAST_STYLES,
    TuningJob,
    tune_general,
)
from context_propagation.training.job_memory import PROCESS_BYTES
from context_propagation.training.kept_examples import ExampleRecipe
from context_propagation.training.labelled_cases import with_copies
from context_propagation.training.places import each
from context_propagation.training.processes import run_in_parallel

STEP_SIZES = 12
"""Of a file of examples that a step takes, at most: sixteen channels in each of four layers, and back."""


ROWS: tuple[tuple[str, Shown], ...] = ((FUSION, "edit"), (NO_EDIT, "no edit"))


def tuned_rows(
    recipe: FusionRecipe,
    folds: Sequence[TrainingFold],
    settings: SessionSettings,
    work: Path,
    workers: int | None,
    course: Course,
) -> list[TunedRow]:
    """The general far network and its control, trained on the examples of all folds together.

    Args:
        recipe: Edits, copies, styles, epochs and seed count.
        folds: Each with its own cases.
        settings: Of the sessions that run the simulated edits.
        work: Everything goes into its folder `general`.
        workers: Processes at a time.
        course: Takes two stages of each fold, and one for the networks.

    Raises:
        UserInputError: There are no examples.
    """
    of_validation = ExampleRecipe(settings, recipe.edits_per_case, recipe.seed)
    of_training = replace(of_validation, styles=max(LEAST_STYLES, recipe.contour_styles))
    general = work / "general"
    making = []
    for number, fold in enumerate(folds):
        copies, folder = with_copies(fold.training, recipe.augmented_copies), general / f"examples_{number}"
        for cases, of_them in ((copies, of_training), (fold.validation, of_validation)):
            making.append(
                partial(
                    GENERAL_EXAMPLES.of_cases, fold.base, cases, of_them, folder, workers=workers,
                    progress=course.stage(),
                )
            )  # fmt: skip
    made = list(each(making))
    training, validation = (tuple(file for of_fold in made[first::2] for file in of_fold) for first in (0, 1))
    jobs = [
        TuningJob(row.replace(" ", "-"), general / "networks", shown, recipe.epochs, recipe.seed, training, validation)
        for row, shown in ROWS
    ]
    tunings = [partial(tune_general, job) for job in jobs]
    names, leaves = [job.name for job in jobs], [job.leaves for job in jobs]
    memory = partial(_memory, (*training, *validation))
    weights = run_in_parallel(tunings, "networks", workers, names, leaves, course.stage(), "cpu", memory)
    return [TunedRow(row, shown, path) for (row, shown), path in zip(ROWS, weights, strict=True)]


def _memory(examples: Sequence[Path]) -> int:
    """Of a training, which holds all examples and makes one of them 32-bit numbers at a time, an estimate."""
    sizes = [file.stat().st_size for file in examples]
    return PROCESS_BYTES + sum(sizes) + STEP_SIZES * max(sizes)
