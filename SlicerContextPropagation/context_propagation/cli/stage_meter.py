"""Seconds and peak memory of each stage of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from context_propagation.core.optional_dependency import require

SAMPLE_SECONDS = 0.02
MIB = 2**20


@dataclass(frozen=True)
class StageCost:
    """What a stage took.

    Attributes:
        name: The stage.
        seconds: Wall-clock time.
        peak_memory_mib: Highest resident memory of the process, sampled during the stage, in MiB.
        peak_cuda_mib: Highest memory that torch held on the CUDA device, in MiB; None without one.
    """

    name: str
    seconds: float
    peak_memory_mib: float
    peak_cuda_mib: float | None


class StageMeter:
    """Collects the costs of stages, each measured in a `with` block."""

    def __init__(self) -> None:
        self._process = require("psutil", extra="cli").Process()
        self.costs: list[StageCost] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage; one that raises is not recorded."""
        cuda = torch.cuda.is_initialized()
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        with self._sampled() as peak:
            yield
        seconds = time.perf_counter() - started
        in_use = torch.cuda.is_initialized()
        self.costs.append(
            StageCost(
                name=name,
                seconds=round(seconds, 3),
                peak_memory_mib=round(peak[0] / MIB, 1),
                peak_cuda_mib=round(torch.cuda.max_memory_allocated() / MIB, 1) if in_use else None,
            )
        )

    @contextmanager
    def _sampled(self) -> Iterator[list[int]]:
        """The highest resident memory seen so far, in bytes, in a list of one that a thread keeps up to date."""
        peak = [self._resident()]
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(SAMPLE_SECONDS):
                peak[0] = max(peak[0], self._resident())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield peak
        finally:
            stop.set()
            thread.join()
            peak[0] = max(peak[0], self._resident())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)
