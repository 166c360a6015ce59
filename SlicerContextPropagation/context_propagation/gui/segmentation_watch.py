"""Tells when a segment changes, when what is worked on goes away, and when the editor is set otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicer
import vtk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import offset
from context_propagation.gui.work.timer import Timer
from context_propagation.mrml.nodes.segments import segment_labelmap
from context_propagation.mrml.nodes.selection import Selection

SEGMENTATION_EVENTS = ("SourceRepresentationModified", "SegmentModified", "SegmentRemoved", "SegmentAdded")


class GatheredEvents:
    """Gathers many events of nodes into one call, after what caused them is done.

    Args:
        on_events: Called once, however many there were.
    """

    def __init__(self, on_events: Callable[[], None]) -> None:
        self._observed: list[tuple[Any, int]] = []
        self._timer = Timer(0, on_events, once=True)

    def observe(self, observed: vtk.vtkObject, event: int) -> None:
        """Gather an event of a node as well."""
        self._observed.append((observed, observed.AddObserver(event, self._event)))

    def forget(self) -> None:
        """Do not call for what was gathered so far."""
        self._timer.stop()

    def stop(self) -> None:
        """Observe nothing."""
        self.forget()
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed.clear()

    def close(self) -> None:
        """Observe nothing, for good."""
        self.stop()
        self._timer.close()

    def _event(self, caller: vtk.vtkObject, event: str) -> None:
        self._timer.start()


class SegmentationWatch:
    """Watches one segment, whoever edits it.

    Slicer tells of far more than changes, and leaves a labelmap's time as it was where it erases: so voxels are
    compared.

    Args:
        on_changed: Called after voxels of the segment changed.
        on_gone: Called after segment, segmentation or a volume were removed, or the scene was closed.
        on_others: Called after something else in the segmentation may have changed, such as other segments.
        on_shown: Called after segments were shown or hidden, or otherwise displayed.
    """

    def __init__(
        self,
        on_changed: Callable[[], None],
        on_gone: Callable[[], None],
        on_others: Callable[[], None],
        on_shown: Callable[[], None],
    ) -> None:
        self._on_changed, self._on_gone, self._on_others = on_changed, on_gone, on_others
        self._display_events = GatheredEvents(on_shown)
        self._events = GatheredEvents(self._look)
        self.selection: Selection | None = None
        self._seen: Any = None

    def start(self, selection: Selection) -> None:
        """Watch a segment, in place of any other."""
        self.stop()
        self.selection, self._seen = selection, segment_content(selection)
        segmentation, scene = selection.segmentation_node.GetSegmentation(), selection.segmentation_node.GetScene()
        for name in SEGMENTATION_EVENTS:
            self._events.observe(segmentation, getattr(slicer.vtkSegmentation, name))
        display_event = slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent
        self._display_events.observe(selection.segmentation_node, display_event)
        self._events.observe(scene, slicer.vtkMRMLScene.NodeRemovedEvent)
        self._events.observe(scene, slicer.vtkMRMLScene.EndCloseEvent)

    def stop(self) -> None:
        """Watch nothing."""
        self._events.stop()
        self._display_events.stop()
        self.selection = None

    def close(self) -> None:
        """Watch nothing, for good."""
        self.stop()
        self._events.close()
        self._display_events.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not tell of what is changed inside."""
        try:
            yield
        finally:
            if self.selection is not None and self.selection.is_there():
                self._events.forget()
                self._seen = segment_content(self.selection)

    def notice_if_gone(self) -> None:
        """Do not wait for the event."""
        if self.selection is not None and not self.selection.is_there():
            self.stop()
            self._on_gone()

    def _look(self) -> None:
        self.notice_if_gone()
        if self.selection is None:
            return
        content = segment_content(self.selection)
        if content != self._seen:
            self._seen = content
            self._on_changed()
        else:
            self._on_others()


class EditorWatch:
    """Tells when a Segment Editor is set to another segment, volume, mask or overwrite mode.

    Args:
        on_changed: Called then.
    """

    def __init__(self, on_changed: Callable[[], None]) -> None:
        self._events = GatheredEvents(on_changed)
        self._node: slicer.vtkMRMLSegmentEditorNode | None = None

    def follow(self, node: slicer.vtkMRMLSegmentEditorNode | None) -> None:
        """Watch this editor's node, in place of any other."""
        if node is self._node:
            return
        self._events.stop()
        self._node = node
        if node is not None:
            self._events.observe(node, vtk.vtkCommand.ModifiedEvent)

    def close(self) -> None:
        """Watch nothing, for good."""
        self._node = None
        self._events.close()


def segment_content(selection: Selection) -> Any:
    """Differs whenever the segment's voxels do."""
    try:
        labelmap = segment_labelmap(selection.segmentation_node, selection.segment_id)
    except UserInputError:  # no voxels any more, as after a change to surfaces
        return None
    mask = labelmap.mask
    if mask.is_empty:
        return ()
    place = labelmap.ijk_to_ras.round(6) + 0.0  # Slicer's own copies differ in the last digit
    return offset(mask.box, labelmap.box), hash(mask.bits.tobytes()), place.tobytes()
