"""What there is to know of a model on a server, under the names that a model has which computes here."""

from __future__ import annotations

from dataclasses import dataclass

from context_propagation.core.model.intensity_check import ChannelExpectation
from context_propagation.core.model.target import Target


@dataclass(frozen=True)
class RemoteDevice:
    """Where a server computes.

    Attributes:
        type: "cpu", "cuda" or "mps".
        url: The server's address.
    """

    type: str
    url: str

    def __str__(self) -> str:
        return f"{self.type} at {self.url}"


@dataclass(frozen=True)
class RemoteModel:
    """What there is to know of the frozen model; see `SegmentationModel`."""

    content_hash: str
    target: Target
    orientation: str | None
    channel_names: tuple[str, ...]
    channel_expectations: tuple[ChannelExpectation, ...]
    device: RemoteDevice

    @property
    def target_name(self) -> str:
        return self.target.name

    @property
    def channels(self) -> int:
        return len(self.channel_names)


@dataclass(frozen=True)
class RemoteFar:
    """What decides far slices.

    Attributes:
        content_hash: SHA-256 of what decides.
        reach: See `PropagationResult.scope`.
        level: The decoder level that fusion networks were trained for; 0 of the general far network.
        neighbours: The same.
    """

    content_hash: str
    reach: str
    level: int = 0
    neighbours: int = 0
