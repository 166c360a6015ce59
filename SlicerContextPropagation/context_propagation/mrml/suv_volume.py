"""A PET in activity as a new volume in SUV, by the headers of the DICOM files that it was loaded from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.volume_nodes import add_volume, deferred_source_volume
from context_propagation.mrml.session.operation import Operation

SUV_UNITS = ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
"""As Slicer's own PET reader names them: value, scheme, meaning."""


def is_suv(node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume says that its voxels are SUVs, as those of Slicer's own PET reader do."""
    units = node.GetVoxelValueUnits()
    return units is not None and "SUV" in (units.GetCodeValue() or "")


def suv_operation(
    scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLScalarVolumeNode, files: Sequence[Path]
) -> Operation[slicer.vtkMRMLScalarVolumeNode]:
    """Make a new volume in SUV by body weight; the node stays as it is.

    Args:
        scene: Where the new node goes; it lies under the same parent transform.
        node: In Bq/ml or Philips' counts.
        files: The DICOM files of all its slices.

    Raises:
        UserInputError: The node cannot be read; when it runs, that the headers lack what SUVs are computed from.
    """
    image_of, transform_id, name = deferred_source_volume([node]), node.GetTransformNodeID(), node.GetName()

    def compute(progress: Progress, cancelled: CancelCheck) -> SourceVolume:
        from context_propagation.files.suv import suv_factor

        progress("read", 0.0)
        image = image_of()
        return SourceVolume(image.channels * suv_factor(files, f"Volume '{name}'"), image.ijk_to_lps)

    def finish(image: SourceVolume) -> slicer.vtkMRMLScalarVolumeNode:
        made = add_volume(scene, image, f"{name} SUV", owned=True)
        made.CopyOrientation(node)
        made.SetAndObserveTransformNodeID(transform_id)
        units = slicer.vtkCodedEntry()
        units.SetValueSchemeMeaning(*SUV_UNITS)
        made.SetVoxelValueUnits(units)
        return made

    return Operation("Make SUV", compute, finish)
