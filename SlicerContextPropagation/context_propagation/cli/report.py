"""The JSON report of a propagation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from context_propagation.cli.stage_meter import StageCost
from context_propagation.core.activation_update import UpdateReport


@dataclass(frozen=True)
class Report:
    """What happened.

    Attributes:
        plane: Of the edited slices: axial, sagittal or coronal.
        edited_slices: Their indices, from 0, along the image's array axis.
        voxels_changed_per_slice: Slice index along the same axis to voxels that the result has changed.
        updates: The optimisations, for each window and fold: loss before and after, evaluations, stop reason.
        scope: Which slices could be reached: "near slices only", or "whole volume" with a bundle.
        refused_voxels: Voxels that the segmentation's masks refused to take.
        messages: What the engine told the user: the memory it predicted, windows shrunk, tiled or added.
        stages: Seconds and peak memory.
        versions: Of Python and of the packages.
        model_sha256: Hash of the model's content.
        fusion_sha256: Hash of the bundle's fusion networks; None without a bundle.
        settings: Level, optimizer, device, label.
    """

    plane: str
    edited_slices: tuple[int, ...]
    voxels_changed_per_slice: Mapping[int, int]
    updates: tuple[UpdateReport, ...]
    scope: str
    refused_voxels: int
    messages: tuple[str, ...]
    stages: Sequence[StageCost]
    versions: Mapping[str, str]
    model_sha256: str
    fusion_sha256: str | None
    settings: Mapping[str, str | int]


def write_report(path: Path, report: Report) -> None:
    """Write the report as indented JSON."""
    path.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
