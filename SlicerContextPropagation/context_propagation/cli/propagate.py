"""`context-propagation propagate`: from one redrawn slice to a refined volume."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from context_propagation.cli.arguments import add_model_and_image
from context_propagation.cli.edit_choice import AUTO, ChosenEdits, choose_edits, parse_slices
from context_propagation.cli.model_and_image import read_image_for
from context_propagation.cli.output_files import OutputFiles
from context_propagation.cli.progress import ProgressBars, progress_bars
from context_propagation.cli.report import Report, StageMeter, write_report
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.own_grid import NO_SLICES
from context_propagation.core.image.slices import SliceEdit, mask_of_slices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.activation_update import UpdateSettings
from context_propagation.core.propagation.window import WindowPlan
from context_propagation.core.provenance import installed_versions
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import PropagationResult, SessionSettings
from context_propagation.files.figure import check_figure_ending, write_figure
from context_propagation.files.segmentation import Propagated, ReadSegmentation, Wanted
from context_propagation.segmentations.segmentation_files import (
    check_segmentation_ending,
    read_together,
    write_propagated,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PropagateRequest:
    """What to propagate.

    Attributes:
        model: nnU-Net's trained-model folder, or a bundle.
        image: One file or DICOM folder per channel.
        initial: The segmentation before the edit.
        edited: The segmentation with the redrawn slices.
        output: Where the refined segmentation goes.
        label: Name or value of the label; None for the bundle's, or the only one.
        plane: "auto", "axial", "sagittal" or "coronal".
        slices: Indices of the edited slices, from 0; None finds them.
        segment: Name of the segment or ROI in the segmentations; None for the label's name.
        level: Decoder level; None for the bundle's, or 2.
        optimizer: "lbfgs" or "adam".
        report: Where the JSON report goes.
        figure: Where the figure goes.
        device: "auto", "cpu" or "cuda".
        trust_bundle: Whether a MONAI bundle's own expressions may run.
    """

    model: Path
    image: Sequence[Path]
    initial: Path
    edited: Path
    output: Path
    label: str | None = None
    plane: str = AUTO
    slices: Sequence[int] | None = None
    segment: str | None = None
    level: int | None = None
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    report: Path | None = None
    figure: Path | None = None
    device: str = "auto"
    trust_bundle: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_model_and_image(parser)
    add = parser.add_argument
    add("--initial", type=Path, required=True, metavar="SEG", help="segmentation before the edit")
    add("--edited", type=Path, required=True, metavar="SEG", help="segmentation with the redrawn slices")
    add("--plane", choices=("auto", "axial", "sagittal", "coronal"), default="auto", help="plane of the edited slices")
    add(
        "--slices",
        type=_slices,
        default=AUTO,
        metavar="auto|12,40",
        help="edited slices, from 0; auto compares the segmentations",
    )
    add("--segment", metavar="NAME", help="name of the segment or ROI, if it is not the label's name")
    add("--level", type=int, choices=(1, 2, 3), help="decoder level; 2 by default, or the bundle's")
    add("--optimizer", choices=("lbfgs", "adam"), default="lbfgs")
    add("--report", type=Path, metavar="OUT.json", help="what was done, as JSON")
    add("--figure", type=Path, metavar="OUT.png", help="three planes, before and after")


def _slices(text: str) -> list[int] | None:
    try:
        return parse_slices(text)
    except UserInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@dataclass(frozen=True)
class _Case:
    """What was read."""

    volume: SourceVolume
    initial: np.ndarray
    edited: ReadSegmentation
    chosen: ChosenEdits

    @property
    def edits(self) -> tuple[SliceEdit, ...]:
        """The redrawn slices."""
        return self.chosen.drawing.edits

    @property
    def edited_on_image(self) -> np.ndarray:
        """The edited segmentation, bool `[K, J, I]`, with the redrawn slices as they are propagated."""
        mask = self.edited.mask.copy()
        for edit in self.edits:
            mask[edit.place] = edit.mask
        return mask

    def propagated(self, result: PropagationResult) -> Propagated:
        """What may be written of a result."""
        drawing, by_hand = self.chosen.drawing, self.chosen.by_hand
        own = self.edited.own
        if own is not None and not self.chosen.grid.is_same(own.grid):  # compared on the image, whose slices are drawn
            drawing, by_hand = replace(drawing, own_slices=NO_SLICES), BoxedMask.of(np.zeros((0, 0, 0), bool))
        protected = self.edited_on_image ^ self.initial
        protected[mask_of_slices(protected.shape, self.edits)] = False
        to_write, _ = drawing.to_write(result.changed, result.changed_box_kji or EMPTY, protected)
        return Propagated(result.segmentation, to_write, drawing, by_hand)


def propagate(request: PropagateRequest) -> str:
    """Propagate and write: all outputs, or none.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: Something in the request cannot be used; no file was written.
    """
    check_segmentation_ending(request.output, request.image)
    if request.figure is not None:
        check_figure_ending(request.figure)
    inputs = [*request.image, request.initial, request.edited]
    meter = StageMeter()
    with (
        OutputFiles([request.output, request.report, request.figure], inputs) as outputs,
        progress_bars() as progress,
    ):
        with meter.stage("load model"):
            loaded = load_model(request.model, request.label, request.device, request.trust_bundle)
            session = _session(request, loaded)
        with meter.stage("read files"):
            case = _read_case(request, loaded.model)
        result = _propagated(session, case, meter, progress)
        with meter.stage("write segmentation"):
            staged = outputs.staged(request.output)
            refused = write_propagated(staged, case.edited, case.propagated(result), case.volume, request.image)
        if request.figure is not None:
            with meter.stage("draw figure"):
                write_figure(outputs.staged(request.figure), case.volume, case.initial, result.segmentation, case.edits)
        if request.report is not None:
            report = _report(loaded, session.settings, case, result, refused, meter)
            write_report(outputs.staged(request.report), report)
        outputs.publish()
    return _summary(request, result, refused)


def _session(request: PropagateRequest, loaded: LoadedModel) -> Session:
    settings = SessionSettings(update=UpdateSettings(optimizer=request.optimizer))
    if request.level is not None:
        settings = replace(settings, level=request.level)
    if loaded.fusion is not None and request.level not in (None, loaded.fusion.level):
        raise UserInputError(
            f"--level {request.level} is not the level of bundle '{request.model}', whose fusion network is for level "
            f"{loaded.fusion.level}; leave --level out"
        )
    return loaded.session(settings)


def _read_case(request: PropagateRequest, model: SegmentationModel) -> _Case:
    volume = read_image_for(model, request.image)
    wanted = Wanted(request.segment or model.target.name, model.target.label)
    initial, edited = read_together([request.initial, request.edited], wanted, volume, request.image)
    chosen = choose_edits(initial, edited, volume, request.plane, request.slices)
    return _Case(volume, initial.mask, edited, chosen)


def _propagated(session: Session, case: _Case, meter: StageMeter, progress: ProgressBars) -> PropagationResult:
    with meter.stage("set image"):
        plan = session.set_image(case.volume, case.initial, progress)
    session.accept_manual_changes(case.edited_on_image)  # changes that --slices leaves out are kept as they are
    with meter.stage("propagate"):
        waiting = case.chosen.drawing.waiting_voxels(case.volume.shape_kji)
        result = session.propagate(case.edits, progress, spared=waiting)
    to_tell = (*(() if plan is None else plan.messages), *result.messages)
    for message in to_tell:
        logger.info("%s", message)
    memory = () if plan is None else (_memory_line(plan),)  # in the report alone: it is no news
    return replace(result, messages=(*memory, *to_tell))


def _memory_line(plan: WindowPlan) -> str:
    cached, peak = (round(n / 2**20) for n in (plan.cached_bytes, plan.peak_bytes))
    return f"Caching the target was predicted to need {cached} MiB, and {peak} MiB at its peak"


def _report(
    loaded: LoadedModel,
    settings: SessionSettings,
    case: _Case,
    result: PropagationResult,
    refused: int,
    meter: StageMeter,
) -> Report:
    return Report(
        plane=case.volume.plane_of_axis[result.axis],
        edited_slices=result.edited_slices,
        voxels_changed_per_slice=result.changed_per_slice,
        updates=result.updates,
        scope=result.scope,
        refused_voxels=refused,
        messages=result.messages,
        stages=meter.costs,
        versions=installed_versions(),
        model_sha256=loaded.model.content_hash,
        fusion_sha256=loaded.fusion_sha256,
        settings={
            "label": loaded.model.target.name,
            "level": settings.level,
            "optimizer": settings.update.optimizer,
            "device": str(loaded.model.device),
        },
    )


def _summary(request: PropagateRequest, result: PropagationResult, refused: int) -> str:
    voxels = sum(result.changed_per_slice.values())
    line = f"{request.output}: {voxels} voxels changed on {len(result.changed_per_slice)} slices ({result.scope})"
    return f"{line}; {refused} voxels refused" if refused else line


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(propagate(PropagateRequest(**fields)))
