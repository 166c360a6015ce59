"""A session that a server computes: image and features are there, all that was drawn is here.

Whatever becomes of the server, nothing that was drawn is lost: where it has forgotten the session, the image is sent
again, and the edits are computed again, from what they were first computed from.
"""

from __future__ import annotations

import dataclasses
import uuid
import weakref
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import Box
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.session.history import SessionHistory
from context_propagation.core.session.saved_session import plain_edits
from context_propagation.core.session.session_checks import check_channels, check_edits, check_shape
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.session.step import Step
from context_propagation.core.session.target_probability import TargetProbability
from context_propagation.core.wire.arrays import values_of
from context_propagation.core.wire.previewed import RemotePreview, read_preview
from context_propagation.core.wire.records import NamedRecord, plain_standing
from context_propagation.remote.answers import computed, reliably
from context_propagation.remote.connection import RecordsGone, SessionGone
from context_propagation.remote.lease import Lease
from context_propagation.remote.packed_masks import PackedMasks
from context_propagation.remote.place import Place
from context_propagation.remote.remote_model import RemoteFar, RemoteModel
from context_propagation.remote.sent_image import send_image

Result = TypeVar("Result")

NO_POINTS = np.zeros((0, 3), int)


MOST_ATTEMPTS = 5
"""A server that forgets a session so often while one thing is computed has another trouble."""


@dataclass(frozen=True)
class RemotePlan:
    """What the server plans to cache; see `WindowPlan`."""

    cached_bytes: int
    peak_bytes: int
    messages: tuple[str, ...]


class HasVolume(Protocol):
    """What `LoadedModel.ready` gives."""

    @property
    def volume(self) -> SourceVolume:
        """The image."""
        ...


class RemoteSession(SessionHistory):
    """As `Session`, computed on a server. Close it with `close`; one that is no longer used closes itself.

    Args:
        place: Where it is computed.
        model: The model there.
        settings: Of the session.
        fusion: What decides far slices there, if anything does.
    """

    def __init__(self, place: Place, model: RemoteModel, settings: SessionSettings, fusion: RemoteFar | None) -> None:
        super().__init__(settings)
        self._place, self._connection = place, place.connection
        self.model, self.fusion = model, fusion
        self.plan: RemotePlan | None = None
        self._lease: Lease | None = None
        self._closing: Callable[[], Any] | None = None
        self._moved_there = False  # whether the server moved the first contours
        self._previews: dict[str, dict[str, Any]] = {}
        self._packed = PackedMasks()

    # -- the image

    def set_image(
        self,
        image: SourceVolume | HasVolume,
        initial: np.ndarray | None = None,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> RemotePlan | None:
        """Send the image, and let it be cached; see `Session.set_image`.

        Raises:
            UserInputError: As there; nobody agreed that it is sent, the server is full, refuses, or does not answer.
            Cancelled: The session is as it was before the call.
        """
        image = image if isinstance(image, SourceVolume) else image.volume
        check_channels(image, self.model)
        if initial is not None and initial.shape != image.shape_kji:
            raise UserInputError(
                f"The initial segmentation has shape {initial.shape} and the image {image.shape_kji}; resample it"
            )
        self._place.consents.require(image)
        first = None if initial is None else BoxedMask.of(initial.astype(bool)).plain()
        lease, plain = self._begun(image, first, progress, cancelled)
        try:
            segmentation = BoxedMask.from_plain(plain["initial"], image.shape_kji).mask
            own = None if plain["own"] is None else BoxedMask.from_plain(plain["own"], image.shape_kji).mask
            plan = plain["plan"]
            self.plan = plan and RemotePlan(plan["cached_bytes"], plan["peak_bytes"], tuple(plan["messages"]))
        except BaseException:
            lease.end()
            raise
        self._hold(lease)
        self._previews = {}
        self._begin(image, segmentation, own)
        self._packed.remember("segmentation", segmentation, plain["initial"])
        self._packed.remember("protected", self._protected, BoxedMask.of_points(image.shape_kji, NO_POINTS).plain())
        return self.plan

    def close(self) -> None:
        """Let the server forget the image. What was drawn stays here, and the next edit would send it again."""
        lease = self._lease
        self._hold(None)
        if lease is not None:
            lease.wait(5.0)

    def _hold(self, lease: Lease | None) -> None:
        if self._closing is not None:
            self._closing()
        self._lease = lease
        self._closing = None if lease is None else weakref.finalize(self, lease.end)

    def _begun(
        self, image: SourceVolume, first: dict[str, Any] | None, progress: Progress, cancelled: CancelCheck
    ) -> tuple[Lease, dict[str, Any]]:
        """A session on the server with this image; sent again where it was lost on its way."""

        def attempt() -> tuple[Lease, dict[str, Any]]:
            settings = dataclasses.asdict(self.settings)
            lease = send_image(self._connection, self._place.wanted, settings, image, progress, cancelled)
            try:
                plain = computed(
                    self._connection, f"{lease.address}/start", {"initial": first}, progress, cancelled,
                    session=lease.address,
                )  # fmt: skip
            except BaseException:
                lease.end()
                raise
            self._moved_there = bool(self.settings.start_offset_mm)
            return lease, plain

        return self._patiently(attempt, progress, cancelled)

    # -- edits

    def preview(
        self,
        edits: Sequence[SliceEdit],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        spared: np.ndarray | None = None,
        enough: CancelCheck = never_cancelled,
    ) -> RemotePreview:
        """See `Session.preview`; only the drawing and the segmentation's bits travel.

        Raises:
            UserInputError: As there, or the server does not answer. What was drawn stays.
            Cancelled: Nothing was changed.
        """
        check_edits(edits, self.volume)
        if spared is not None:
            check_shape(spared, self.volume)
        edits = tuple(
            dataclasses.replace(e, mask=e.mask.astype(bool)) for e in sorted(edits, key=lambda edit: edit.index)
        )
        name, before, segmentation = uuid.uuid4().hex, self.records, self.segmentation
        wanted = {
            "name": name,
            "edits": plain_edits(edits),
            "records": plain_standing(before),
            "segmentation": self._packed.of("segmentation", segmentation),
            "protected": self._packed.of("protected", self.protected),
            "spared": None if spared is None else BoxedMask.of(spared.astype(bool)).plain(),
            "own_contours": self._moved_there and not self.settings.start_offset_mm,
        }
        plain = self._of_session("preview", wanted, before, progress, cancelled, enough)
        self._forget_unused_previews()
        self._previews[name] = {"wanted": wanted, "before": before}
        return read_preview(plain, name, edits, before, segmentation)

    # -- what else it tells

    def slice_uncertainty_mm2(self, axis: int, after: Step | None = None) -> np.ndarray:
        """See `Session.slice_uncertainty_mm2`."""
        records = self.records if after is None else after.after
        message = {"records": plain_standing(records), "axis": axis}
        return np.array(self._of_session("uncertainty", message, records)["per_slice_mm2"], np.float64)

    def target_probability(self, drawn: Sequence[SliceEdit] = ()) -> TargetProbability:
        """See `target_probability`."""
        message = {"records": plain_standing(self.records), "drawn": plain_edits(drawn)}
        return TargetProbability(*values_of(self._of_session("probability", message, self.records)))

    def drawn_offset_mm(self) -> float | None:
        """See `Session.drawn_offset_mm`."""
        found = self._of_session("offset", {"records": plain_standing(self.records)}, self.records)["offset_mm"]
        return None if found is None else float(found)

    @property
    def window_boxes(self) -> frozenset[Box]:
        """None: the server holds them."""
        return frozenset()

    def cached_bytes(self, counted: Container[Box] = ()) -> int:
        """Nothing: it is the server's memory."""
        return 0

    # -- a server that comes and goes

    def _of_session(
        self,
        what: str,
        message: dict[str, Any],
        records: Iterable[EditRecord],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        enough: CancelCheck = never_cancelled,
    ) -> Any:
        """What the server computes of this session, once it has the image and the edits so far."""
        volume = self.volume

        def attempt() -> Any:
            lease = self._lease
            if lease is None:
                lease, _ = self._begun(volume, BoxedMask.of(self.initial).plain(), progress, cancelled)
                self._hold(lease)
            address = lease.address
            full = {**message, "holds": self._held_keys()} if what == "preview" else message
            try:
                return computed(
                    self._connection, f"{address}/{what}", full, progress, cancelled, enough, session=address
                )
            except RecordsGone:
                for preview in dict.fromkeys(one.preview for one in records if isinstance(one, NamedRecord)):
                    self._compute_again(preview, progress, cancelled)
                raise

        return self._patiently(attempt, progress, cancelled)

    def _patiently(self, attempt: Callable[[], Result], progress: Progress, cancelled: CancelCheck) -> Result:
        for _ in range(MOST_ATTEMPTS):
            try:
                return reliably(attempt, progress, cancelled)
            except SessionGone:
                self._hold(None)
            except RecordsGone:
                continue
        raise UserInputError("The server forgets this session again and again; what was drawn is kept here: try later")

    def _compute_again(self, name: str, progress: Progress, cancelled: CancelCheck) -> None:
        """An edit whose features the server lost: from what it was computed from at first, under its old name."""
        known = self._previews.get(name)
        if known is None:
            raise UserInputError("The server lost an edit that was never applied; propagate it again")
        self._of_session("preview", known["wanted"], known["before"], progress, cancelled)

    def _held_keys(self) -> list[str]:
        """The names of all records that may be gone back to."""
        return [record.key for record in self._all_records() if isinstance(record, NamedRecord)]

    def _all_records(self) -> list[EditRecord]:
        steps = (*self.done, *self.undone)
        known = [*self.records, *(record for step in steps for record in (*step.before, *step.after))]
        return list({id(record): record for record in known}.values())

    def _forget_unused_previews(self) -> None:
        """Of steps that can be neither undone nor redone."""
        used: set[str] = set()
        left = [record.preview for record in self._all_records() if isinstance(record, NamedRecord)]
        while left:
            name = left.pop()
            if name not in used and name in self._previews:
                used.add(name)
                left += [one.preview for one in self._previews[name]["before"] if isinstance(one, NamedRecord)]
        self._previews = {name: one for name, one in self._previews.items() if name in used}
