"""Figures of the segment, and of its comparison with a reference."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.segment_choice import chosen_segment
from context_propagation.gui.texts import translated
from context_propagation.gui.work.messages import show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.mrml.measurements import Measurements, measurement_operation
from context_propagation.mrml.nodes.segments import segment_named


class MeasureSection:
    """A reference selector, a button and a table.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        inputs: What is chosen.
    """

    def __init__(self, ui: Any, shared: Shared, inputs: InputSection) -> None:
        self._ui, self._shared, self._inputs = ui, shared, inputs
        ui.measureTable.setHorizontalHeaderLabels([_("Measure"), _("Value")])
        ui.measureButton.connect("clicked()", self.measure)

    def measure(self) -> None:
        """Measure the chosen segment; a session on another one goes on."""
        node, reference_id = chosen_segment(self._ui.referenceSelector)
        reference = None if node is None else (node, reference_id)
        segmentation, segment = chosen_segment(self._ui.segmentSelector)
        if segmentation is None:
            return
        try:
            segment_id = segment_named(segmentation, segment)
            volume = self._inputs.volume_nodes[0]
            operation = measurement_operation(segmentation, segment_id, volume, reference)
            self._shared.runner.start(operation, self._show)
        except UserInputError as error:
            show_error(error)

    def update(self) -> None:
        """Bring the widgets in step."""
        chosen = self._ui.segmentSelector.currentNode() is not None and bool(self._inputs.volume_nodes)
        self._ui.measureButton.enabled = chosen and not self._shared.runner.busy

    def _show(self, measured: Measurements) -> None:
        table = self._ui.measureTable
        table.setRowCount(len(measured.rows))
        for number, (name, value) in enumerate(measured.rows):
            table.setItem(number, 0, qt.QTableWidgetItem(translated(name)))
            table.setItem(number, 1, qt.QTableWidgetItem(value))
        table.resizeColumnsToContents()
