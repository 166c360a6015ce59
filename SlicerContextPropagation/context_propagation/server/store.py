"""All sessions of a server: who has which, until when, and how many there may be.

Used on one thread, but for `Store.choices_in_use`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from context_propagation.core.device import available_bytes, free_device_memory
from context_propagation.core.errors import counted
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.server.held_session import Announced, HeldSession
from context_propagation.server.limits import Limits
from context_propagation.server.model_folder import ModelChoice
from context_propagation.server.refusals import GONE, Refusal
from context_propagation.server.worker import Job, Worker

UPLOAD_S = 60.0
"""A session whose image does not come, or not all of it, is closed after so long."""

FULL = "try again when somebody is done; what they drew is not closed for it"


class Store:
    """The sessions.

    Args:
        worker: Frees what a session held, in its turn.
        limits: How many there may be.
        clock: Seconds that go on.
    """

    def __init__(self, worker: Worker, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker, self.limits, self._clock = worker, limits, clock
        self._held: dict[str, HeldSession] = {}

    def __len__(self) -> int:
        return len(self._held)

    def begin(
        self,
        owner: str,
        choice: ModelChoice,
        settings: SessionSettings,
        announced: Announced,
        kind: type[HeldSession] = HeldSession,
    ) -> HeldSession:
        """A session whose image is to come.

        Args:
            owner: Who begins it.
            choice: Its model.
            settings: As its owner wants them.
            announced: Its image.
            kind: What it is.

        Raises:
            Refusal: There are as many as there may be, or their images take all memory that they may, or that there is;
                none is closed for a new one.
        """
        self.sweep()
        most_bytes = self.limits.image_bytes
        needed, taken = announced.memory_bytes, sum(held.announced.memory_bytes for held in self._held.values())
        if needed > most_bytes:
            large = f"The image needs {_mib(needed)} and the server takes {_mib(most_bytes)} at most"
            raise Refusal(413, f"{large}; crop it")
        self.check_place()
        if taken + needed > most_bytes:
            room = f"the image needs {_mib(needed)} and {_mib(most_bytes - taken)} are free"
            raise Refusal(503, f"The server is full: {room}; {FULL}")
        usable = available_bytes()
        if needed > usable:
            room = f"the image needs {_mib(needed)} and its computer has {_mib(usable)} of main memory to spare"
            raise Refusal(503, f"The server cannot take it now: {room}; crop it, or {FULL}")
        name = secrets.token_urlsafe(24)
        held = self._held[name] = kind(name, owner, choice, settings, announced, self._clock())
        return held

    def check_place(self) -> None:
        """Raises:
        Refusal: There are as many sessions as there may be.
        """
        self.sweep()
        most = self.limits.sessions
        if len(self._held) >= most:
            raise Refusal(503, f"The server is full: {counted(len(self._held), 'session')} of {most} are open; {FULL}")

    def of(self, name: str, owner: str) -> HeldSession:
        """Somebody's session, whose lease is longer from now on.

        Raises:
            Refusal: They have none of this name.
        """
        self.sweep()
        held = self._held.get(name)
        if held is None or held.owner != owner:
            raise Refusal(404, GONE)
        held.seen_at = self._clock()
        return held

    def close(self, held: HeldSession) -> None:
        """Forget it, and its image; what is computed of it is cancelled."""
        self._held.pop(held.name, None)
        held.cancel()

        def free(job: Job) -> None:
            held.free()
            free_device_memory()

        self._worker.begin(Job(free))

    def close_all(self) -> None:
        """At the end."""
        for held in list(self._held.values()):
            self.close(held)

    def sweep(self) -> None:
        """Close those whose owners are silent. One that computes is waited for, and an image that is on its way."""
        now = self._clock()
        for held in list(self._held.values()):
            if held.is_busy:
                held.seen_at = now
            elif now - held.seen_at > (self.limits.lease_s if held.has_image else min(self.limits.lease_s, UPLOAD_S)):
                self.close(held)

    def choices_in_use(self) -> set[ModelChoice]:
        """The models of all sessions; on any thread."""
        return {held.choice for held in list(self._held.values())}

    def others(self, held: HeldSession) -> int:
        """How many sessions there are beside one that have an image cached."""
        return sum(other is not held and other.engine is not None for other in self._held.values())


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
