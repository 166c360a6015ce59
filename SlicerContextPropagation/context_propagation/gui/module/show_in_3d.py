"""The check box that shows the chosen segmentation in the 3D views; it follows what is shown, whoever showed it."""

from __future__ import annotations

from typing import Any

import slicer

from context_propagation.gui.segmentation_watch import GatheredEvents
from context_propagation.gui.work.busy_cursor import busy_cursor
from context_propagation.mrml.nodes.surfaces import is_shown_in_3d, show_in_3d


class ShowIn3D:
    """A check box and a segmentation.

    Args:
        box: The check box.
        selector: Where the segmentation is chosen.
    """

    def __init__(self, box: Any, selector: Any) -> None:
        self._box, self._selector = box, selector
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._events = GatheredEvents(self._show)
        box.connect("toggled(bool)", self._toggled)

    def update(self) -> None:
        """Follow the segmentation that is chosen now."""
        node = self._selector.currentNode()
        if node is not self._node:
            self._events.stop()
            self._node = node
            if node is not None:
                self._events.observe(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent)
                for name in ("ContainedRepresentationNamesModified", "SegmentAdded", "SegmentRemoved"):
                    self._events.observe(node.GetSegmentation(), getattr(slicer.vtkSegmentation, name))
        self._show()

    def close(self) -> None:
        """Follow nothing, for good."""
        self._node = None
        self._events.close()

    def _show(self) -> None:
        node = self._node if self._node is not None and self._node.GetScene() is not None else None
        blocked = self._box.blockSignals(True)
        self._box.enabled = node is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        self._box.checked = node is not None and is_shown_in_3d(node)
        self._box.blockSignals(blocked)

    def _toggled(self, on: bool) -> None:
        if self._node is not None:
            with busy_cursor():
                show_in_3d(self._node, on)
        self._show()
