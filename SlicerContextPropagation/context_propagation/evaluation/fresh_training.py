"""`train-fusion` with many cases: a fusion network and its no-edit control are trained for a fold, from fresh ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.course import Course
from context_propagation.evaluation.fusion_recipe import FusionRecipe
from context_propagation.evaluation.rows import FUSION, NO_EDIT
from context_propagation.evaluation.simulated_case import FusionRow
from context_propagation.evaluation.training_fold import TrainingFold
from context_propagation.training.fusion.fusion_controls import InputsShown
from context_propagation.training.fusion.fusion_example import load_example
from context_propagation.training.fusion.fusion_jobs import FUSION_EXAMPLES, NO_EXAMPLES, NetworkJob
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.fusion.network_trainings import train_networks
from context_propagation.training.kept_examples import ExampleRecipe
from context_propagation.training.labelled_cases import with_copies
from context_propagation.training.places import each

ROWS: tuple[tuple[str, InputsShown], ...] = ((FUSION, "edit"), (NO_EDIT, "no edit"))


def fresh_rows(
    recipe: FusionRecipe,
    fold: TrainingFold,
    settings: SessionSettings,
    work: Path,
    workers: int | None,
    course: Course,
) -> list[FusionRow]:
    """The fusion network and its control, trained on the fold's examples.

    Args:
        recipe: All of it counts.
        fold: Of the base model.
        settings: Of the sessions that run the simulated edits.
        work: Everything goes into this folder.
        workers: Processes at a time.
        course: Takes two stages for the examples, and one for the networks.

    Raises:
        UserInputError: There are no examples.
    """
    of_validation = ExampleRecipe(settings, recipe.edits_per_case, recipe.seed)
    of_training = replace(of_validation, styles=recipe.contour_styles)
    copies = with_copies(fold.training, recipe.augmented_copies)
    making = [
        partial(
            FUSION_EXAMPLES.of_cases, fold.base, cases, of_them, work / "examples", workers=workers,
            progress=course.stage(),
        )
        for cases, of_them in ((copies, of_training), (fold.validation, of_validation))
    ]  # fmt: skip
    training, validation = (tuple(path for of_case in made for _, path in of_case) for made in each(making))
    if not training:
        raise UserInputError(NO_EXAMPLES)
    channels = load_example(training[0]).inputs.f.shape[1]
    architecture = FusionSettings(recipe.fusion, channels, recipe.width_for(channels))
    usual = TrainingSettings(epochs=recipe.epochs, seed=recipe.seed, averaging=recipe.averaging)
    jobs = [
        NetworkJob(
            name=row.replace(" ", "-"),
            folder=work / "networks",
            base=fold.base,
            fold=0,
            architecture=architecture,
            settings=replace(usual, inputs_shown=inputs_shown),
            training=training,
            validation=validation,
        )
        for row, inputs_shown in ROWS
    ]
    weights = train_networks(jobs, "networks", workers, course.stage())
    return [
        FusionRow(row, architecture, inputs_shown, (path,))
        for (row, inputs_shown), path in zip(ROWS, weights, strict=True)
    ]
