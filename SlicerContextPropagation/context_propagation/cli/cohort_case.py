"""One case of a cohort as a job: its recorded edits made again, its segmentation written, an outcome left."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from context_propagation.cli.cohort_table import CohortCase
from context_propagation.cli.edit_choice import parse_slices
from context_propagation.cli.model_and_image import load_requested, read_image_for
from context_propagation.cli.output_files import OutputFiles
from context_propagation.cli.predict import PredictRequest, predict
from context_propagation.cli.propagate import propagate
from context_propagation.cli.propagate_request import PropagateRequest
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import no_progress
from context_propagation.core.errors import MissingDependencyError, UserInputError
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import restore_session
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.segmentations.segmentation_files import check_segmentation_ending, write_predicted
from context_propagation.training.places import are_there

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Outcome:
    """A line of the table of outcomes.

    Attributes:
        case: Its name.
        outcome: "done" or "failed".
        said: What the command says of one case; or why it failed.
        output: Name of the segmentation's file; empty where it failed.
        edits: Slices that were drawn, of all edits.
        changed_voxels: That propagation changed.
        changed_slices: On which it did.
        scope: What was changed: near slices, or the whole volume.
        seconds: That it took.
        peak_memory_mib: Of the process, as far as `propagate` measures it; 0 for a saved session's edits alone.
        messages: What else a user should know.
    """

    case: str
    outcome: str
    said: str
    output: str = ""
    edits: int = 0
    changed_voxels: int = 0
    changed_slices: int = 0
    scope: str = ""
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    messages: str = ""


@dataclass(frozen=True)
class CohortJob:
    """All that decides a case's output.

    Attributes:
        case: The line of the table.
        output: Folder of all outputs.
        ending: Of the segmentation's name.
        device: "auto", "cpu", "cuda" or "mps".
        general_far: See `PropagateRequest`, as the following ones.
        trust_bundle: Whether a MONAI bundle's own expressions may run.
        allow_loss: Whether the output may lose what its kind of file cannot hold.
        suv: Whether a DICOM PET among the channels becomes SUV.
    """

    case: CohortCase
    output: Path
    ending: str
    device: str = "auto"
    general_far: bool = True
    trust_bundle: bool = False
    allow_loss: bool = False
    suv: bool = False

    @property
    def segmentation(self) -> Path:
        """Where the segmentation goes."""
        return self.output / f"{self.case.case}{self.ending}"

    @property
    def outcome(self) -> Path:
        """Its file, which is written last; of another name where the case is another."""
        options = "".join("ny"[flag] for flag in (self.general_far, self.trust_bundle, self.allow_loss, self.suv))
        return self.output / "outcomes" / f"{self.case.case}{self.ending}.{self.case.digest()}{options}.json"

    @property
    def leaves(self) -> tuple[Path, ...]:
        """A case is done where it has both."""
        return self.segmentation, self.outcome


def replay_case(job: CohortJob) -> Outcome:
    """Make the recorded edits again, and write the segmentation; a case that was done is only read.

    Returns:
        The outcome; one that failed leaves no file, and is tried again by the next run.

    Raises:
        MissingDependencyError: No case could be done.
    """
    if are_there(job.leaves):
        return Outcome(**json.loads(job.outcome.read_text(encoding="utf-8")))
    start = time.perf_counter()
    with _messages() as messages:
        try:
            outcome = _from_edited(job) if job.case.edited is not None else _from_session(job)
        except MissingDependencyError:
            raise
        except Exception as error:
            said = str(error) if isinstance(error, UserInputError) else f"{type(error).__name__}: {error}"
            return Outcome(job.case.case, FAILED, " ".join(said.split()), messages="; ".join(messages))
    seconds = round(time.perf_counter() - start, 1)
    outcome = replace(outcome, output=job.segmentation.name, seconds=seconds, messages="; ".join(messages))
    job.outcome.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(job.outcome) as partial_file:
        partial_file.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    return outcome


def _request(job: CohortJob, initial: Path, edited: Path, report: Path | None = None) -> PropagateRequest:
    case = job.case
    return PropagateRequest(
        case.model, case.image, initial, edited, job.segmentation, case.label, case.plane, parse_slices(case.slices),
        case.segment, session=case.session, report=report, device=job.device, trust_bundle=job.trust_bundle,
        suv=job.suv, allow_loss=job.allow_loss, general_far=job.general_far,
    )  # fmt: skip


def _from_edited(job: CohortJob) -> Outcome:
    """What `propagate` makes of it, after `predict` where there is no initial segmentation."""
    case = job.case
    assert case.edited is not None
    with TemporaryDirectory() as folder:
        initial, report = case.initial, Path(folder) / "report.json"
        if initial is None:
            initial = Path(folder) / "initial.nii.gz"
            request = PredictRequest(case.model, case.image, initial, case.label, job.device, job.trust_bundle)
            predict(replace(request, suv=job.suv), _silent, _load_once)
        said = propagate(_request(job, initial, case.edited, report), _silent, _load_once)
        done = json.loads(report.read_text(encoding="utf-8"))
    changed = done["voxels_changed_per_slice"]
    said = said.partition(": ")[2] or said
    edits, voxels, slices = len(done["edited_slices"]), sum(changed.values()), len(changed)
    peak = max(stage["peak_memory_mib"] for stage in done["stages"])
    return Outcome(case.case, DONE, said, "", edits, voxels, slices, done["scope"], peak_memory_mib=peak)


def _from_session(job: CohortJob) -> Outcome:
    """The segmentation that a saved session ends with."""
    case = job.case
    assert case.session is not None
    check_segmentation_ending(job.segmentation, case.image)
    with OutputFiles([job.segmentation], [*case.image, case.session], case.model) as outputs:
        loaded = _load_once(_request(job, case.session, case.session), job.general_far)
        volume = read_image_for(loaded.model, case.image, job.suv)
        session = restore_session(case.session, loaded.model, volume, fusion=loaded.far)
        write_predicted(
            outputs.staged(job.segmentation), session.segmentation, loaded.model.target.name, volume, case.image
        )
        outputs.publish()
    return _outcome_of(case.case, session)


def _outcome_of(name: str, session: Session) -> Outcome:
    shape = session.volume.shape_kji
    changed = [step.changed_per_slice(shape) for step in session.done]
    edits = sum(len(step.edits) for step in session.done)
    voxels, slices = sum(sum(one.values()) for one in changed), sum(len(one) for one in changed)
    scope = session.fusion.reach if session.fusion is not None else "near slices only"
    said = f"{voxels} voxels changed on {slices} slices, from {edits} drawn slices of a saved session ({scope})"
    return Outcome(name, DONE, said, "", edits, voxels, slices, scope)


# ---- what a job does otherwise than a command


def _silent() -> Any:
    """No bars: many jobs share a terminal."""
    return nullcontext(no_progress)


def _load_once(request: Any, general_far: bool = False) -> LoadedModel:
    loaded = _load(request.model, request.label, request.device, request.trust_bundle)
    return loaded.with_general_far() if general_far else loaded


def loaded_for(job: CohortJob, device: str) -> LoadedModel:
    """The model of a job's case, on a device of this process."""
    return _load(job.case.model, job.case.label, device, job.trust_bundle)


@lru_cache(maxsize=1)
def _load(model: Path, label: str | None, device: str, trust: bool) -> LoadedModel:
    """A process keeps the model for its next case."""
    return load_requested(PredictRequest(model, (), Path(), label, device, trust))


@contextmanager
def _messages() -> Iterator[list[str]]:
    """What the package would tell on a terminal."""
    found: list[str] = []
    logger, handler = logging.getLogger("context_propagation"), logging.Handler()
    handler.emit = lambda record: found.append(" ".join(record.getMessage().split()))  # type: ignore[method-assign]
    handlers, level, passes = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    try:
        yield found
    finally:
        logger.handlers, logger.propagate = handlers, passes
        logger.setLevel(level)
