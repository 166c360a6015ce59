"""The panel's choices, kept in the scene by Slicer's parameter node wrapper; edits are not among them.

Annotations are not postponed here: the wrapper reads them.
"""

import slicer
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class ContextPropagationParameters:
    """What is selected in the panel.

    Attributes:
        firstVolume: The first channel: CT.
        secondVolume: The second channel of a model with two: PET.
        segmentation: Where the segment is; None for a new one.
        segmentID: The segment.
        modelFolder: The model's folder.
        device: "auto", "cpu" or "cuda".
        referenceSegmentation: What results are compared with.
        referenceSegmentID: The segment in it.
    """

    firstVolume: slicer.vtkMRMLScalarVolumeNode  # noqa: N815
    secondVolume: slicer.vtkMRMLScalarVolumeNode  # noqa: N815
    segmentation: slicer.vtkMRMLSegmentationNode
    segmentID: str  # noqa: N815
    modelFolder: str  # noqa: N815
    device: str = "auto"
    referenceSegmentation: slicer.vtkMRMLSegmentationNode  # noqa: N815
    referenceSegmentID: str  # noqa: N815
