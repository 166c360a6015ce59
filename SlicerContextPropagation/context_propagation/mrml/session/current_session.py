"""The session in use, and those of other segments of the same image; one may be starting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import slicer

from context_propagation.core.device import free_device_memory
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.live_session import LiveSession
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.room import Room, rooms_beside
from context_propagation.mrml.session.session_start import SessionStart, own_writer

if TYPE_CHECKING:
    from context_propagation.core.session.forecast import MemoryForecast
    from context_propagation.core.session.session import Session

Result = TypeVar("Result")


class CurrentSession:
    """One session per segment, all of one image and of the same frozen networks; one of them is in use.

    Args:
        scene: Holds the segments.
        on_recorded: Called with the session once it is live, and after each step of it.

    Attributes:
        live: The session of the chosen segment, if it has one.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, on_recorded: Callable[[LiveSession], None]) -> None:
        self._scene, self._on_recorded = scene, on_recorded
        self.live: LiveSession | None = None
        self._all: dict[Selection, LiveSession] = {}  # the one that was used last is the last one
        self._chosen: Selection | None = None
        self._starting: SessionStart | None = None
        self._forecast: MemoryForecast | None = None

    @property
    def all(self) -> tuple[LiveSession, ...]:
        """The sessions of all segments, that which was used last at the end."""
        return tuple(self._all.values())

    @property
    def engine(self) -> Session | None:
        """The engine, from when its image is being cached."""
        if self.live is not None:
            return self.live.session
        return self._starting.session if self._starting else None

    @property
    def memory(self) -> MemoryForecast | None:
        """What caching the image needs: as the last check foresaw it, then as it was planned; None without a check."""
        plan = self._starting.session.plan if self._starting else None
        if plan is None or self._forecast is None:
            return self._forecast or (self.live.memory if self.live else None)
        return replace(
            self._forecast,
            kept_bytes=plan.cached_bytes,
            peak_bytes=plan.peak_bytes,
            target_known=True,
            messages=plan.messages,
        )

    def foresee(self, forecast: MemoryForecast) -> None:
        """Remember what a check found."""
        self._forecast = forecast

    def rooms(self) -> list[Room]:
        """What is free for the chosen segment's cache: with all others kept, then with more and more of them closed."""
        self.close_gone()
        others = [live for live in self.all if live.selection != self._chosen]
        return rooms_beside(self._all.get(self._chosen) if self._chosen else None, others)

    @property
    def busy(self) -> bool:
        """Whether an image is being cached, a propagation runs, or its preview is open."""
        return self._starting is not None or (self.live is not None and self.live.propagation.busy)

    def require_idle(self) -> None:
        """Raises:
        UserInputError: An image is being cached, a propagation runs, or its preview is open.
        """
        if self.busy:
            raise UserInputError("A computation is running, or a preview is open; finish, cancel or discard it first")

    def require_live(self) -> LiveSession:
        """The live session.

        Raises:
            UserInputError: There is none.
        """
        if self.live is None:
            raise UserInputError("No image is set; predict first")
        return self.live

    # -- another segment

    def choose(self, selection: Selection, label: str | None) -> None:
        """Go on with a segment's session, if it has one. Those of other volumes, and of what is gone, are closed.

        Args:
            selection: The segment.
            label: That of the model; a session for another one is kept, and not in use.
        """
        self.require_idle()
        self.close_gone()
        if self.live is not None:  # who wrote, such as the Segment Editor's effect, may be gone when it is chosen again
            _followed(self.live)
            self.live.propagation.writer = own_writer(self._scene, self.live.selection)
        self.close(*(other for other in self._all if other.volume_nodes != selection.volume_nodes))
        self._chosen, self._forecast = selection, None
        found = self._all.get(selection)
        self.live = found if found is not None and found.loaded.model.target_name == label else None
        if self.live is not None:
            self._all[selection] = self._all.pop(selection)
            _followed(self.live)

    # -- a beginning

    def becoming_live(
        self, start: SessionStart, operation: Operation[tuple[LiveSession, Result]], closes: Sequence[Selection] = ()
    ) -> Operation[Result]:
        """At the operation's beginning the segment's earlier session is closed; at its end the new one is live.

        Args:
            start: What begins.
            operation: What makes it live.
            closes: Other segments whose sessions are closed, to make room.
        """
        known = self._last_known

        def begin() -> None:
            self.require_idle()
            if self._last_known is not known or self._chosen != start.selection:
                raise UserInputError("The session was changed meanwhile; press Predict or Start again")
            operation.begin()
            forecast = self._forecast
            self.close(start.selection, *closes)
            self._starting, self._forecast = start, forecast

        def end() -> None:
            if self._starting is start:
                self._starting = None
            free_device_memory()

        def finish(computed: Any) -> Result:
            if self._starting is not start:
                operation.abandon()
                raise UserInputError("The session was closed while its image was cached; start again")
            try:
                live, result = operation.finish(computed)
                live.memory, self._forecast = self.memory, None
                self.live = self._all[start.selection] = live
            finally:
                end()
            live.on_recorded = self._on_recorded
            self._on_recorded(live)
            return result

        def abandon() -> None:
            operation.abandon()
            end()

        return replace(operation, finish=finish, abandon=abandon, begin=begin)

    @property
    def _last_known(self) -> BoxedMask | None:
        """Another one after every new session, and every propagation, undo and redo in one."""
        return self.live.propagation.last_known if self.live else None

    # -- an end

    def close(self, *selections: Selection) -> None:
        """Free the cached features of some segments; segments and scene stay as they are."""
        if self._starting is not None and self._starting.selection in selections:
            self._starting = None
        if self._chosen in selections:
            self._forecast = None
        closed = [live for selection in selections if (live := self._all.pop(selection, None)) is not None]
        if self.live in closed:
            self.live = None
        try:
            for live in closed:
                _followed(live)
                del live
        finally:
            if closed:
                closed.clear()
                free_device_memory()

    def close_gone(self) -> None:
        """Free those of segments and nodes that are no longer in the scene."""
        self.close(*(selection for selection in self._all if not selection.is_there()))

    def close_all(self) -> None:
        """Free the cached features of all segments."""
        self._starting = self._forecast = None
        self.close(*self._all)


def _followed(live: LiveSession) -> None:
    """In step with an Undo or Redo of the Segment Editor, and so is the scene's record."""
    with suppress(UserInputError):  # what was moved, changed or deleted has no last step to follow
        live.follow()
