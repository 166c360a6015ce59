"""Trains the fusion networks of a base model, validates them beside their controls, and saves the bundle."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from context_propagation.core.bundle.bundle import fusion_of, tuned_general_of
from context_propagation.core.bundle.bundle_saving import save_bundle
from context_propagation.core.bundle.trained_bundle import TrainedBundle, read_trained_bundle
from context_propagation.core.callbacks import Progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.general_far import TrainedFar
from context_propagation.core.provenance import provenance
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.storage.whole_file import claim_folder
from context_propagation.evaluation.course import Course, Told, tell_no_one
from context_propagation.evaluation.far_thresholds import choose_far_thresholds
from context_propagation.evaluation.fresh_training import fresh_rows
from context_propagation.evaluation.fusion_recipe import FusionRecipe
from context_propagation.evaluation.kept_lines import lines_of_cases
from context_propagation.evaluation.places import Places, places_of, say_what_is_used
from context_propagation.evaluation.results import Comparison
from context_propagation.evaluation.rows import FUSION, NO_EDIT
from context_propagation.evaluation.simulated_case import CaseJob, FusionRow, TunedRow
from context_propagation.evaluation.summary import frame_of, summarise
from context_propagation.evaluation.training_fold import TrainingFold
from context_propagation.evaluation.tuned_training import tuned_rows
from context_propagation.training.far_harm import HARM_WEIGHT, harm_weight_of
from context_propagation.training.fusion.training_curve import plot_training
from context_propagation.training.labelled_cases import LabelledCase, ModelSource, find_cases, unseen_cases
from context_propagation.training.places import each, leave_the_rest_to_who_gathers
from context_propagation.training.processes import jobs_at_a_time

logger = logging.getLogger(__name__)


NEEDED = {
    "nnunet": ("batchgeneratorsv2", "safetensors.torch"),
    "cli": ("joblib", "nibabel", "psutil", "tqdm", "matplotlib.figure"),
    "evaluation": ("pandas", "scipy.stats", "monai.metrics"),
}
"""Optional modules by the extra that installs them."""


Start = Literal["auto", "general", "fresh"]
"""What a training starts from. "general": from the general far network, which is trained further, one for all folds;
level and edits count, the variant and what belongs to it do not. "fresh": from fresh weights, a network of the variant
for each fold. "auto": "general" where there are fewer than `FEW_CASES` to train a fold on, unless another variant than
the default was asked for."""


FEW_CASES = 8
"""With three the general far network, trained further, has the DSC of one from fresh weights and makes fewer slices
worse; with ten it has less: see docs/evaluation.md."""


TRAINED = (FUSION, NO_EDIT)
"""The rows whose networks a training leaves."""


STEP = 0.2
"""A step of a training, in the time that a case takes to be edited: measured on phantoms, on a CPU."""


@dataclass(frozen=True)
class TrainFusionRequest(FusionRecipe):
    """What to train, on what; the recipe's seed also chooses the validation cases.

    Attributes:
        model: nnU-Net's trained-model folder.
        images: Folder of images; None for those of the model's own data set, see `nnunet_data.find_cases_of`.
        labels: Folder of labelmaps; given where the images are.
        output: The bundle's folder; None for `place_of_bundle`, if nothing is there yet.
        folds: nnU-Net's splits_final.json, see `labelled_cases.unseen_cases`; None for that of the model's data set.
        label: Name or value of the label; None where the model has only one.
        jobs: Processes at a time; None for one per CPU core.
        device: "auto", "cpu", "cuda" or "mps".
        trust_bundle: Whether a MONAI bundle's own expressions may run.
        start: What the training starts from, see `Start`.
    """

    model: Path
    images: Path | None = None
    labels: Path | None = None
    output: Path | None = None
    folds: Path | None = None
    label: str | None = None
    epochs: int = field(default=20, kw_only=True)
    jobs: int | None = None
    device: str = "auto"
    trust_bundle: bool = False
    start: Start = "auto"

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserInputError(f"--jobs {self.jobs}; give at least 1")
        if wrong := self.wrong():
            raise UserInputError(f"--{wrong[0].replace('_', '-')} {getattr(self, wrong[0])}; {wrong[1]}")


def train_fusion_bundle(request: TrainFusionRequest, told: Told = tell_no_one) -> TrainedBundle:
    """Cache, train the fusion network and its no-edit control, choose the far thresholds, validate, write the bundle.

    What is finished is kept beside the bundle in `<output>.training`, so that an interrupted run goes on; it is removed
    once the bundle is written.

    Args:
        request: What to train, on what.
        told: Hears where it stands.

    Returns:
        What was written.

    Raises:
        UserInputError: Something in the request cannot be used, or a validation case failed.
        MissingDependencyError: An optional package is not installed; this is known before any work.
    """
    places = places_of(request.model, request.label, request.images, request.labels, request.folds, request.output)
    for extra, modules in NEEDED.items():
        for module in modules:
            require(module, extra)
    model = _base_model(request).here().load()
    settings = SessionSettings(level=request.level)
    cases = find_cases(places.images, places.labels, model.channels)
    unseen = unseen_cases(cases, model.folds, places.folds)
    folds = [_fold(request, name, of_fold) for name, of_fold in zip(model.folds, unseen, strict=True)]
    say_what_is_used(places, len(cases), model.folds, unseen)
    work = _work_folder(request, places, model, cases)
    general = _starts_from_general(request, folds)
    course = Course(_work(request, folds, general), told)
    rows: list[list[FusionRow]] | list[list[TunedRow]]
    if general:
        rows = [tuned_rows(request, folds, settings, work, request.jobs, course)] * len(folds)
    else:
        trainings = [
            partial(fresh_rows, request, fold, settings, work / f"fold_{name}", request.jobs, course)
            for name, fold in zip(model.folds, folds, strict=True)
        ]
        rows = list(each(trainings))
    jobs = [
        CaseJob(name, fold.base, case, settings, tuple(of_fold), interpolation=False)
        for name, fold, of_fold in zip(model.folds, folds, rows, strict=True)
        for case in fold.validation
    ]
    copies, allowed = min(1, request.augmented_copies), request.allowed_regression
    far_thresholds = choose_far_thresholds(jobs, FUSION, work, copies, allowed, request.jobs, course.stage())
    jobs = [replace(job, rows=tuple(replace(row, far_thresholds=far_thresholds) for row in job.rows)) for job in jobs]
    figures = _validation_figures(jobs, work, request.jobs, course.stage())
    fusion = _trained(rows, settings, far_thresholds)
    made = _provenance(request, places, folds, figures, general)
    logs = _logs(["general"] if general else [f"fold_{fold}" for fold in model.folds], work)
    about = {"label": model.target_name, "folds": model.folds, "training": logs, "trust": request.trust_bundle}
    save_bundle(places.output, request.model, fusion, made, **about)
    shutil.rmtree(work)
    return read_trained_bundle(places.output)


def _starts_from_general(request: TrainFusionRequest, folds: Sequence[TrainingFold]) -> bool:
    few = min(len(fold.training) for fold in folds) < FEW_CASES and request.fusion == FusionRecipe.fusion
    general = request.start == "general" or (request.start == "auto" and few)
    if general:
        logger.info("The general far network is trained further; with --start fresh it would be a network of its own")
    return general


def _trained(
    rows: Sequence[Sequence[FusionRow]] | Sequence[Sequence[TunedRow]],
    settings: SessionSettings,
    far_thresholds: FarThresholds,
) -> TrainedFar:
    """What goes into the bundle."""
    trained_for = settings.level, settings.neighbours, far_thresholds
    first, networks = rows[0][0], []
    if isinstance(first, TunedRow):
        return tuned_general_of(first.network(), *trained_for)
    for fusion, *_ in rows:
        networks += fusion.networks()
    return fusion_of(networks, *trained_for)


def _work(request: TrainFusionRequest, folds: Sequence[TrainingFold], general: bool) -> list[float]:
    """How long each stage takes, in the time that one edit of a case takes in a process; for the estimate alone."""
    workers = jobs_at_a_time(request.jobs, request.device)

    def taking(jobs: int, each: float = 1.0) -> float:
        return each * jobs / min(max(1, jobs), workers)

    copies, work, all_steps = request.augmented_copies + 1, [], 0.0
    for fold in folds:
        training, validation = len(fold.training) * copies, len(fold.validation)
        steps = request.epochs * (training * (1 + request.contour_styles) + validation / 3)
        work += [taking(training), taking(validation), *([] if general else [taking(len(TRAINED), STEP * steps)])]
        all_steps += steps
    work += [taking(len(TRAINED), STEP * all_steps)] if general else []
    validation = sum(len(fold.validation) for fold in folds)
    return [*work, taking(validation * min(2, copies)), taking(validation)]


def _base_model(request: TrainFusionRequest, folds: tuple[str, ...] | None = None) -> ModelSource:
    return ModelSource(request.model, request.label, request.device, folds, request.trust_bundle)


def _fold(request: TrainFusionRequest, name: str, cases: Sequence[LabelledCase]) -> TrainingFold:
    """A fifth of the cases validates, at least one."""
    if len(cases) < 2:
        raise UserInputError(f"{len(cases)} case(s) to train fold {name} on; give at least 2, one of them validates")
    order = np.random.default_rng(request.seed).permutation(len(cases))
    chosen = [cases[number] for number in order]
    held_out = max(1, len(cases) // 5)
    base = _base_model(request, (name,))
    return TrainingFold(base, tuple(chosen[held_out:]), tuple(chosen[:held_out]))


def _work_folder(
    request: TrainFusionRequest, places: Places, model: SegmentationModel, cases: Sequence[LabelledCase]
) -> Path:
    """Beside the bundle; one that another training left, or the same one on other files, is refused."""
    work = places.output.resolve().with_name(f"{places.output.name}.training")
    chosen = {**asdict(request), **asdict(places)}
    identity = {name: str(value) for name, value in chosen.items() if name not in ("jobs", "device", "output")}
    stats = [(path.name, path.stat()) for case in cases for path in (*case.images, case.label)]
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    folds = places.folds.read_text(encoding="utf-8") if places.folds else ""
    text = json.dumps([model.content_hash, identity, files, folds], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    record = work / "training.sha256"
    claim_folder(work, record.name, digest)
    if not record.is_file() or record.read_text(encoding="utf-8") != digest:
        raise UserInputError(
            f"'{work}' belongs to another training, or its images, labels or folds have changed; finish that one, or "
            "delete the folder"
        )
    return work


def _logs(trained: Sequence[str], work: Path) -> Path:
    """The folder that goes into the bundle: logs and picture, the control's weights, the validation's figures.

    Args:
        trained: The folders of the trainings.
        work: What they are in.
    """
    logs = work / "logs"
    logs.mkdir(exist_ok=True)
    control = NO_EDIT.replace(" ", "-")
    for folder in trained:
        networks, of_fold = work / folder / "networks", folder.removeprefix("fold_")
        for row in TRAINED:
            name = row.replace(" ", "-")
            shutil.copyfile(networks / f"{name}.csv", logs / f"{name}_{of_fold}.csv")
        shutil.copyfile(networks / f"{control}.safetensors", logs / f"{control}_{of_fold}.safetensors")
    plot_training(sorted(logs.glob("*_*.csv")), logs / "training.png")
    shutil.copyfile(work / "validation.csv", logs / "validation.csv")
    return logs


@dataclass(frozen=True)
class ValidationFigures:
    """What the bundle says of its validation.

    Attributes:
        cases: How many.
        far_thresholds: Of all rows.
        dsc: Mean over the cases, for each "pick, scope, row".
        comparisons: Rows against rows.
    """

    cases: int
    far_thresholds: FarThresholds
    dsc: dict[str, float | None]
    comparisons: tuple[Comparison, ...]

    def as_json(self) -> dict[str, Any]:
        """For bundle.json."""
        return {
            "measured on": "the cases that chose the epoch and the far thresholds: too good, compare rows only",
            "cases": self.cases,
            "far_thresholds": asdict(self.far_thresholds),
            "dsc": self.dsc,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def _validation_figures(
    jobs: Sequence[CaseJob], work: Path, workers: int | None, progress: Progress
) -> ValidationFigures:
    """Means of every row with the control's, for both picks of the edited slice, on the validation cases."""
    lines = lines_of_cases(jobs, work / "validation", "validation", workers, progress)
    leave_the_rest_to_who_gathers()
    frame = frame_of(lines)
    frame.to_csv(work / "validation.csv", index=False)
    summary = summarise(frame)
    if summary.failed:
        raise UserInputError(
            f"{len(summary.failed_cases)} of {len(jobs)} validation case(s) failed, first '{summary.failed[0].case}': "
            f"{' '.join(summary.failed[0].error.split())}"
        )
    dsc = {f"{item.pick}, {item.scope}, {item.row}": item.mean for item in summary.measures if item.measure == "dsc"}
    return ValidationFigures(len(jobs), jobs[0].rows[0].far_thresholds, dsc, summary.comparisons)


def _provenance(
    request: TrainFusionRequest,
    places: Places,
    folds: Sequence[TrainingFold],
    figures: ValidationFigures,
    general: bool,
) -> dict[str, Any]:
    return {
        **provenance(),
        "training_cases": [len(fold.training) for fold in folds],
        "validation_cases": [len(fold.validation) for fold in folds],
        "folds_file": None if places.folds is None else places.folds.name,
        "start": "general" if general else "fresh",
        "harm_weight": HARM_WEIGHT if general else harm_weight_of(request.fusion),
        "settings": {item.name: getattr(request, item.name) for item in fields(FusionRecipe)},
        "validation": figures.as_json(),
    }
