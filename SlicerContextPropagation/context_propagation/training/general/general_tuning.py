"""The general far network trained further, on labelled cases of one model: worth it where they are few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from context_propagation.core.bundle.general_file import CONTROL, WEIGHTS, load_general_far
from context_propagation.core.errors import UserInputError
from context_propagation.training.fusion.fusion_jobs import NO_EXAMPLES
from context_propagation.training.general.general_cases import general_examples
from context_propagation.training.general.general_example import GeneralExample, load_examples, save_examples
from context_propagation.training.general.general_training import GeneralTrainingSettings, Shown, train_general
from context_propagation.training.job_process import say_done
from context_propagation.training.kept_examples import ExampleRecipe, KeptExamples
from context_propagation.training.kept_training import KeptTraining
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.training_loop import LogLine

LEARNING_RATE = 5e-4
"""A quarter of that on phantoms, as the weights are good already."""


LEAST_STEPS = 200
"""Of an epoch."""


LEAST_STYLES = 3
"""Further contours of each case, as of each phantom: without them the network forgets that observers differ."""


def cache_general_examples(base: ModelSource, case: LabelledCase, recipe: ExampleRecipe, folder: Path) -> Path:
    """Compute a case's examples once, and keep them in a file; it may hold none."""
    path = general_examples_file(case, folder)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model = base.load()
        volume, truth = case.read(model)
        seed = case.seed(recipe.seed)
        found = general_examples(model, recipe.settings, volume, truth, recipe.edits, recipe.styles, seed)
        save_examples(list(found), path)
    return path


def general_examples_file(case: LabelledCase, folder: Path) -> Path:
    """What `cache_general_examples` leaves."""
    return folder / f"{case.name}.copy{case.copy}.general.safetensors"


GENERAL_EXAMPLES = KeptExamples(cache_general_examples, general_examples_file)


@dataclass(frozen=True)
class TuningJob(KeptTraining):
    """One training of the general far network, or of its no-edit control, on cases of one model.

    Attributes:
        shown: What of the edit it sees.
        epochs: At most so many; it ends as soon as one gains nothing on the validation cases.
        seed: Of the order of the examples.
        training: Files of examples.
        validation: Files of other cases' examples; where they hold none, the training's choose the epoch.
    """

    shown: Shown
    epochs: int
    seed: int
    training: tuple[Path, ...]
    validation: tuple[Path, ...]


def tune_general(job: TuningJob) -> Path:
    """Train what ships further, see `KeptTraining.once`.

    Returns:
        The file with the weights.

    Raises:
        UserInputError: There are no examples.
    """
    return job.once(partial(_tune, job))


def _tune(job: TuningJob, checkpoint: Path) -> tuple[dict[str, torch.Tensor], list[LogLine]]:
    start = load_general_far(weights=WEIGHTS if job.shown == "edit" else CONTROL).network
    settings = GeneralTrainingSettings(
        job.epochs, LEARNING_RATE, start.width, job.seed, job.shown, least_progress=0.0, least_steps=LEAST_STEPS
    )
    training, validation = (_all(files) for files in (job.training, job.validation))
    if not training:
        raise UserInputError(NO_EXAMPLES)
    network, log = train_general(settings, training, validation or training, checkpoint, start=start, on_step=say_done)
    return network.state_dict(), log


def _all(files: Sequence[Path]) -> list[GeneralExample]:
    return [example for file in files for example in load_examples(file)]
