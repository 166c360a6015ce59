"""Tells when voxels of a segmentation change, and when it goes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import qt
import slicer
import vtk

SEGMENTATION_EVENTS = ("SourceRepresentationModified", "SegmentModified", "SegmentRemoved", "SegmentAdded")


class SegmentationWatch:
    """Gathers the many events of one stroke into one call.

    Args:
        on_changed: Called after voxels or segments changed.
        on_gone: Called after the segmentation was removed, or the scene closed.
    """

    def __init__(self, on_changed: Callable[[], None], on_gone: Callable[[], None]) -> None:
        self._on_changed, self._on_gone = on_changed, on_gone
        self._observed: list[tuple[Any, int]] = []
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._seen: tuple[Any, ...] = ()
        self._timer = qt.QTimer()
        self._timer.singleShot = True
        self._timer.interval = 0
        self._timer.connect("timeout()", self._look)

    @property
    def alive(self) -> bool:
        """Whether it watches."""
        return self._node is not None

    def start(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
        """Watch a segmentation, in place of any other."""
        self.stop()
        self._node = segmentation_node
        self._seen = _times(segmentation_node)
        segmentation = segmentation_node.GetSegmentation()
        for name in SEGMENTATION_EVENTS:
            self._observe(segmentation, getattr(slicer.vtkSegmentation, name))
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.NodeRemovedEvent)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.EndCloseEvent)

    def stop(self) -> None:
        """Watch nothing."""
        self._timer.stop()
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed.clear()
        self._node = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not tell of what is changed inside."""
        try:
            yield
        finally:
            if self._node is not None and self._node.GetScene() is not None:
                self._seen = _times(self._node)

    def _observe(self, observed: Any, event: int) -> None:
        self._observed.append((observed, observed.AddObserver(event, self._event)))

    def _event(self, caller: vtk.vtkObject, event: str) -> None:
        self._timer.start()

    def _look(self) -> None:
        if self._node is None:
            return
        if self._node.GetScene() is None:
            self.stop()
            self._on_gone()
            return
        times = _times(self._node)
        if times != self._seen:
            self._seen = times
            self._on_changed()


def _times(segmentation_node: slicer.vtkMRMLSegmentationNode) -> tuple[Any, ...]:
    """Changes whenever voxels or segments do."""
    segmentation = segmentation_node.GetSegmentation()
    layers = [segmentation.GetLayerDataObject(layer).GetMTime() for layer in range(segmentation.GetNumberOfLayers())]
    return (tuple(segmentation.GetSegmentIDs()), *layers)
