"""A small model, trained by nnU-Net itself: a real trained-model folder for benchmarks, demo and tutorials."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.whole_file import whole_folder
from context_propagation.training.labelled_cases import LabelledCase, NnunetTask
from context_propagation.training.places import are_there

logger = logging.getLogger(__name__)


Progress = Callable[[str, float], None]


CONFIGURATION = "3d_fullres"


RECORD = "training.json"
"""Written last, beside nnU-Net's folders: the parameters and the training cases."""


BASE_FEATURES, MAX_FEATURES = 8, 64
"""Channels of the first and at most of the last stage; nnU-Net's default is 32 and 320."""


INITIAL_LR = 0.02
"""Twice nnU-Net's default: a few hundred steps are too few for its momentum of 0.99 to get going at 0.01."""


@dataclass(frozen=True)
class _Training:
    """Everything that decides the weights; two equal ones are the same training."""

    task: NnunetTask
    cases: tuple[str, ...]
    data_sha256: str
    epochs: int
    iterations_per_epoch: int
    seed: int
    base_features: int = BASE_FEATURES
    max_features: int = MAX_FEATURES
    initial_lr: float = INITIAL_LR

    @property
    def folder_name(self) -> str:
        return (
            f"{self.task.name.lower()}-"
            + hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
        )


def train_nnunet(
    cases: Sequence[LabelledCase],
    task: NnunetTask,
    work_dir: Path,
    *,
    epochs: int = 8,
    iterations_per_epoch: int = 40,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Plan, preprocess and train with nnU-Net on the CPU, on all the given cases (nnU-Net's fold "all").

    A training is moved to its place in `work_dir` only when it is complete, and an identical one that is there already
    is returned as it is. nnU-Net starts worker processes, so a script calls this under `if __name__ == "__main__"`.

    Args:
        cases: The training cases as `.nii.gz` files; all labels above 0 become the task's label. Keep test cases out.
        task: What is segmented.
        work_dir: Where to keep nnU-Net's raw, preprocessed and results folders; made when it is missing.
        epochs: At a polynomially decaying learning rate.
        iterations_per_epoch: Gradient steps of two patches each.
        seed: Of the initial weights, the sampling and the augmentation.
        progress: Called with the stage and the fraction of that stage.

    Returns:
        The trained-model folder: `plans.json`, `dataset.json` and `fold_all/checkpoint_final.pth`.

    Raises:
        UserInputError: No cases, or a case without image or label, or with another number of channels.
        MissingDependencyError: nnU-Net is not installed.
    """
    require("nnunetv2", extra="nnunet")
    ordered = _ordered(cases)
    training = _training(ordered, task, epochs, iterations_per_epoch, seed)
    finished = work_dir / training.folder_name
    if are_there(_files(finished, task)):
        logger.info("Using the finished training in %s", finished)
        return _model_folder(finished, task)
    work_dir.mkdir(parents=True, exist_ok=True)
    with whole_folder(finished) as partial:
        _run_nnunet(training, ordered, partial, progress or _no_progress)
        (partial / RECORD).write_text(json.dumps(asdict(training), indent=2) + "\n")
    return _model_folder(finished, task)


def nnunet_files(
    cases: Sequence[LabelledCase],
    task: NnunetTask,
    work_dir: Path,
    *,
    epochs: int,
    iterations_per_epoch: int,
    seed: int,
) -> tuple[Path, ...]:
    """What `train_nnunet`, called alike, leaves: the weights, and last a record."""
    training = _training(_ordered(cases), task, epochs, iterations_per_epoch, seed)
    return _files(work_dir / training.folder_name, task)


def _files(training_dir: Path, task: NnunetTask) -> tuple[Path, ...]:
    return _model_folder(training_dir, task) / "fold_all" / "checkpoint_final.pth", training_dir / RECORD


def _ordered(cases: Sequence[LabelledCase]) -> list[LabelledCase]:
    return sorted({case.name: case for case in cases}.values(), key=lambda case: case.name)


def _training(
    ordered: Sequence[LabelledCase], task: NnunetTask, epochs: int, iterations_per_epoch: int, seed: int
) -> _Training:
    names = tuple(case.name for case in ordered)
    return _Training(task, names, _hash_of_data(ordered, task), epochs, iterations_per_epoch, seed)


def _no_progress(stage: str, fraction: float) -> None:
    del stage, fraction


def _model_folder(training_dir: Path, task: NnunetTask) -> Path:
    return training_dir / "results" / task.dataset / f"nnUNetTrainer__nnUNetPlans__{CONFIGURATION}"


def _hash_of_data(cases: Sequence[LabelledCase], task: NnunetTask) -> str:
    if not cases:
        raise UserInputError("No training cases given; name at least one")
    digest = hashlib.sha256()
    for case in cases:
        if len(case.images) != len(task.channel_names):
            raise UserInputError(
                f"Case '{case.name}' has {len(case.images)} image(s), and {task.name} has the channels "
                f"{', '.join(task.channel_names)}; give one image for each"
            )
        for file in (*case.images, case.label):
            if not file.is_file():
                raise UserInputError(f"Training file '{file}' is missing; check the data folder and the case names")
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _run_nnunet(training: _Training, cases: Sequence[LabelledCase], training_dir: Path, progress: Progress) -> None:
    console = sys.stdout

    def report(stage: str, fraction: float) -> None:
        with contextlib.redirect_stdout(console):
            progress(stage, fraction)

    with (
        _nnunet_environment(training_dir),
        open(training_dir / "nnunet_output.txt", "w", encoding="utf-8") as output,
        contextlib.redirect_stdout(output),
    ):
        report("convert", 0.0)
        dataset = _write_raw_dataset(cases, training.task, training_dir / "raw" / training.task.dataset)
        report("plan", 0.0)
        plans = _plan(training, training_dir)
        _preprocess(training.task, plans, dataset, training_dir, report)
        _train(training, plans, dataset, report)


@contextlib.contextmanager
def _nnunet_environment(training_dir: Path) -> Iterator[None]:
    """nnU-Net finds its folders and the number of its worker processes in environment variables."""
    variables = {f"nnUNet_{name}": str(training_dir / name) for name in ("raw", "preprocessed", "results")}
    variables |= {"nnUNet_n_proc_DA": "1", "nnUNet_wandb_enabled": "0", "nnUNet_compile": "false"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _write_raw_dataset(cases: Sequence[LabelledCase], task: NnunetTask, raw_dir: Path) -> dict[str, Any]:
    for folder in ("imagesTr", "labelsTr"):
        (raw_dir / folder).mkdir(parents=True)
    for case in cases:
        for channel, image in enumerate(case.images):
            shutil.copyfile(image, raw_dir / "imagesTr" / f"{case.name}_{channel:04d}.nii.gz")
        union = sitk.Cast(sitk.ReadImage(str(case.label)) > 0, sitk.sitkUInt8)
        sitk.WriteImage(union, str(raw_dir / "labelsTr" / f"{case.name}.nii.gz"))
    dataset = task.dataset_json(len(cases))
    (raw_dir / "dataset.json").write_text(json.dumps(dataset, indent=2))
    return dataset


def _plan(training: _Training, training_dir: Path) -> dict[str, Any]:
    """nnU-Net's own planner, told to use fewer channels."""
    extractors = require("nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor", extra="nnunet")
    planners = require("nnunetv2.experiment_planning.experiment_planners.default_experiment_planner", extra="nnunet")
    task = training.task
    extractor = extractors.DatasetFingerprintExtractor(task.dataset, num_processes=1)
    extractor.show_progress_bar = False
    extractor.run()
    planner = planners.ExperimentPlanner(task.dataset, gpu_memory_target_in_gb=task.planned_memory_gb)
    planner.UNet_base_num_features = training.base_features
    planner.UNet_max_features_3d = training.max_features
    planner.plan_experiment()
    return dict(json.loads((training_dir / "preprocessed" / task.dataset / "nnUNetPlans.json").read_text()))


def _preprocess(
    task: NnunetTask, plans: dict[str, Any], dataset: dict[str, Any], training_dir: Path, progress: Progress
) -> None:
    """nnU-Net's preprocessor, case by case in this process."""
    manager = require("nnunetv2.utilities.plans_handling.plans_handler", extra="nnunet").PlansManager(plans)
    listing = require("nnunetv2.utilities.utils", extra="nnunet").get_filenames_of_train_images_and_targets
    configuration = manager.get_configuration(CONFIGURATION)
    preprocessor = configuration.preprocessor_class(verbose=False)
    folder = training_dir / "preprocessed" / task.dataset / configuration.data_identifier
    folder.mkdir(parents=True)
    files = listing(str(training_dir / "raw" / task.dataset), dataset)
    for number, (case, of_case) in enumerate(files.items()):
        progress("preprocess", number / len(files))
        preprocessor.run_case_save(
            str(folder / case), of_case["images"], of_case["label"], manager, configuration, dataset
        )


def _train(training: _Training, plans: dict[str, Any], dataset: dict[str, Any], progress: Progress) -> None:
    """The stock trainer with fewer steps; they are set on the instance, so the checkpoint names a stock trainer."""
    trainers = require("nnunetv2.training.nnUNetTrainer.nnUNetTrainer", extra="nnunet")
    os.environ.update({"nnUNet_n_proc_DA": "0"})  # augment in this process: reproducible, and no workers to wait for
    _seed_everything(training.seed)
    plans = {**plans, "continue_training": False}
    trainer = trainers.nnUNetTrainer(plans, CONFIGURATION, "all", dataset, torch.device("cpu"))
    trainer.initial_lr = training.initial_lr
    trainer.num_epochs = training.epochs
    trainer.num_iterations_per_epoch = training.iterations_per_epoch
    trainer.num_val_iterations_per_epoch = 1
    _report_steps(trainer, training.epochs * training.iterations_per_epoch, progress)
    trainer.run_training()


def _report_steps(trainer: Any, steps: int, progress: Progress) -> None:
    train_step = trainer.train_step
    done = iter(range(1, steps + 1))

    def reported_step(batch: dict[str, Any]) -> Any:
        result = train_step(batch)
        progress("train", next(done) / steps)
        return result

    trainer.train_step = reported_step


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  nnU-Net samples and augments with numpy's global generator
    torch.manual_seed(seed)
