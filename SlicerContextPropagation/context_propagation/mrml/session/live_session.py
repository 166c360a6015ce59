"""The session of one segment: the engine, what keeps it in step with the segment, and its record in the scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.slices import SliceEdit, near_indices
from context_propagation.core.session.saved_session import SavedPropagation, SavedSession
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.pending_propagation import PendingPropagation, Propagation
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from context_propagation.mrml.session.session_node import write_session
from context_propagation.mrml.writing.segment_writer import WriteReport

if TYPE_CHECKING:
    from context_propagation.core.session.forecast import MemoryForecast
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.step import Step


@dataclass(frozen=True)
class SliceUncertainty:
    """How undecided the model is on each slice along an array axis of the volume; see `slice_uncertainty_mm2`."""

    axis: int
    per_slice_mm2: np.ndarray


@dataclass(frozen=True)
class Beginning:
    """What a session began with, and its record names.

    Attributes:
        initial: The segmentation before the first edit.
        protected: Voxels that were changed by hand; packed here, as the main thread would wait for it.
        image_sha256: Of each channel of the image; see `image_sha256`.
        kept: Slices drawn before, which propagation leaves alone.
    """

    initial: BoxedMask
    protected: BoxedMask
    image_sha256: tuple[str, ...]
    kept: tuple[SliceEdit, ...] = ()

    @classmethod
    def of(cls, session: Session, image_sha256: tuple[str, ...], kept: Sequence[SliceEdit]) -> Beginning:
        """What a session holds whose image was just set; on any thread."""
        return cls(BoxedMask.of(session.initial), BoxedMask.of(session.changed_by_hand), image_sha256, tuple(kept))


def _nothing(live: LiveSession) -> None:
    pass


class LiveSession:
    """A session whose image is cached; every step of it is recorded in the scene.

    Args:
        scene: Where the record goes.
        loaded: The model.
        selection: What is worked on.
        session: The engine, its image set.
        propagation: Keeps it in step with the segment.
        beginning: What it began with.
        doubt: How undecided the model is.
        restored: Propagations that were replayed from the scene: they cannot be undone.

    Attributes:
        loaded: The model.
        selection: What is worked on.
        session: The engine.
        propagation: Keeps it in step with the segment.
        kept: Slices drawn before, which propagation leaves alone.
        selection: What is worked on.
        memory: What caching its image needed, where that was foreseen.
        on_recorded: Called with it after each step was recorded.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        loaded: LoadedModel,
        selection: Selection,
        session: Session,
        propagation: PropagationLogic,
        beginning: Beginning,
        doubt: SliceUncertainty,
        restored: Sequence[SavedPropagation] = (),
    ) -> None:
        self._scene, self.loaded, self.selection = scene, loaded, selection
        self.memory: MemoryForecast | None = None
        self.session, self.propagation = session, propagation
        self._doubts = [(_last_edit(session.records), doubt)]
        self._beginning, self.kept = beginning, beginning.kept
        self._restored = tuple(restored)
        self.on_recorded: Callable[[LiveSession], None] = _nothing
        self._save()

    @property
    def doubt(self) -> SliceUncertainty:
        """How undecided the model is after the edits so far; after Undo, as it was before them. Slices that were
        confirmed since, and those near them, have none.
        """
        last = _last_edit(self.session.records)
        found = next((doubt for of, doubt in reversed(self._doubts) if of is last), self._doubts[-1][1])
        per_slice = found.per_slice_mm2.copy()
        confirmed = [edit.index for done in self.history for edit in done.confirmed if edit.axis == found.axis]
        per_slice[near_indices(confirmed, self.session.settings.neighbours, len(per_slice))] = 0.0
        return SliceUncertainty(found.axis, per_slice)

    def _remember_doubt(self, step: Step, doubt: SliceUncertainty) -> None:
        """Of a step that may be done; what belongs to no step that can be undone or redone is forgotten."""
        states = [step.after, self.session.records]
        states += [records for one in (*self.session.done, *self.session.undone) for records in (one.before, one.after)]
        known = [_last_edit(records) for records in states]
        kept = [(of, was) for of, was in self._doubts if any(of is last for last in known)]
        self._doubts = [*kept, (_last_edit(step.after), doubt)]

    @property
    def history(self) -> list[SavedPropagation]:
        """The propagations that are in the segment, first to last."""
        return [*self._restored, *(step.saved for step in self.propagation.steps)]

    @property
    def drawings(self) -> list[SliceEdit]:
        """All slices that were drawn or confirmed, in this session or before, in their order."""
        return [*self.kept, *(edit for done in self.history for edit in done.slices)]

    def propagate_operation(self, plane: str | None) -> Operation[PendingPropagation]:
        """See `PropagationLogic.propagation_operation`; looks for undecided slices as well."""
        current = self.follow()
        inner = self.propagation.propagation_operation(plane=plane, current=current)

        def compute(progress: Progress, cancelled: CancelCheck) -> tuple[Any, SliceUncertainty]:
            step, result = inner.compute(progress, cancelled)
            doubt = slice_uncertainty(self.session, result.axis, self.kept, progress, cancelled, step)
            return (step, result), doubt

        def finish(computed: tuple[Any, SliceUncertainty]) -> PendingPropagation:
            pending = inner.finish(computed[0])
            self._remember_doubt(computed[0][0], computed[1])
            return pending

        return replace(inner, compute=compute, finish=finish)

    def confirm(self, axis: int, indices: Sequence[int]) -> tuple[int, ...]:
        """See `PropagationLogic.confirm`."""
        confirmed = self.propagation.confirm(axis, indices)
        self._save()
        return confirmed

    def apply(self, pending: PendingPropagation) -> Propagation:
        """See `PropagationLogic.apply`."""
        done = self.propagation.apply(pending)
        self._save()
        return done

    @property
    def image_sha256(self) -> str:
        """Of the image's first channel."""
        return self._beginning.image_sha256[0]

    def use_own_contours(self) -> WriteReport:
        """See `PropagationLogic.use_own_contours`."""
        report = self.propagation.use_own_contours()
        self._beginning = replace(self._beginning, initial=BoxedMask.of(self.session.initial))
        self._save()
        return report

    def undo(self) -> None:
        """See `PropagationLogic.undo`."""
        self.propagation.undo()
        self._save()

    def redo(self) -> None:
        """See `PropagationLogic.redo`."""
        self.propagation.redo()
        self._save()

    def follow(self) -> BoxedMask:
        """See `PropagationLogic.follow_segment`; returns the segment as it was read for this."""
        before = self.propagation.done_count
        current = self.propagation.follow_segment()
        if self.propagation.done_count != before:
            self._save()
        return current

    def redrawn(self, plane: str | None) -> list[SliceEdit]:
        """Follow, then see `PropagationLogic.redrawn`."""
        return self.propagation.redrawn(plane, self.follow())

    def record(self) -> SavedSession:
        """What was done so far."""
        loaded, selection = self.loaded, self.selection
        return SavedSession(
            model_path=str(loaded.description.path),
            model_sha256=loaded.model.content_hash,
            fusion_sha256=loaded.fusion_sha256,
            label=loaded.model.target_name,
            orientation=loaded.model.orientation,
            device=str(loaded.model.device),
            versions=loaded.versions,
            image_sha256=self._beginning.image_sha256,
            settings=asdict(self.session.settings),
            initial=self._beginning.initial,
            known=self.propagation.known,
            protected=self._beginning.protected,
            kept=self.kept,
            propagations=tuple(self.history),
            segment_id=selection.segment_id,
            place=self.propagation.place,
            grid=self.propagation.grid,
        )

    def _save(self) -> None:
        """Put what was done so far into the scene."""
        selection = self.selection
        write_session(self._scene, self.record(), selection.volume_nodes, selection.segmentation_node)
        self.on_recorded(self)


def _last_edit(records: Sequence[Any]) -> Any:
    """What says after which edit something was: confirmed slices change nothing."""
    return next((record for record in reversed(records) if not record.confirmed), None)


def slice_uncertainty(
    session: Session,
    axis: int,
    kept: Sequence[SliceEdit],
    progress: Progress,
    cancelled: CancelCheck,
    after: Step | None = None,
) -> SliceUncertainty:
    """Look for undecided slices; may take a second. Kept slices and their near ones have no doubt, as drawn ones.

    Args:
        session: The engine.
        axis: Array axis of the slices.
        kept: Slices drawn before.
        progress: Called with stage and fraction.
        cancelled: Asked before.
        after: See `Session.slice_uncertainty_mm2`.

    Raises:
        Cancelled: `cancelled` returned true.
    """
    progress("look for undecided slices", 0.0)
    if cancelled():
        raise Cancelled
    per_slice = session.slice_uncertainty_mm2(axis, after)
    on_axis = [edit.index for edit in kept if edit.axis == axis]
    if on_axis:
        per_slice[near_indices(on_axis, session.settings.neighbours, len(per_slice))] = 0.0
    return SliceUncertainty(axis, per_slice)
