"""A CT with two slice distances; and the start of a training."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

from holds.large_case import SPACING_IJK_MM, add_acquired_segment, large_blobs, phantom_voxels
from holds.user import User, nothing

DISTANCES_MM = 3.0, 5.0
LARGE_SEGMENTS = 10


class Distances(User):
    """Ten large segments on such a CT."""

    def work(self) -> None:
        """All steps, in their order."""
        self.open_module()
        self.even_out()
        self.train()

    def even_out(self) -> None:
        """A CT with two slice distances and ten large segments, and back."""
        ui = self.ui
        uneven, node = self.add_uneven()
        self.step("panel: choose a CT with two slice distances", partial(ui.firstVolumeSelector.setCurrentNode, uneven))
        self.step("panel: choose its segmentation", partial(ui.segmentSelector.setCurrentNode, node))
        self.step(f"panel: Make even slices, {LARGE_SEGMENTS} segments", ui.evenSlicesButton.click)
        assert ui.firstVolumeSelector.currentNode() is not uneven
        self.step(f"panel: To acquired slices, {LARGE_SEGMENTS} segments", ui.acquiredSlicesButton.click)
        assert self.application.scene.GetFirstNodeByName("Clinic, acquired slices") is not None

    def add_uneven(self) -> tuple[Any, Any]:
        """The CT as Slicer loads it, and its segmentation."""
        import slicer

        from acquired_volumes import add_acquired

        slices = self.shape_kji[0]
        near, far = DISTANCES_MM
        distances = (near,) * (slices * 5 // 8) + (far,) * (slices - 1 - slices * 5 // 8)
        uneven = add_acquired(
            self.application.scene, phantom_voxels(self.shape_kji)[0], distances, spacing_ij=SPACING_IJK_MM[:2]
        )
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName("Clinic")
        node = self.application.scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.SetAndObserveTransformNodeID(uneven.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(uneven)
        for number, blob in enumerate(large_blobs(self.shape_kji, LARGE_SEGMENTS)):
            add_acquired_segment(node, blob, uneven, f"Organ {number}")
        return uneven, node

    def train(self) -> None:
        """Begin, watch, stop: the process, whose jobs only wait here, does not hold Slicer."""
        from context_propagation.mrml import fusion_training
        from nnunet_layout import write_layout

        model, ui = write_layout(self.folder / "nnunet"), self.ui
        fusion_training.COMMAND = "waiting_training"
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.environ["WAITING_TRAINING_SECONDS"] = "60"  # it goes on until it is stopped
        self.module.panel.inputs.models.add(model)
        ui.trainingSection.collapsed = False
        self.application.answers += [True] * 3
        self.step("panel: Train fusion network", ui.trainButton.click)
        training = self.module.panel.training
        assert training._training is not None, ui.trainingLabel.text
        self.step("panel: two looks at a training", nothing)
        self.step("panel: Stop a training", ui.stopTrainingButton.click, lambda: training._training is None)
