"""The Segment Editor as far as MRML: what an effect calls, and what its user does."""

import slicer

from context_propagation.mrml.writing.effect_writer import EffectWriter

LOGIC = slicer.vtkSlicerSegmentEditorLogic
ADD, REMOVE = LOGIC.ModificationModeAdd, LOGIC.ModificationModeRemove


class SegmentEditor:
    def __init__(self, scene, segmentation, volume, segment_id=""):
        self.node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.node.SetAndObserveSegmentationNode(segmentation)
        self.node.SetAndObserveSourceVolumeNode(volume)
        self.node.SetSelectedSegmentID(segment_id)
        self.logic = LOGIC()
        self.logic.SetMRMLScene(scene)
        self.logic.SetSegmentEditorNode(self.node)

    def writer(self):
        return EffectWriter(self, self.node.GetSegmentationNode(), ADD, REMOVE)

    def parameterSetNode(self):  # noqa: N802
        return self.node

    def saveStateForUndo(self):  # noqa: N802
        self.logic.SaveStateForUndo()

    def modifySelectedSegmentByLabelmap(self, labelmap, mode, extent, bypass_masking):  # noqa: N802
        segmentation, segment_id = self.node.GetSegmentationNode(), self.node.GetSelectedSegmentID()
        self.logic.ModifySegmentByLabelmap(segmentation, segment_id, labelmap, mode, extent, True, bypass_masking)

    def erase_or_paint(self, labelmap, mode):
        """A stroke. Slicer leaves a labelmap's time as it was where it erased, and Undo then goes two steps back."""
        self.saveStateForUndo()
        self.modifySelectedSegmentByLabelmap(labelmap, mode, list(labelmap.GetExtent()), False)
        segmentation = self.node.GetSegmentationNode().GetSegmentation()
        for layer in range(segmentation.GetNumberOfLayers()):
            segmentation.GetLayerDataObject(layer).Modified()
