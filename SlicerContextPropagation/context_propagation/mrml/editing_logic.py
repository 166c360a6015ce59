"""Redraw, propagate, confirm, undo, suggest: what is done with a session once its image is cached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.core.session.saved_session import SavedPropagation
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume
from context_propagation.mrml.session.current_session import CurrentSession
from context_propagation.mrml.session.earlier_cases import EarlierCases
from context_propagation.mrml.session.journal import Journal
from context_propagation.mrml.session.lesion import Lesion
from context_propagation.mrml.session.live_session import LiveSession, SliceUncertainty
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.pending_propagation import PendingPropagation, Propagation
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from context_propagation.mrml.session.session_start import own_writer
from context_propagation.mrml.session_free_logic import SessionFreeLogic
from context_propagation.mrml.writing.segment_writer import SegmentWriter, WriteReport
from context_propagation.mrml.writing.slice_drawing import draw_slice

if TYPE_CHECKING:
    from context_propagation.core.session.forecast import MemoryForecast
    from context_propagation.core.session.session import Session


class EditingLogic(SessionFreeLogic):
    """Works with the session in use.

    Args:
        scene: Where the nodes are.

    Attributes:
        plane: axial, sagittal or coronal where the user says in which plane slices are redrawn; None finds it.
        earlier_cases: What is remembered of earlier cases, and where the contours of the next one begin.
        journal: What is kept of this and other segments for when Slicer dies; see `keep_drawn` and `bring_back`.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        super().__init__(scene)
        self.plane: str | None = None
        self.earlier_cases = EarlierCases()
        self.journal = Journal()
        self._current = CurrentSession(self.scene, self.journal.write)

    # -- what there is -----------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        """The engine, from when its image is being cached."""
        return self._current.engine

    @property
    def propagation(self) -> PropagationLogic | None:
        """What keeps engine and segment in step, once the image is cached."""
        return self._current.live.propagation if self._current.live else None

    @property
    def doubt(self) -> SliceUncertainty | None:
        """How undecided the model is on each slice, once the image is cached."""
        return self._current.live.doubt if self._current.live else None

    @property
    def kept(self) -> tuple[SliceEdit, ...]:
        """Slices drawn before the session began, which propagation leaves alone."""
        return self._current.live.kept if self._current.live else ()

    @property
    def history(self) -> list[SavedPropagation]:
        """The propagations that are in the segment, first to last."""
        return self._current.live.history if self._current.live else []

    @property
    def sessions(self) -> tuple[LiveSession, ...]:
        """The sessions of all segments of the image, that which was used last at the end."""
        return self._current.all

    def lesions(self) -> list[Lesion]:
        """All segments that have a session: name, volume, state and edits, in their order in the segmentation."""
        there = (live for live in self.sessions if live.selection.is_there())
        return sorted((Lesion.of(live) for live in there), key=lambda lesion: lesion.place)

    @property
    def memory(self) -> MemoryForecast | None:
        """What caching the image needs: as the last check foresaw it, then as it was planned; None without a check."""
        return self._current.memory

    # -- edits -------------------------------------------------------------------------------------------------------

    def edit_slice(self, index: int, mask: np.ndarray, plane: str = "axial") -> WriteReport:
        """Draw one slice from a script; the segment is written on this slice only. `undo` does not take it back.

        Args:
            index: The volume's slice, from 0.
            mask: bool, the slice's two remaining array axes in the volume's order (k, j, i).
            plane: axial, sagittal or coronal.

        Raises:
            UserInputError: No image is set, or the slice or mask does not fit the volume.
        """
        self._current.require_live()
        selection = self._require_selection()
        return draw_slice(own_writer(self.scene, selection), selection, index, mask, plane)

    def edits(self, plane: str | None = None) -> list[SliceEdit]:
        """The slices that were redrawn since the last propagation; see `PropagationLogic.edits`."""
        self.follow()
        return self._current.require_live().propagation.edits(plane=plane or self.plane)

    def redrawn(self) -> list[SliceEdit]:
        """As `edits`; nothing where nothing was redrawn."""
        return self._current.require_live().redrawn(self.plane)

    def propagate(self, plane: str | None = None) -> Propagation:
        """`propagate_operation`, run here, and applied."""
        return self.apply(self.propagate_operation(plane).run())

    def propagate_operation(self, plane: str | None = None) -> Operation[PendingPropagation]:
        """Propagate the redrawn slices; nothing is written before `apply`.

        Args:
            plane: axial, sagittal or coronal; without it `self.plane`, or the plane that stands out.

        Raises:
            UserInputError: No image is set, or nothing was redrawn, or no plane stands out.
        """
        return self._current.require_live().propagate_operation(plane or self.plane)

    def use_writer(self, writer: SegmentWriter | None) -> None:
        """Let someone else write from now on.

        Args:
            writer: The Segment Editor's effect, or None for a writer of our own.

        Raises:
            UserInputError: No image is set.
        """
        propagation = self._current.require_live().propagation
        if writer is None and propagation.writer.keeps_history:
            self._current.require_idle()  # a preview was made to be applied by someone else
        propagation.writer = writer or own_writer(self.scene, self._require_selection())

    def apply(self, pending: PendingPropagation) -> Propagation:
        """Write a propagation as one undo step; see `PropagationLogic.apply`."""
        live = self._current.require_live()
        done = live.apply(pending)
        self._learn()
        return done

    def reject(
        self, pending: PendingPropagation, slices: Sequence[int] = (), region: np.ndarray | None = None
    ) -> PendingPropagation:
        """Take only a part of a propagation that waits; see `PropagationLogic.reject`. Apply what this returns."""
        return self._current.require_live().propagation.reject(pending, slices, region)

    def confirm_slices(self, indices: Sequence[int], plane: str | None = None) -> tuple[int, ...]:
        """Say that slices are right as they are: no propagation writes them from now on. `undo` takes it back.

        Args:
            indices: The volume's slices, from 0.
            plane: axial, sagittal or coronal; without it `self.plane`, or that of `doubt`.

        Returns:
            Those that were neither drawn nor confirmed before.

        Raises:
            UserInputError: See `PropagationLogic.confirm`; or no image is set.
        """
        live, plane = self._current.require_live(), plane or self.plane
        planes = planes_of_volume(self._require_selection().volume_nodes[0])
        confirmed = live.confirm(axis_of_plane(planes, plane) if plane else live.doubt.axis, indices)
        self._learn()
        return confirmed

    def confirm_changed_slices(self) -> tuple[int, ...]:
        """Confirm all slices that the last propagation changed.

        Raises:
            UserInputError: It changed none, nothing was propagated, or see `confirm_slices`.
        """
        propagated = [done for done in self.history if done.edits]
        changed = sorted(propagated[-1].changed_per_slice) if propagated else []
        if not changed:
            raise UserInputError("The last propagation changed no slice; choose the slices to confirm")
        planes = planes_of_volume(self._require_selection().volume_nodes[0])
        return self.confirm_slices(changed, planes[propagated[-1].edits[0].axis])

    def use_own_contours(self) -> WriteReport:
        """Take back that the first contours were moved as earlier cases were drawn; before anything is drawn."""
        self.use_writer(None)  # the Segment Editor's Undo would bring back what the session no longer knows
        return self._current.require_live().use_own_contours()

    def discard(self, pending: PendingPropagation) -> None:
        """Forget a propagation that was not applied; what was drawn stays."""
        self._current.require_live().propagation.discard(pending)

    def undo(self) -> None:
        """Take the last propagation back; what was drawn stays. See `PropagationLogic.undo`."""
        live = self._current.require_live()
        live.undo()
        self._learn()

    def redo(self) -> None:
        """Make it again."""
        live = self._current.require_live()
        live.redo()
        self._learn()

    def follow(self) -> None:
        """Bring the engine in step with an Undo or Redo of the Segment Editor."""
        live = self._current.require_live()
        before = live.propagation.done_count
        live.follow()
        if live.propagation.done_count != before:
            self._learn()

    def suggested_slice(self) -> int | None:
        """The slice to redraw next, along `doubt.axis`; None where nothing is in doubt or no image is set."""
        if self.doubt is None:
            return None  # before torch is imported: Slicer would wait seconds for it when the module is opened
        from context_propagation.core.session.slice_suggestion import suggested_slice

        return suggested_slice(self.doubt.per_slice_mm2)

    def suggested_slices(self) -> list[int]:
        """The slices to redraw along `doubt.axis`, the one in most doubt first; nothing where no image is set."""
        if self._current.live is None:
            return []
        from context_propagation.core.session.slice_suggestion import suggested_slices

        return suggested_slices(self._current.live.doubt.per_slice_mm2, self._current.live.session.settings.neighbours)

    def _learn(self) -> None:
        """The case is as its lesion says that was drawn in last."""
        used = self._current.require_live()
        of_model = [live for live in self.sessions if live.loaded.model is used.loaded.model]
        drawn = [live for live in of_model if any(not record.confirmed for record in live.session.records)]
        self.earlier_cases.learn(drawn[-1] if drawn else used)
