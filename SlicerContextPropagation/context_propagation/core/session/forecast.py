"""What is said of memory before an image is cached. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryForecast:
    """Memory of the model's device.

    Attributes:
        kept_bytes: What the cache keeps beside what other sessions hold.
        peak_bytes: What caching needs at its peak, the cache included; an estimate.
        usable_bytes: What may be used.
        target_known: False where the target must be predicted first: then one window is kept, the least that it will
            be, and the peak is that of the prediction, if that is higher.
        messages: What the user should know, e.g. that the border around the target is shrunk.
        server: The address of the server that computes it, which looks after its own memory; empty for this computer.
    """

    kept_bytes: int
    peak_bytes: int
    usable_bytes: int
    target_known: bool
    messages: tuple[str, ...] = ()
    server: str = ""
