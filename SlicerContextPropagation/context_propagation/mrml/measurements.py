"""Figures of a segment: its volume, and how it compares with a reference segment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.mrml.nodes.segments import part_of_segment, segment_mask, segment_name, segment_named
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume, spacing_kji_mm
from context_propagation.mrml.session.operation import Operation

if TYPE_CHECKING:
    from context_propagation.core.measures.accuracy import Measures


Reference = tuple[slicer.vtkMRMLSegmentationNode, str | None]
"""A segmentation, and the ID or name of a segment in it; None for its only one."""


@dataclass(frozen=True)
class Measurements:
    """Of a segment on the volume's grid.

    Attributes:
        segment: Its name.
        volume_ml: Millilitres.
        reference: The reference segment's name, or empty.
        reference_ml: Its volume; 0 without one.
        comparison: DSC, HD95, surface DSC at 2 mm, added path length and more; None without a reference.
    """

    segment: str
    volume_ml: float
    reference: str
    reference_ml: float
    comparison: Measures | None

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Name and value with unit, for a table."""
        rows = [("Volume", f"{self.volume_ml:.2f} mL")]
        if self.comparison is None:
            return rows
        found = self.comparison
        return [
            *rows,
            (f"Volume of '{self.reference}'", f"{self.reference_ml:.2f} mL"),
            ("DSC", f"{found.dsc:.3f}"),
            ("Hausdorff distance, 95 %", f"{found.hd95_mm:.1f} mm"),
            ("Surface DSC at 2 mm", f"{found.surface_dice_2mm:.3f}"),
            ("Added path length, axial", f"{found.added_path_length_mm:.0f} mm"),
        ]


def measurement_operation(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    reference: Reference | None = None,
) -> Operation[Measurements]:
    """Measure a segment.

    Args:
        segmentation_node: Holds the segment.
        segment_id: The segment.
        volume_node: On whose grid all is measured.
        reference: What it is compared with; its grid may differ.

    Raises:
        UserInputError: A segment cannot be read on the volume's grid.
        MissingDependencyError: MONAI is not installed, which compares; found when it is run.
    """
    axis, spacing_mm = axis_of_plane(planes_of_volume(volume_node), "axial"), spacing_kji_mm(volume_node)
    mask, truth, name = part_of_segment(segmentation_node, segment_id, volume_node), None, ""
    if reference is not None:
        reference_id = segment_named(*reference)
        truth, name = segment_mask(reference[0], reference_id, volume_node), segment_name(reference[0], reference_id)
    own_name = segment_name(segmentation_node, segment_id)

    def compute(progress: Progress, cancelled: CancelCheck) -> Measurements:
        comparison = None
        if truth is not None:
            from context_propagation.core.measures.accuracy import measure

            progress("measure", 0.0)
            comparison = measure(mask, truth, spacing_mm, axis)
        truth_ml = 0.0 if truth is None else _ml(truth, spacing_mm)
        return Measurements(own_name, _ml(mask, spacing_mm), name, truth_ml, comparison)

    return Operation("Measure", compute, lambda measured: measured)


def _ml(mask: np.ndarray, spacing_kji_mm: tuple[float, float, float]) -> float:
    return int(mask.sum()) * math.prod(spacing_kji_mm) / 1000.0
