"""What was done to one image: the segmentation, the edits, Undo and Redo, what is protected. Needs no torch.

A session that computes here and one that a server computes for keep it in the same way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.device import out_of_memory_reported
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, light_copy
from context_propagation.core.image.slices import SliceEdit, edits_on_slices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.session.confirmation import confirming, idle_step, unclaimed
from context_propagation.core.session.drawings_fit import better_fit
from context_propagation.core.session.session_checks import check_edits, check_shape
from context_propagation.core.session.session_settings import PropagationResult, SessionSettings
from context_propagation.core.session.step import Step
from context_propagation.core.session.target_probability import TargetProbability


class Previewed(Protocol):
    """What edits would give; see `Preview`."""

    @property
    def step(self) -> Step:
        """What a session's history would take."""
        ...

    @property
    def result(self) -> PropagationResult:
        """What a user is told of it."""
        ...


class SessionHistory(ABC):
    """All of a session but what computes.

    Args:
        settings: Of the session.

    Attributes:
        settings: Of the session.
        initial: bool `[K, J, I]`, the first segmentation.
        segmentation: bool `[K, J, I]`, as it is now; never written into.
        records: The edits so far.
        done: The steps so far, first to last.
        undone: Those that were undone, the last one first to be redone.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self.settings = settings
        self._volume: SourceVolume | None = None
        self._own: np.ndarray | None = None  # the model's contours, where those of the start were moved
        self.records: tuple[EditRecord, ...] = ()
        self.done: list[Step] = []
        self.undone: list[Step] = []

    @abstractmethod
    def preview(
        self,
        edits: Sequence[SliceEdit],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        spared: np.ndarray | None = None,
        enough: CancelCheck = never_cancelled,
    ) -> Previewed:
        """See `Session.preview`."""

    @abstractmethod
    def slice_uncertainty_mm2(self, axis: int, after: Step | None = None) -> np.ndarray:
        """How undecided the network is on each slice along an array axis: after the edits so far, or after a step."""

    @abstractmethod
    def target_probability(self, drawn: Sequence[SliceEdit] = ()) -> TargetProbability:
        """How likely the model holds the target in each voxel; see `target_probability`."""

    @abstractmethod
    def drawn_offset_mm(self) -> float | None:
        """By how much the model's own contours must move outwards to fit the slices drawn in one plane best.

        Returns:
            Of the plane that was drawn in last; None where nothing was drawn.
        """

    @property
    @abstractmethod
    def window_boxes(self) -> frozenset[Box]:
        """The network boxes that this computer holds for it."""

    @abstractmethod
    def cached_bytes(self, counted: Container[Box] = ()) -> int:
        """What this computer's memory gets back with it, but for boxes that are counted already."""

    @abstractmethod
    def close(self) -> None:
        """Give back what computing took; what was done stays."""

    def _begin(self, volume: SourceVolume, initial: np.ndarray, own: np.ndarray | None) -> None:
        """An image without edits."""
        self._volume, self._own = volume, own
        self.initial = self.segmentation = initial
        self._protected = np.zeros(initial.shape, bool)
        self.records, self.done, self.undone = (), [], []

    @property
    def volume(self) -> SourceVolume:
        """The image; raises `UserInputError` before `set_image`."""
        if self._volume is None:
            raise UserInputError("No image is set; call set_image first")
        return self._volume

    def first_segmentation(self, drawings: Sequence[SliceEdit]) -> np.ndarray:
        """What voxels keep that no edit speaks about, bool `[K, J, I]`: the first segmentation.

        Where that was moved (`SessionSettings.start_offset_mm`) and the model's own contours fit the drawn slices
        better, those.
        """
        own = self._own
        if own is None or not drawings:
            return self.initial
        return better_fit(drawings, self.initial, own)

    @property
    def own_contours(self) -> np.ndarray | None:
        """The model's own contours, bool `[K, J, I]`, where those of the start were moved."""
        return self._own

    def use_own_contours(self) -> bool:
        """Begin with the model's own contours, where they were moved, and nothing was propagated. Whether they were."""
        if self._own is None or self.records:
            return False
        self.settings = replace(self.settings, start_offset_mm=0.0)
        self.initial = self.segmentation = self._own
        self._own, self.undone = None, []
        return True

    def protect(self, mask: np.ndarray) -> None:
        """Never write these voxels (bool `[K, J, I]`) by propagation, whatever they hold."""
        check_shape(mask, self.volume)
        self._protected = self._protected | mask.astype(bool)

    @property
    def changed_by_hand(self) -> np.ndarray:
        """Bool `[K, J, I]`, the voxels that were changed by hand, or that somebody said are; never written."""
        return self._protected

    @property
    def protected(self) -> np.ndarray:
        """Bool `[K, J, I]`, what propagation never writes beside drawn and confirmed slices: voxels that were changed
        by hand, and those of a result that were not accepted.
        """
        rejected = [step.rejected for step in self.done if step.rejected.size]
        if not rejected:
            return self._protected
        protected = light_copy(self._protected)
        protected.reshape(-1)[np.concatenate(rejected)] = True
        return protected

    def stand(self, records: tuple[EditRecord, ...], segmentation: np.ndarray, protected: np.ndarray) -> None:
        """Go on from where another history of the same image stands; nothing can be undone here.

        Args:
            records: Its edits so far.
            segmentation: bool `[K, J, I]`, its segmentation.
            protected: bool `[K, J, I]`, all that it protects.

        Raises:
            UserInputError: A mask is not of the image's shape.
        """
        for mask in (segmentation, protected):
            check_shape(mask, self.volume)
        self.records, self.segmentation, self._protected = records, segmentation, protected
        self.done, self.undone = [], []

    # -- edits -------------------------------------------------------------------------------------------------------

    def accept_manual_changes(self, segmentation: np.ndarray) -> None:
        """Take over a segmentation that was changed by hand; propagation never writes the voxels changed so.

        What was undone before can no longer be redone.

        Args:
            segmentation: bool `[K, J, I]`.
        """
        check_shape(segmentation, self.volume)
        by_hand = segmentation.astype(bool) ^ self.segmentation
        if by_hand.any():
            self.undone.clear()
            self.done = [step.without(by_hand) for step in self.done]
        self._protected = self._protected | by_hand
        self.segmentation = segmentation.astype(bool).copy()

    @out_of_memory_reported("Propagating the edit")
    def propagate(
        self,
        edits: Sequence[SliceEdit],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        spared: np.ndarray | None = None,
        enough: CancelCheck = never_cancelled,
    ) -> PropagationResult:
        """Propagate redrawn slices. Several slices are optimised jointly; see `several_edits` for further ones.

        Args, errors: as `preview`.
        """
        preview = self.preview(edits, progress, cancelled, spared, enough)
        result = preview.result
        self.add(preview.step, result.segmentation)
        return result

    def add(self, step: Step, segmentation: np.ndarray | None = None) -> None:
        """Do what a preview came to; what was undone before can no longer be redone.

        Args:
            step: Of a preview of this session, in which nothing was done since.
            segmentation: bool `[K, J, I]`, what it gives, where that is at hand: it is taken over, read-only from now
                on, and no copy is made.
        """
        if segmentation is None:
            self._apply(step)
        else:
            segmentation.flags.writeable = False
            self.segmentation, self.records = segmentation, step.after
        self.done.append(step)
        self.undone.clear()

    def confirm(self, axis: int, indices: Sequence[int]) -> tuple[int, ...]:
        """Say that slices are right as they are: no propagation writes them, as if they had been drawn so.

        Args:
            axis: Array axis that the slices are perpendicular to.
            indices: Theirs.

        Returns:
            Those that were neither drawn nor confirmed before.

        Raises:
            UserInputError: There are none, or a slice lies outside the image.
        """
        volume, left = self.volume, unclaimed(self.records, axis, indices)
        if axis not in (0, 1, 2):
            raise UserInputError(f"Axis {axis}; give 0 (k), 1 (j) or 2 (i)")
        slices = edits_on_slices(self.segmentation, axis, left)
        check_edits(slices, volume)
        self.add(confirming(idle_step(self.records), slices, self.settings.neighbours))
        return tuple(left)

    def undo(self) -> bool:
        """Take back the last propagation and its drawing, or the last confirmation. False if there is none.

        Voxels that were changed by hand since stay as they are, those that were changed back by hand too.
        """
        if not self.done:
            return False
        step = self.done.pop()
        self._flip(step.flipped, ~step.values)
        self.records = step.before
        self.undone.append(step)
        return True

    def redo(self) -> bool:
        """Repeat what was undone. False if there is nothing."""
        if not self.undone:
            return False
        step = self.undone.pop()
        self._apply(step)
        self.done.append(step)
        return True

    def _apply(self, step: Step) -> None:
        self._flip(step.flipped, step.values)
        self.records = step.after

    def _flip(self, flipped: np.ndarray, values: np.ndarray) -> None:
        """Masks are never written into once they are the session's: what took them keeps what it took."""
        if not flipped.size:  # as where slices were only confirmed
            return
        segmentation = light_copy(self.segmentation)
        segmentation.reshape(-1)[flipped] = values
        self.segmentation = segmentation
