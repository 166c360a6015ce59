"""The general far network trained further, on labelled cases of one model: worth it where they are few."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from context_propagation.core.bundle.general_file import CONTROL, WEIGHTS, load_general_far
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.training.fusion.fusion_jobs import NO_EXAMPLES, ExampleRecipe
from context_propagation.training.general.general_cases import general_examples
from context_propagation.training.general.general_example import GeneralExample, load_examples, save_examples
from context_propagation.training.general.general_training import GeneralTrainingSettings, Shown, train_general
from context_propagation.training.job_process import say_done
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.places import are_there
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


@dataclass(frozen=True)
class TuningJob:
    """One training of the general far network, or of its no-edit control, on cases of one model.

    Attributes:
        name: Of its files.
        shown: What of the edit it sees.
        epochs: At most so many; it ends as soon as one gains nothing on the validation cases.
        seed: Of the order of the examples.
        training: Files of examples.
        validation: Files of other cases' examples; where they hold none, the training's choose the epoch.
        folder: Where weights, log and checkpoint go.
    """

    name: str
    shown: Shown
    epochs: int
    seed: int
    training: tuple[Path, ...]
    validation: tuple[Path, ...]
    folder: Path

    @property
    def weights(self) -> Path:
        """Where the weights are once the training is finished."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def log(self) -> Path:
        """The training's log, CSV."""
        return self.folder / f"{self.name}.csv"

    @property
    def leaves(self) -> tuple[Path, ...]:
        """A training is finished where it has both."""
        return self.log, self.weights


def tune_general(job: TuningJob) -> Path:
    """Train what ships further, or go on with an interrupted training; a finished one is kept as it is.

    Returns:
        The file with the weights.

    Raises:
        UserInputError: There are no examples.
    """
    if are_there(job.leaves):
        return job.weights
    job.folder.mkdir(parents=True, exist_ok=True)
    start = load_general_far(weights=WEIGHTS if job.shown == "edit" else CONTROL).network
    settings = GeneralTrainingSettings(
        job.epochs, LEARNING_RATE, start.width, job.seed, job.shown, least_gain=0.0, least_steps=LEAST_STEPS
    )
    training, validation = (_all(files) for files in (job.training, job.validation))
    if not training:
        raise UserInputError(NO_EXAMPLES)
    checkpoint = job.folder / f"{job.name}.checkpoint"
    network, log = train_general(settings, training, validation or training, checkpoint, start=start, on_step=say_done)
    _write_log(log, job.log)
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with whole_file(job.weights) as partial_file:
        require("safetensors.torch", extra="nnunet").save_file(weights, partial_file)
    checkpoint.unlink()
    return job.weights


def _all(files: Sequence[Path]) -> list[GeneralExample]:
    return [example for file in files for example in load_examples(file)]


def _write_log(log: Sequence[LogLine], path: Path) -> None:
    with whole_file(path) as partial_file, open(partial_file, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(log[0]))
        writer.writeheader()
        writer.writerows(log)
