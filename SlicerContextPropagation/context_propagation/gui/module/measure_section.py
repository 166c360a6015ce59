"""Figures of the segment, and of its comparison with a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.segment_choice import chosen_segment
from context_propagation.gui.segmentation_watch import SEGMENTATION_EVENTS, GatheredEvents, segment_content
from context_propagation.gui.texts import translated
from context_propagation.gui.work.messages import show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.measurements import Measurements, measurement_operation
from context_propagation.mrml.nodes.segments import segment_name, segment_named
from context_propagation.mrml.nodes.selection import Selection

Chosen = tuple[slicer.vtkMRMLSegmentationNode, str | None]


@dataclass(frozen=True)
class Measured:
    """What the figures in the table are of.

    Attributes:
        chosen: Segmentation and segment, and the same of a reference, as they were chosen.
        segments: The same; where no segment was chosen, the only one.
        contents: Their voxels then.
    """

    chosen: tuple[Chosen, ...]
    segments: tuple[tuple[slicer.vtkMRMLSegmentationNode, str], ...]
    contents: list[Any]


class MeasureSection:
    """A reference selector, a button and a table.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        inputs: What is chosen.
    """

    def __init__(self, ui: Any, shared: Shared, inputs: InputSection) -> None:
        self._ui, self._shared, self._inputs = ui, shared, inputs
        self._measured: Measured | None = None
        self._events = GatheredEvents(self._segments_changed)
        ui.measureTable.setHorizontalHeaderLabels([_("Measure"), _("Value")])
        ui.measureButton.connect("clicked()", self.measure)
        ui.measureSection.connect("contentsCollapsed(bool)", lambda collapsed: self.update())
        ui.referenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self.update())
        ui.referenceSelector.connect("currentSegmentChanged(QString)", lambda segment: self.update())

    def measure(self) -> None:
        """Measure the chosen segment; a session on another one goes on."""
        chosen = self._chosen()
        if chosen is None:
            return
        try:
            segments = [(node, segment_named(node, segment)) for node, segment in chosen]
            operation = measurement_operation(*segments[0], self._inputs.volume_nodes[0], *segments[1:])
            measured = Measured(tuple(chosen), tuple(segments), [_content(*segment) for segment in segments])
            self._shared.runner.start(
                operation,
                lambda measurements: self._show(measurements, measured),
                still_there=lambda: all(_is_there(*segment) for segment in segments),
            )
        except UserInputError as error:
            show_error(error)

    def update(self) -> None:
        """Bring the widgets in step: figures of segments that are not chosen any more go."""
        chosen = self._chosen()
        if self._measured is not None and (chosen is None or tuple(chosen) != self._measured.chosen):
            self._forget()
        self._ui.measureButton.enabled = (
            chosen is not None and bool(self._inputs.volume_nodes) and not self._shared.runner.busy
        )
        set_visible(bool(self._ui.measuredLabel.text), self._ui.measuredLabel)

    def close(self) -> None:
        """Follow no segment, for good."""
        self._events.close()

    def _chosen(self) -> list[Chosen] | None:
        """The segment and the reference, if there is one; None where no segment is chosen."""
        node, segment = chosen_segment(self._ui.segmentSelector)
        reference, reference_segment = chosen_segment(self._ui.referenceSelector)
        if node is None:
            return None
        return [(node, segment), *([] if reference is None else [(reference, reference_segment)])]

    def _show(self, measurements: Measurements, measured: Measured) -> None:
        table = self._ui.measureTable
        table.setRowCount(len(measurements.rows))
        for number, (name, value) in enumerate(measurements.rows):
            table.setItem(number, 0, qt.QTableWidgetItem(translated(name)))
            table.setItem(number, 1, qt.QTableWidgetItem(value))
        table.resizeColumnsToContents()
        self._measured = measured
        self._events.stop()
        for node, _segment in measured.segments:
            for event in SEGMENTATION_EVENTS:
                self._events.observe(node.GetSegmentation(), getattr(slicer.vtkSegmentation, event))
        self._segments_changed()

    def _segments_changed(self) -> None:
        """Say what the figures are of, and whether that is as it was."""
        measured = self._measured
        if measured is None:
            return
        if not all(_is_there(*segment) for segment in measured.segments):
            self._forget()
            return
        names = [f"'{segment_name(*segment)}'" for segment in measured.segments]
        text = _(" compared with ").join(names)
        if [_content(*segment) for segment in measured.segments] != measured.contents:
            text = _("{names}, before it was changed").format(names=text)
        self._ui.measuredLabel.text = text
        set_visible(True, self._ui.measuredLabel)

    def _forget(self) -> None:
        self._measured = None
        self._events.stop()
        self._ui.measureTable.setRowCount(0)
        self._ui.measuredLabel.text = ""
        set_visible(False, self._ui.measuredLabel)


def _is_there(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    return node.GetScene() is not None and node.GetSegmentation().GetSegment(segment_id) is not None


def _content(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Any:
    return segment_content(Selection((), node, segment_id))
