"""From nothing but seeds to the general far network: phantoms, base models, examples, training, thresholds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from context_propagation.core.bundle.general_file import (
    CONTROL,
    FILE_NAME,
    FOLDER,
    WEIGHTS,
    general_far_of,
    save_general_far,
)
from context_propagation.core.errors import UserInputError
from context_propagation.core.measures.regression import ALLOWED_REGRESSION
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.core.provenance import provenance
from context_propagation.core.storage.whole_file import whole_folder
from context_propagation.training.general.general_cases import GeneralCase, cached_examples, examples_file
from context_propagation.training.general.general_example import GeneralExample, load_examples
from context_propagation.training.general.general_recipe import BASES, BaseRecipe
from context_propagation.training.general.general_thresholds import choose_general_thresholds
from context_propagation.training.general.general_training import GeneralTrainingSettings, Shown, far_dsc, train_general
from context_propagation.training.processes import run_in_parallel
from context_propagation.training.training_loop import LogLine

VALIDATES = 7
"""Every so many'th phantom validates: no multiple of what the recipe counts by, so that all kinds of images do."""


NAMES = {CONTROL, FILE_NAME, WEIGHTS}


HOPELESS = 0.02
"""Far slices that the untouched decode fits less well than this by DSC are not learned from."""


@dataclass(frozen=True)
class TrainGeneralRequest:
    """What to train.

    Attributes:
        output: Folder of the network; by default where the package's own lies.
        work: Folder for phantoms, base models, examples and checkpoints; an interrupted training goes on in it. By
            default beside the output, and removed at the end.
        phantoms: To learn from, with the first base model; others see fewer.
        base_cases: Phantoms that each base model is trained on.
        base_epochs: Of a base model, of 40 steps each.
        epochs: Of the network.
        width: Channels of its hidden layers.
        seed: Of the weights and the order of the examples.
        allowed_regression: Share of far slices that may become worse on the validation phantoms: a quarter of what is
            aimed at, as other images and models have several times as many (docs/fusion.md).
        jobs: Processes at a time; None for one per CPU core.
    """

    output: Path = FOLDER
    work: Path | None = None
    phantoms: int = 50
    base_cases: int = 10
    base_epochs: int = 5
    epochs: int = 5
    width: int = 16
    seed: int = 0
    allowed_regression: float = ALLOWED_REGRESSION / 4
    jobs: int | None = None

    def __post_init__(self) -> None:
        least = {"phantoms": VALIDATES, "base_cases": 1, "base_epochs": 1, "epochs": 1, "width": 1, "seed": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise UserInputError(f"--{name.replace('_', '-')} {getattr(self, name)}; give at least {smallest}")
        if not 0 <= self.allowed_regression <= 1:
            raise UserInputError(f"--allowed-regression {self.allowed_regression}; give a share from 0 to 1")
        if self.jobs is not None and self.jobs < 1:
            raise UserInputError(f"--jobs {self.jobs}; give at least 1")


def train_general_network(request: TrainGeneralRequest, bases: Sequence[BaseRecipe] = BASES) -> str:
    """Train the network and its no-edit control, choose the far thresholds, write the folder.

    Args:
        request: What to train.
        bases: The base models and how many phantoms each sees.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: Something in the request cannot be used, or there are no examples.
    """
    output = request.output.resolve()
    if output.exists() and not {file.name for file in output.iterdir()} <= NAMES:
        raise UserInputError(f"'{output}' holds something else; choose another folder")
    work = (request.work or output.with_name(f"{output.name}.work")).resolve()
    training, validation = _examples(request, bases, work)
    trained = {shown: _trained(request, shown, training, validation, work) for shown in ("edit", "no edit")}
    network = trained["edit"][0]
    thresholds, figures = choose_general_thresholds(network, validation, request.allowed_regression)
    general = general_far_of(network, thresholds)
    made = _provenance(request, bases, (len(training), len(validation)), figures)
    made["log"] = {shown: lines for shown, (_, lines) in trained.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(output) as partial_folder:
        save_general_far(partial_folder, general, trained["no edit"][0], made)
    if request.work is None:
        shutil.rmtree(work)
    return (
        f"{output}: far slices of {len(validation)} simulated edits {figures['untouched_dsc']:.3f} -> "
        f"{figures['dsc']:.3f}, {100 * figures['regression_rate']:.1f} % of slices worse"
    )


def _examples(
    request: TrainGeneralRequest, bases: Sequence[BaseRecipe], work: Path
) -> tuple[list[GeneralExample], list[GeneralExample]]:
    """Training and validation examples of all base models."""
    found: tuple[list[GeneralExample], list[GeneralExample]] = ([], [])
    for base in bases:
        source = base.trained(work, request.base_cases, request.base_epochs)
        cases: list[GeneralCase] = list(base.cases(source, request.phantoms))
        folder = work / "examples" / base.name
        jobs = [partial(cached_examples, case, folder) for case in cases]
        label, names = f"simulated edits, {base.name}", [case.name for case in cases]
        files = run_in_parallel(jobs, label, request.jobs, names, [examples_file(case, folder) for case in cases])
        for case, file in zip(cases, files, strict=True):
            found[case.phantom.number % VALIDATES == 3].extend(_learnable(load_examples(file)))
    return found


def _learnable(examples: Sequence[GeneralExample]) -> list[GeneralExample]:
    return [example for example in examples if far_dsc(example, example.logit.float()) >= HOPELESS]


def _trained(
    request: TrainGeneralRequest,
    shown: Shown,
    training: Sequence[GeneralExample],
    validation: Sequence[GeneralExample],
    work: Path,
) -> tuple[GeneralFarNetwork, list[LogLine]]:
    settings = GeneralTrainingSettings(request.epochs, width=request.width, seed=request.seed, shown=shown)
    return train_general(settings, training, validation, work / f"{shown.replace(' ', '-')}.checkpoint")


def _provenance(
    request: TrainGeneralRequest, bases: Sequence[BaseRecipe], examples: tuple[int, int], figures: dict[str, float]
) -> dict[str, Any]:
    kept = {
        item.name: getattr(request, item.name)
        for item in fields(request)
        if item.name not in ("output", "work", "jobs")
    }
    return {
        **provenance(),
        "settings": kept,
        "bases": [{item.name: getattr(base, item.name) for item in fields(BaseRecipe)} for base in bases],
        "examples": {"training": examples[0], "validation": examples[1]},
        "validation": figures,
    }
