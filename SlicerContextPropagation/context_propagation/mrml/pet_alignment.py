"""A copy of a second volume on the grid of the first: resampled as the scanner placed it, or registered as well."""

from __future__ import annotations

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.image.source_volume import SourceVolume, sitk_from_channel
from context_propagation.mrml.nodes.volume_nodes import add_volume, deferred_source_volume
from context_propagation.mrml.session.operation import Operation

Aligned = tuple[slicer.vtkMRMLScalarVolumeNode, tuple[str, ...]]
"""The new node, and what the user should know."""


def align_operation(
    scene: slicer.vtkMRMLScene,
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    pet_node: slicer.vtkMRMLScalarVolumeNode,
    registers: bool,
) -> Operation[Aligned]:
    """Bring a PET onto a CT's grid; both nodes stay as they are.

    Args:
        scene: Where the new node goes; it lies under the CT's parent transform.
        ct_node: Gives the grid.
        pet_node: Any grid, any linear parent transform.
        registers: Whether it is registered (rigid, deformable), or resampled where the scanner placed it.

    Raises:
        UserInputError: A node cannot be read; when it runs, that the images do not overlap.
    """
    ct_of, pet_of = (deferred_source_volume([node]) for node in (ct_node, pet_node))
    units = pet_node.GetVoxelValueUnits()
    transform_id, name = ct_node.GetTransformNodeID(), f"{pet_node.GetName()} on {ct_node.GetName()}"

    def compute(progress: Progress, cancelled: CancelCheck) -> tuple[np.ndarray, tuple[str, ...]]:
        import SimpleITK as sitk

        from context_propagation.core.registration.pet_registration import register_pet, resample_pet

        progress("read", 0.0)
        ct, pet = sitk_from_channel(ct_of()), sitk_from_channel(pet_of())
        transform, messages = sitk.Transform(3, sitk.sitkIdentity), ()
        if registers:
            found = register_pet(ct, pet, None, progress, cancelled)
            transform, messages = found.transform, found.messages
        return sitk.GetArrayFromImage(resample_pet(pet, ct, transform)), messages

    def finish(computed: tuple[np.ndarray, tuple[str, ...]]) -> Aligned:
        voxels, messages = computed
        node = add_volume(scene, SourceVolume(voxels[None], np.eye(4)), name, owned=True)
        node.CopyOrientation(ct_node)
        node.SetAndObserveTransformNodeID(transform_id)
        node.SetVoxelValueUnits(units)
        return node, messages

    return Operation("Register PET" if registers else "Resample PET", compute, finish)
