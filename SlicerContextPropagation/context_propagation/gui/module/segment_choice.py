"""What is chosen in one of Slicer's segment selectors."""

from __future__ import annotations

from typing import Any

import slicer


def chosen_segment(selector: Any) -> tuple[slicer.vtkMRMLSegmentationNode | None, str | None]:
    """Segmentation and segment ID; None where none is chosen.

    A `qMRMLSegmentSelectorWidget` goes on to tell the last segment's ID where there is none to choose any more.
    """
    node, segment_id = selector.currentNode(), selector.currentSegmentID()
    there = node is not None and segment_id and node.GetSegmentation().GetSegment(segment_id) is not None
    return node, segment_id if there else None
