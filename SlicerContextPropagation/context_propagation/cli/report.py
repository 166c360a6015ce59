"""The JSON report of a propagation."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from context_propagation.cli.replaced_files import SESSION_ENDING
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.update_settings import UpdateReport


@dataclass(frozen=True)
class Report:
    """What happened.

    Attributes:
        plane: Of the edited slices: axial, sagittal or coronal.
        edited_slices: Their indices, from 0, along the image's array axis.
        voxels_changed_per_slice: Slice index along the same axis to voxels that the result has changed.
        slices_left_alone: Far slices that stay as they are: see `PropagationResult.left_alone`.
        updates: The optimisations, for each window and fold: loss before and after, evaluations, stop reason.
        scope: Which slices could be reached, and by what: see `PropagationResult`.
        refused_voxels: Voxels that the segmentation's masks refused to take.
        messages: What the engine told the user: the memory it predicted, windows shrunk, tiled or added.
        stages: Seconds and peak memory.
        versions: Of Python and of the packages.
        model_sha256: Hash of the model's content.
        fusion_sha256: Hash of what decides far slices, the bundle's fusion networks or the general one; or None.
        settings: Level, optimizer, device, label.
    """

    plane: str
    edited_slices: tuple[int, ...]
    voxels_changed_per_slice: Mapping[int, int]
    slices_left_alone: tuple[int, ...]
    updates: tuple[UpdateReport, ...]
    scope: str
    refused_voxels: int
    messages: tuple[str, ...]
    stages: Sequence[StageCost]
    versions: Mapping[str, str]
    model_sha256: str
    fusion_sha256: str | None
    settings: Mapping[str, str | int]


def check_report_ending(path: Path | None) -> None:
    """Refuse a report whose name is that of another kind of file.

    Raises:
        UserInputError: The name does not end in .json, or it ends as those of saved sessions.
    """
    if path is None:
        return
    if path.suffix.lower() != ".json":
        raise UserInputError(f"Report '{path}' does not end in .json; choose another name, which does")
    if path.name.lower().endswith(SESSION_ENDING):
        raise UserInputError(f"Report '{path}' ends in {SESSION_ENDING}, as saved sessions do; choose another name")


def write_report(path: Path, report: Report) -> None:
    """Write the report as indented JSON."""
    path.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")


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
