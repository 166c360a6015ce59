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
        model: The model's folder and label: `ListedModel.key`.
        device: "auto", "cpu", "cuda" or "mps".
    """

    firstVolume: slicer.vtkMRMLScalarVolumeNode  # noqa: N815
    secondVolume: slicer.vtkMRMLScalarVolumeNode  # noqa: N815
    segmentation: slicer.vtkMRMLSegmentationNode
    segmentID: str  # noqa: N815
    model: str
    device: str = "auto"
