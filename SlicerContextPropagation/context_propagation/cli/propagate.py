"""`context-propagation propagate`: from one redrawn slice to a refined volume."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from context_propagation.cli.arguments import add_model_and_image
from context_propagation.cli.drawn_case import DrawnCase, read_drawn_case
from context_propagation.cli.edit_choice import AUTO, parse_slices
from context_propagation.cli.model_and_image import load_requested
from context_propagation.cli.output_files import OutputFiles
from context_propagation.cli.progress import Bars, progress_bars
from context_propagation.cli.propagate_request import PropagateRequest, check_outputs, session_settings
from context_propagation.cli.report import Report, StageMeter, write_report
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import Progress, never_cancelled
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.contour_offset import moved_contours
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.window import WindowPlan
from context_propagation.core.provenance import installed_versions
from context_propagation.core.session.drawing_profile import DrawingProfile, model_key, read_profile, write_profile
from context_propagation.core.session.ready_image import predicted_target, ready_image
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session, save_session, saved_session
from context_propagation.core.session.session_settings import PropagationResult, SessionSettings
from context_propagation.files.case_measures import Case
from context_propagation.files.case_summary import case_summary
from context_propagation.files.figure import write_figure
from context_propagation.segmentations.segmentation_files import write_propagated

logger = logging.getLogger(__name__)


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
    add("--optimizer", choices=("lbfgs", "adam"), help="lbfgs by default")
    add("--session", type=Path, metavar="FILE", help="a saved session to go on from: its edits count too")
    add("--save-session", type=Path, metavar="OUT.session.json", help="what was done, to go on from with --session")
    add(
        "--allow-loss",
        action="store_true",
        help="write an output that cannot hold all of the edited segmentation; what is lost is said",
    )
    add(
        "--general-far", action=argparse.BooleanOptionalAction, default=True,
        help="far slices too where the model has no fusion network; see the docs",
    )  # fmt: skip
    add(
        "--profile",
        type=Path,
        metavar="OUT.profile.json",
        help="remember how this case was drawn, for predict --profile",
    )
    add("--report", type=Path, metavar="OUT.json", help="what was done, as JSON")
    add("--summary", type=Path, metavar="OUT.html", help="a page for the record: contours, edits, changes, hashes")
    add("--figure", type=Path, metavar="OUT.png", help="three planes, before and after")


def _slices(text: str) -> list[int] | None:
    try:
        return parse_slices(text)
    except UserInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def propagate(
    request: PropagateRequest,
    bars: Bars = progress_bars,
    load: Callable[[PropagateRequest, bool], LoadedModel] = load_requested,
) -> str:
    """Propagate and write: all outputs, or none.

    Args:
        request: What to propagate.
        bars: Shows progress.
        load: Loads the model, with the general far network or without.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: Something in the request cannot be used; no file was written.
    """
    check_outputs(request)
    inputs = [*request.image, request.initial, request.edited, *([request.session] if request.session else [])]
    destinations = [
        *(request.output, request.report, request.summary, request.figure),
        *(request.save_session, request.profile),
    ]
    meter = StageMeter()
    outputs = OutputFiles(destinations, inputs, request.model)
    with outputs, bars() as progress, ExitStack() as stack:
        with meter.stage("load model"):
            loaded = load(request, request.general_far)
            settings = session_settings(request, loaded)
            profile = None if request.profile is None else read_profile(request.profile)
        with meter.stage("read files"):
            case = read_drawn_case(request, loaded.model)
        with meter.stage("set image"):
            session = _session(request, loaded, settings, case, profile, progress)
            stack.callback(session.close)
        protected = session.protected.copy()
        result = _propagated(session, case, meter, progress)
        with meter.stage("write segmentation"):
            staged = outputs.staged(request.output)
            refused = write_propagated(
                staged, case.edited, case.propagated(result, protected), case.volume, request.image
            )
        if request.figure is not None:
            with meter.stage("draw figure"):
                write_figure(outputs.staged(request.figure), case.volume, case.initial, result.segmentation, case.edits)
        if request.summary is not None:
            with meter.stage("write summary"):
                page = case_summary(_case_of(session, loaded), progress=progress)
                outputs.staged(request.summary).write_text(page, encoding="utf-8")
        if request.report is not None:
            report = _report(loaded, session.settings, case, result, refused, meter)
            write_report(outputs.staged(request.report), report)
        if request.save_session is not None:
            save_session(session, outputs.staged(request.save_session), str(request.model))
        if request.profile is not None and profile is not None:
            learnt = profile.of_session(session, image_sha256(session.volume)[0])
            write_profile(learnt, outputs.staged(request.profile))
        outputs.publish()
    return _summary(request, case, result, refused)


def _session(
    request: PropagateRequest,
    loaded: LoadedModel,
    settings: SessionSettings,
    case: DrawnCase,
    profile: DrawingProfile | None,
    progress: Progress,
) -> Session:
    """A session that holds the initial segmentation: a new one, or the saved one with its edits made again."""
    if request.session is None:
        start_offset_mm = 0.0 if profile is None else _start_offset_mm(profile, loaded.model, case, progress)
        session = loaded.session(replace(settings, start_offset_mm=start_offset_mm))
        session.set_image(case.volume, case.initial, progress)
        return session
    session = restore_session(
        request.session,
        loaded.model,
        case.volume,
        progress,
        fusion=loaded.far,
        begin=None if request.server is None else loaded.session,
    )
    changed = int((session.segmentation ^ case.initial).sum())
    if changed:
        said = "%d voxels of '%s' are not as '%s' left them; they are kept as they are, as if changed by hand"
        logger.warning(said, changed, request.initial, request.session)
        session.accept_manual_changes(case.initial)
    return session


def _start_offset_mm(profile: DrawingProfile, model: SegmentationModel, case: DrawnCase, progress: Progress) -> float:
    """The profile's, where the initial segmentation is the model's contours moved by it; else 0."""
    offset_mm = profile.offset_mm(model_key(model))
    if not offset_mm:
        return 0.0
    prepared = ready_image(model, case.volume).prepared
    own = predicted_target(model, prepared, progress, never_cancelled)
    return offset_mm if np.array_equal(moved_contours(own, case.volume, offset_mm), case.initial) else 0.0


def _propagated(session: Session, case: DrawnCase, meter: StageMeter, progress: Progress) -> PropagationResult:
    session.accept_manual_changes(case.edited_on_image)  # changes that --slices leaves out are kept as they are
    with meter.stage("propagate"):
        waiting = case.chosen.drawing.waiting_voxels(case.volume.shape_kji)
        result = session.propagate(case.edits, progress, spared=waiting)
    plan = session.plan
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
    case: DrawnCase,
    result: PropagationResult,
    refused: int,
    meter: StageMeter,
) -> Report:
    return Report(
        plane=case.volume.plane_of_axis[result.axis],
        edited_slices=result.edited_slices,
        voxels_changed_per_slice=result.changed_per_slice,
        slices_left_alone=result.left_alone,
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


def _case_of(session: Session, loaded: LoadedModel) -> Case:
    """What the summary is of: all edits of the session, those before too."""
    saved = saved_session(session)
    return Case(
        session.volume, session.segmentation, saved, session.changed_by_hand, model_kind=loaded.description.kind
    )


def _summary(request: PropagateRequest, case: DrawnCase, result: PropagationResult, refused: int) -> str:
    voxels = sum(result.changed_per_slice.values())
    edited = f"from {case.volume.plane_of_axis[result.axis]} {_slices_line(result.edited_slices)}"
    changed = f"{voxels} voxels changed on {len(result.changed_per_slice)} slices"
    if result.left_alone:
        changed += f", {len(result.left_alone)} left alone for thin evidence"
    line = f"{request.output}: {changed}, {edited} ({result.scope})"
    return f"{line}; {refused} voxels refused" if refused else line


def _slices_line(indices: Sequence[int]) -> str:
    return f"slice{'s' if len(indices) > 1 else ''} {', '.join(map(str, sorted(indices)))}"


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(propagate(PropagateRequest(**fields)))
