"""The one session that there is: none, one whose image is being cached, or one that is live."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from context_propagation.core.device import free_device_memory
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.session.live_session import LiveSession
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.session_start import SessionStart

if TYPE_CHECKING:
    from context_propagation.core.session.memory_forecast import MemoryForecast
    from context_propagation.core.session.session import Session

Result = TypeVar("Result")


class CurrentSession:
    """Two caches may not fit into memory: so there is one session at a time.

    Args:
        on_recorded: Called with the session once it is live, and after each step of it.

    Attributes:
        live: The session whose image is cached, if there is one.
    """

    def __init__(self, on_recorded: Callable[[LiveSession], None]) -> None:
        self._on_recorded = on_recorded
        self.live: LiveSession | None = None
        self._starting: SessionStart | None = None
        self._forecast: MemoryForecast | None = None

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
            return self._forecast
        return replace(
            self._forecast,
            kept_bytes=plan.cached_bytes,
            peak_bytes=plan.peak_bytes,
            target_known=True,
            messages=plan.messages,
        )

    @property
    def cached_bytes(self) -> int:
        """What the live session would give back."""
        return self.live.session.cache.cached_bytes(self.live.session.settings.level) if self.live else 0

    def foresee(self, forecast: MemoryForecast) -> None:
        """Remember what a check found."""
        self._forecast = forecast

    def require_idle(self) -> None:
        """Raises:
        UserInputError: An image is being cached, a propagation runs, or its preview is open.
        """
        if self._starting is not None or (self.live is not None and self.live.propagation.busy):
            raise UserInputError("A computation is running, or a preview is open; finish, cancel or discard it first")

    def require_live(self) -> LiveSession:
        """The live session.

        Raises:
            UserInputError: There is none.
        """
        if self.live is None:
            raise UserInputError("No image is set; predict first")
        return self.live

    def becoming_live(self, start: SessionStart, operation: Operation[tuple[LiveSession, Result]]) -> Operation[Result]:
        """At the operation's beginning the session in use is closed; at its end the new one is live."""
        known = self._last_known

        def begin() -> None:
            self.require_idle()
            if self._last_known is not known:
                raise UserInputError("The session was changed meanwhile; press Predict or Start again")
            operation.begin()
            forecast = self._forecast
            self.close()
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
                self.live = live
                self._forecast = self.memory
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

    def close(self) -> None:
        """Free the cached features; segment and scene stay as they are."""
        live, self.live = self.live, None
        self._starting = self._forecast = None
        try:
            if live is not None:
                with suppress(UserInputError):  # what was moved, changed or deleted has no last step to follow
                    live.follow()
        finally:
            del live
            free_device_memory()
