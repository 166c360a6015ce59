"""The long jobs of training and evaluation, each fit for a process of its own: examples of a case, one training."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from context_propagation.cli.image_files import read_source_volume
from context_propagation.cli.intensity_augmentation import augmented
from context_propagation.cli.segmentation_files import Wanted, read_mask
from context_propagation.core.contour_styles import contour_styles
from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError
from context_propagation.core.fusion_example import load_example, save_example
from context_propagation.core.fusion_network import FusionSettings
from context_propagation.core.fusion_training import EpochLog, TrainingSettings, train_fusion
from context_propagation.core.model_kinds import load_base_model
from context_propagation.core.optional_dependency import require
from context_propagation.core.session import Session, SessionSettings
from context_propagation.core.simulated_edit import edit_schedule
from context_propagation.core.simulated_examples import simulated_examples
from context_propagation.core.source_volume import SourceVolume
from context_propagation.core.split_model import SegmentationModel

NO_EXAMPLES = (
    "There is no training example: on every case the base model predicts nothing, or exactly the ground truth; "
    "give cases on which it errs"
)


@dataclass(frozen=True)
class BaseModel:
    """How a process gets the frozen base model.

    Attributes:
        folder: nnU-Net's trained-model folder.
        label: Name or value; None where the model has only one.
        device: "auto", "cpu" or "cuda".
        folds: The folds that are used; None for all.
        trust: Whether a MONAI bundle's own expressions may run.
    """

    folder: Path
    label: str | None = None
    device: str = "auto"
    folds: tuple[str, ...] | None = None
    trust: bool = False

    def load(self) -> SegmentationModel:
        """Load once per process."""
        return _load(self)


@lru_cache(maxsize=2)
def _load(base: BaseModel) -> SegmentationModel:
    return load_base_model(base.folder, base.label, base.device, base.folds, trust=base.trust)


@dataclass(frozen=True)
class LabelledCase:
    """An image and its ground truth on disk.

    Attributes:
        name: The case.
        images: One file per channel.
        label: The ground truth; its grid may differ from the image's.
        told: The hidden truth that an oracle is told.
        copy: 0 for the image as it is; else a copy with augmented intensities, each number another one.
    """

    name: str
    images: tuple[Path, ...]
    label: Path
    told: tuple[float, ...] = ()
    copy: int = 0

    def read(self, model: SegmentationModel) -> tuple[SourceVolume, np.ndarray]:
        """The image, and the ground truth on its grid, bool `[K, J, I]`."""
        volume = read_source_volume(list(self.images))
        truth = read_mask(self.label, Wanted(model.target.name, model.target.label), volume)
        if self.copy:
            volume = replace(volume, channels=augmented(volume.channels, self.seed(0)))
        return volume, truth

    def seed(self, seed: int) -> int:
        """A seed for this copy of this case, the same whatever other cases there are."""
        return int(np.random.SeedSequence([seed, self.copy, *self.name.encode()]).generate_state(1)[0])


def with_copies(cases: Sequence[LabelledCase], copies: int) -> list[LabelledCase]:
    """The cases, each with so many augmented copies."""
    return [replace(case, copy=copy) for case in cases for copy in range(copies + 1)]


@dataclass(frozen=True)
class ExampleRecipe:
    """All that decides the examples of a case, with the model and the files.

    Attributes:
        settings: Of the session that runs the simulated edits.
        edits: Simulated edits of each case.
        seed: Of the edits drawn at random.
        styles: Further contours of each case, see `contour_styles`; one edit of each.
    """

    settings: SessionSettings
    edits: int
    seed: int
    styles: int = 0


def run_in_parallel(jobs: Iterable[Callable[[], Any]], description: str, workers: int | None = None) -> list[Any]:
    """Run jobs in processes of their own, with a progress bar; results in the order of the jobs.

    Each process has one thread: on a CPU that is faster than fewer processes with more. The processes are started anew,
    so a script calls this under `if __name__ == "__main__"`; they are kept for the next call.
    """
    tqdm = require("tqdm", extra="cli").tqdm
    jobs = list(jobs)
    workers = workers or available_cores()
    if workers == 1:
        return [job() for job in tqdm(jobs, desc=description, disable=None)]
    futures = [_processes(workers).submit(job) for job in jobs]
    try:
        for future in tqdm(as_completed(futures), total=len(jobs), desc=description, disable=None):
            future.result()
    except BaseException as error:
        _stop_processes(workers)
        if isinstance(error, BrokenProcessPool):
            raise UserInputError("A worker process died, likely for lack of memory; give a smaller --jobs") from error
        raise
    return [future.result() for future in futures]


def processes_for(device: str, wanted: int | None) -> int | None:
    """How many processes: what the user wants, else one on a GPU; None for one per CPU core."""
    return 1 if wanted is None and select_device(device).type == "cuda" else wanted


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stop_processes(workers: int) -> None:
    """At once: what they have not finished is lost, and files appear complete or not at all."""
    pool = _processes(workers)
    running = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in running:
        process.terminate()
    _processes.cache_clear()


@lru_cache(maxsize=1)
def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), _start_process)


def _start_process() -> None:
    """One thread; Ctrl-C is the parent's business; ITK's warnings are raised as errors where they matter.

    A parent that is killed takes its processes with it, else they would work on for minutes, unseen.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def cache_examples(base: BaseModel, case: LabelledCase, recipe: ExampleRecipe, folder: Path) -> list[tuple[int, Path]]:
    """Compute a case's examples once and keep them on disk.

    Returns:
        For each example the base model's fold (its number in the model's order) and its file; none where the base
        model's prediction needs no edit.
    """
    done = folder / f"{case.name}.copy{case.copy}.json"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        names = _write_examples(base.load(), case, recipe, folder)
        partial_file = done.with_suffix(".partial")
        partial_file.write_text(json.dumps(names))
        os.replace(partial_file, done)
    return [(fold, folder / name) for fold, name in json.loads(done.read_text())]


def _write_examples(
    model: SegmentationModel, case: LabelledCase, recipe: ExampleRecipe, folder: Path
) -> list[tuple[int, str]]:
    volume, truth = case.read(model)
    session = Session(model, recipe.settings)
    session.set_image(volume)
    axis, spacing = volume.axis_of_plane("axial"), volume.spacing_kji_mm
    seed = case.seed(recipe.seed)
    names = []
    for style, drawn in enumerate((truth, *contour_styles(truth, spacing, recipe.styles, seed))):
        edits = edit_schedule(session.segmentation, drawn, axis, spacing, recipe.edits, seed + style)
        if style and edits:
            edits = [edits[style % len(edits)]]
        for window, fold, example in simulated_examples(session.propagation, edits, drawn, case.told):
            name = f"{case.name}.copy{case.copy}.style{style}.window{window}.fold{fold}.safetensors"
            save_example(example, folder / name)
            names.append((fold, name))
    return names


@dataclass(frozen=True)
class NetworkJob:
    """One training of a fusion network.

    Attributes:
        name: Of its files.
        base: The frozen model.
        fold: Number of the base model's fold that the examples come from.
        architecture: The network's.
        settings: The training's.
        training: Example files.
        validation: Example files of other cases.
        folder: Where weights, log and checkpoint go.
    """

    name: str
    base: BaseModel
    fold: int
    architecture: FusionSettings
    settings: TrainingSettings
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


def train_network(job: NetworkJob, progress: Callable[[float], None] = lambda fraction: None) -> Path:
    """Train, or go on with an interrupted training; a finished one is kept as it is.

    Returns:
        The file with the weights.
    """
    if job.weights.is_file():
        return job.weights
    job.folder.mkdir(parents=True, exist_ok=True)
    model = job.base.load()
    checkpoint = job.folder / f"{job.name}.checkpoint"
    trained = train_fusion(
        model,
        model.splits[job.fold],
        job.architecture,
        job.settings,
        [partial(load_example, path) for path in job.training],
        [partial(load_example, path) for path in job.validation],
        checkpoint,
        progress=progress,
    )
    write_log(trained.log, job.log)
    partial_file = job.folder / f"{job.name}.partial"
    weights = {name: tensor.cpu().contiguous() for name, tensor in trained.network.network.state_dict().items()}
    require("safetensors.torch", extra="nnunet").save_file(weights, partial_file)
    os.replace(partial_file, job.weights)
    checkpoint.unlink()
    return job.weights


def write_log(log: Sequence[EpochLog], path: Path) -> None:
    """A training's log as CSV, a line for each epoch."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EpochLog)])
        writer.writeheader()
        writer.writerows(asdict(line) for line in log)
