"""The long jobs of training and evaluation, each fit for a process of its own: examples of a case, one training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.session.ready_image import ready_image
from context_propagation.core.session.session import Session
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.training.fusion.contour_styles import contour_styles
from context_propagation.training.fusion.fusion_example import load_example, save_example
from context_propagation.training.fusion.fusion_training import TrainingSettings, train_fusion
from context_propagation.training.fusion.simulated_edit import edit_schedule
from context_propagation.training.fusion.simulated_examples import simulated_examples
from context_propagation.training.job_process import say_done
from context_propagation.training.kept_examples import ExampleRecipe, KeptExamples
from context_propagation.training.kept_training import KeptTraining
from context_propagation.training.labelled_cases import LabelledCase, ModelSource
from context_propagation.training.places import are_there
from context_propagation.training.training_loop import LogLine

NO_EXAMPLES = (
    "There is no training example: on every case the base model predicts exactly the ground truth, or sees nothing "
    "where it lies; give cases on which it errs"
)


def cache_examples(
    base: ModelSource, case: LabelledCase, recipe: ExampleRecipe, folder: Path
) -> list[tuple[int, Path]]:
    """Compute a case's examples once and keep them on disk.

    Returns:
        For each example the base model's fold (its number in the model's order) and its file; none where the base
        model's prediction needs no edit.
    """
    if not are_there(examples_files(case, folder)):
        folder.mkdir(parents=True, exist_ok=True)
        names = _write_examples(base.load(), case, recipe, folder)
        with whole_file(_listing(case, folder)) as partial_file:
            partial_file.write_text(json.dumps(names))
    return _listed(case, folder)


def examples_files(case: LabelledCase, folder: Path) -> tuple[Path, ...]:
    """What `cache_examples` leaves: a list of the examples, last, and what it lists."""
    listing = _listing(case, folder)
    return (listing, *(file for _, file in _listed(case, folder))) if listing.is_file() else (listing,)


FUSION_EXAMPLES = KeptExamples(cache_examples, examples_files)


def _listing(case: LabelledCase, folder: Path) -> Path:
    return folder / f"{case.name}.copy{case.copy}.json"


def _listed(case: LabelledCase, folder: Path) -> list[tuple[int, Path]]:
    return [(fold, folder / name) for fold, name in json.loads(_listing(case, folder).read_text())]


def _write_examples(
    model: SegmentationModel, case: LabelledCase, recipe: ExampleRecipe, folder: Path
) -> list[tuple[int, str]]:
    volume, truth = case.read(model)
    ready = ready_image(model, volume)
    session = Session(model, recipe.settings)
    session.set_image(ready)
    predicted = session.segmentation
    if not session.cache.windows:  # nothing is predicted: in use, the drawing says where to look
        session.set_image(ready, truth)
    axis, spacing = volume.axis_of_plane("axial"), volume.spacing_kji_mm
    seed = case.seed(recipe.seed)
    names = []
    for style, drawn in enumerate((truth, *contour_styles(truth, spacing, recipe.styles, seed))):
        edits = edit_schedule(predicted, drawn, axis, spacing, recipe.edits, seed + style)
        if style and edits:
            edits = [edits[style % len(edits)]]
        for window, fold, example in simulated_examples(session.propagation, edits, drawn, case.hidden_truth):
            name = f"{case.name}.copy{case.copy}.style{style}.window{window}.fold{fold}.safetensors"
            save_example(example, folder / name)
            names.append((fold, name))
    return names


@dataclass(frozen=True)
class NetworkJob(KeptTraining):
    """One training of a fusion network.

    Attributes:
        base: The frozen model.
        fold: Number of the base model's fold that the examples come from.
        architecture: The network's.
        settings: The training's.
        training: Example files.
        validation: Example files of other cases.
    """

    base: ModelSource
    fold: int
    architecture: FusionSettings
    settings: TrainingSettings
    training: tuple[Path, ...]
    validation: tuple[Path, ...]


def train_network(job: NetworkJob) -> Path:
    """Train the fusion network, see `KeptTraining.once`.

    Returns:
        The file with the weights.
    """
    return job.once(partial(_train, job))


def _train(job: NetworkJob, checkpoint: Path) -> tuple[dict[str, torch.Tensor], list[LogLine]]:
    model = job.base.load()
    trained = train_fusion(
        model,
        model.splits[job.fold],
        job.architecture,
        job.settings,
        [partial(load_example, path) for path in job.training],
        [partial(load_example, path) for path in job.validation],
        checkpoint,
        progress=say_done,
    )
    return trained.network.network.state_dict(), [asdict(line) for line in trained.log]
