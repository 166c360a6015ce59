"""One person's session on the server: the image as it comes in, the engine, and what was computed, by name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.device import out_of_memory_reported
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.session.ready_image import forget_image
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.wire.channel import Unpacking, channel_bytes
from context_propagation.server.model_folder import ModelChoice
from context_propagation.server.worker import Job


@dataclass(frozen=True)
class Announced:
    """An image, before it comes.

    Attributes:
        shape_kji: Of each channel.
        kinds: How each travels; see `channel.KINDS`.
        ijk_to_lps: float64 `[4, 4]`.
    """

    shape_kji: tuple[int, int, int]
    kinds: tuple[str, ...]
    ijk_to_lps: np.ndarray

    @property
    def memory_bytes(self) -> int:
        """What it needs at most, while it comes in."""
        return sum(channel_bytes(kind, self.shape_kji) for kind in self.kinds)


@dataclass
class HeldSession:
    """A session, from when it is begun to when it is closed.

    Attributes:
        name: Known to its owner alone.
        owner: Who began it.
        choice: Its model.
        settings: As its owner wants them.
        announced: Its image.
        seen_at: When its owner was last heard of, s.
        jobs: What is computed of it, or waits to be.
        records: What was computed of edits, by name.
        engine: Once its image is cached; used on the worker's thread alone.
        loaded: The model, from then on.
    """

    name: str
    owner: str
    choice: ModelChoice
    settings: SessionSettings
    announced: Announced
    seen_at: float = field(default_factory=time.monotonic)
    jobs: list[Job] = field(default_factory=list)
    records: dict[str, EditRecord] = field(default_factory=dict)
    engine: Session | None = None
    loaded: LoadedModel | None = None
    _channels: dict[int, np.ndarray] = field(default_factory=dict)
    _coming: set[int] = field(default_factory=set)
    _volume: SourceVolume | None = None

    # -- the image

    @contextmanager
    def coming_in(self, number: int) -> Iterator[Unpacking]:
        """What takes one channel.

        Raises:
            UserInputError: None is expected under this number, it is coming in already, or the image is cached.
        """
        kinds = self.announced.kinds
        if not 0 <= number < len(kinds):
            raise UserInputError(f"Channel {number} was not announced; there are {len(kinds)}, from 0")
        if self._volume is not None:
            raise UserInputError("The image is there already; begin another session for another image")
        if number in self._coming:
            raise UserInputError(f"Channel {number} is being sent already; wait for it")
        self._coming.add(number)
        try:
            with out_of_memory_reported("Taking in the image"):
                unpacking = Unpacking(kinds[number], self.announced.shape_kji)
            yield unpacking
        finally:
            self._coming.discard(number)

    def take(self, number: int, channel: np.ndarray) -> None:
        """A channel that came in, float32 `[K, J, I]`."""
        self._channels[number] = channel

    def volume(self) -> SourceVolume:
        """The image.

        Raises:
            UserInputError: Channels are missing, or it cannot be used.
        """
        if self._volume is None:
            missing = [number for number in range(len(self.announced.kinds)) if number not in self._channels]
            if missing:
                raise UserInputError(f"Channel {missing[0]} of the image is missing; send it first")
            stacked = np.stack([self._channels[number] for number in range(len(self.announced.kinds))])
            self._volume = SourceVolume(stacked, self.announced.ijk_to_lps)
            self._channels.clear()
        return self._volume

    @property
    def has_image(self) -> bool:
        """Whether all of the image came."""
        return self._volume is not None or len(self._channels) == len(self.announced.kinds)

    @property
    def is_busy(self) -> bool:
        """Whether something is computed of it, or a channel is coming in."""
        return bool(self.jobs or self._coming)

    # -- the engine, on the worker's thread

    def hold_engine(self, engine: Session) -> None:
        """An engine whose image is cached; what was computed with an earlier one is forgotten."""
        self.engine, self.records = engine, {}

    def require_engine(self) -> Session:
        """Raises:
        UserInputError: No image is cached.
        """
        if self.engine is None:
            raise UserInputError("No image is cached in this session; start it first")
        return self.engine

    def keep(self, keys: Iterable[str]) -> None:
        """Forget what was computed of all other edits: their features take memory."""
        kept = set(keys)
        self.records = {key: record for key, record in self.records.items() if key in kept}

    def named(self, records: Sequence[EditRecord], preview: str) -> dict[int, str]:
        """The names of records, by identity; those that are new are called after their preview, and kept."""
        names = {id(record): key for key, record in self.records.items()}
        for number, record in enumerate(records):
            if not record.confirmed and id(record) not in names:
                names[id(record)] = key = f"{preview}.{number}"
                self.records[key] = record
        return names

    def free(self) -> None:
        """Forget the image, and all that was made of it."""
        if self.loaded is not None:
            forget_image(self.loaded.model)
        self.engine = self.loaded = self._volume = None
        self.records, self._channels = {}, {}

    # -- its jobs

    def cancel(self) -> None:
        """Stop what is computed of it."""
        for job in self.jobs:
            job.cancel()

    def settle(self) -> None:
        """Let it go on with the best so far."""
        for job in self.jobs:
            job.settle()
