"""The lesions of the image: a row for each segment that was started; a click chooses it."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.gui.segmentation_watch import SEGMENTATION_EVENTS, GatheredEvents
from context_propagation.gui.texts import translated
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.timer import Timer
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.lesion import Lesion


class LesionSection:
    """A table, hidden while there is one lesion only.

    Segments are read one per turn of Qt's loop, and only those that may have changed: each takes some milliseconds.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
    """

    def __init__(self, ui: Any, shared: Shared) -> None:
        self._ui, self._shared = ui, shared
        self._read: dict[Selection, Lesion] = {}
        self._unread: list[Selection] = []
        self._observed: list[Selection] = []
        self._rows: list[Selection] = []
        self._last_in_use: Selection | None = None
        self._events = GatheredEvents(self._segments_changed)
        self._next = Timer(0, self._read_one, once=True)
        ui.lesionsTable.setHorizontalHeaderLabels([_("Lesion"), _("mL"), _("State"), _("Edits")])
        ui.lesionsTable.connect("cellClicked(int,int)", self._clicked)

    def update(self) -> None:
        """Bring the table in step; that which is worked on, or was just before, is read again."""
        self._observe()
        there = self._there
        in_use, before = self._shared.logic.selection, self._last_in_use
        self._mark([one for one in there if one in (in_use, before) or one not in self._read])
        self._last_in_use = in_use
        self._show()

    def close(self) -> None:
        """Follow no segment, for good."""
        self._events.close()
        self._next.close()

    @property
    def _there(self) -> list[Selection]:
        """Where there is more than one, for else the table is hidden."""
        found = [live.selection for live in self._shared.logic.sessions if live.selection.is_there()]
        return found if len(found) > 1 else []

    def _observe(self) -> None:
        there = self._there
        if there == self._observed:
            return
        self._events.stop()
        for node in {selection.segmentation_node for selection in there}:
            for event in SEGMENTATION_EVENTS:
                self._events.observe(node.GetSegmentation(), getattr(slicer.vtkSegmentation, event))
        self._observed = there

    def _segments_changed(self) -> None:
        self._mark(self._there)
        self._show()

    def _mark(self, selections: list[Selection]) -> None:
        self._unread += [selection for selection in selections if selection not in self._unread]
        if self._unread:
            self._next.start()

    def _read_one(self) -> None:
        """Read a segment, and come back for the next one."""
        selection = self._unread.pop(0)
        for live in self._shared.logic.sessions:
            if live.selection == selection and selection.is_there():
                self._read[selection] = Lesion.of(live)
        if self._unread:
            self._next.start()
        self._show()

    def _show(self) -> None:
        table, in_use = self._ui.lesionsTable, self._shared.logic.selection
        there = self._there
        self._read = {selection: lesion for selection, lesion in self._read.items() if selection in there}
        lesions = sorted(self._read.values(), key=lambda lesion: lesion.place)
        set_visible(len(lesions) > 1, self._ui.lesionsLabel, table)
        table.enabled = not self._shared.runner.busy
        self._rows = [lesion.selection for lesion in lesions]
        table.setRowCount(len(lesions))
        for row, lesion in enumerate(lesions):
            texts = lesion.name, f"{lesion.volume_ml:.2f}", translated(lesion.state), str(lesion.edits)
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        if in_use in self._rows:
            table.selectRow(self._rows.index(in_use))

    def _clicked(self, row: int, column: int) -> None:
        """Choose the lesion; the panel goes on with its session."""
        selection = self._rows[row]
        self._ui.segmentSelector.setCurrentNode(selection.segmentation_node)
        self._ui.segmentSelector.setCurrentSegmentID(selection.segment_id)
