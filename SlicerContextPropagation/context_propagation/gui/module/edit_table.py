"""The slices that were redrawn, looked for where something changed; and the table of all edits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.gui.segmentation_watch import SegmentationWatch, segment_content
from context_propagation.gui.texts import translated
from context_propagation.gui.work.shared import Shared
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume


class EditTable:
    """Follows the segment of the session while the panel is shown.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_changed: Called where voxels changed, or segment or nodes are gone.

    Attributes:
        edits: The slices that were redrawn and not propagated.
        trouble: Why they cannot be found; empty where they were.
        content: What the segment held when it was looked at.
    """

    def __init__(self, ui: Any, shared: Shared, on_changed: Callable[[], None]) -> None:
        self._ui, self._shared, self._on_changed = ui, shared, on_changed
        self.edits: list[SliceEdit] = []
        self.trouble = ""
        self.content: Any = None
        self.shown = False
        self._looked_at: Any = None
        self._watch = SegmentationWatch(self._segment_changed, self._segment_changed, lambda: None, lambda: None)
        ui.editsTable.setHorizontalHeaderLabels([_("Plane"), _("Slice"), _("State")])

    def watch(self, on: bool) -> None:
        """Follow the segment, while the panel is shown."""
        self.shown, self._looked_at = on, None
        if not on:
            self._watch.stop()

    def close(self) -> None:
        """Stop following the segment."""
        self.shown = False
        self._watch.close()

    def selection(self) -> Selection | None:
        """What the session is on, where nodes and segment are still there."""
        logic = self._shared.logic
        if logic.propagation is None or logic.selection is None or not logic.selection.is_there():
            return None
        return logic.selection

    def planes(self) -> tuple[str, ...]:
        """The plane of slices along each array axis; none where the volume or the segment is gone, or the volume is
        under a transform with none.
        """
        selection = self.selection()
        try:
            return planes_of_volume(selection.volume_nodes[0]) if selection is not None else ()
        except UserInputError:
            return ()

    def update(self) -> None:
        """Bring the table in step."""
        self._follow()
        self._look()
        self._show()

    def look_again(self) -> None:
        """Also where nothing tells of a change, as after something was done."""
        self._looked_at = None
        self._look()
        selection = self.selection()
        if self._shared.runner.busy and selection is not None:
            self.content = segment_content(selection)  # `_look` waits for the end of what runs, such as a map of doubt

    def _segment_changed(self) -> None:
        self._looked_at = None
        self._on_changed()

    def _follow(self) -> None:
        """Be told when the segment changes, while the panel is shown."""
        selection = self.selection() if self.shown else None
        if selection is None:
            self._watch.stop()
        elif selection != self._watch.selection:
            self._watch.start(selection)
            self._looked_at = None

    def _look(self) -> None:
        """Find redrawn slices, if anything that they depend on has changed since."""
        logic, selection = self._shared.logic, self.selection()
        if selection is None:
            self.edits, self.trouble, self.content = [], "", None
            return
        assert logic.propagation is not None  # there is a session
        if self._shared.runner.busy or logic.propagation.busy:
            return
        wanted = (id(logic.propagation), logic.plane, self.planes())
        if not self.shown or wanted == self._looked_at:
            return
        self._looked_at = wanted
        try:
            self.edits, self.trouble = logic.redrawn(), ""
        except UserInputError as error:
            self.edits, self.trouble = [], str(error)
        self.content = segment_content(selection)

    def _show(self) -> None:
        table, logic = self._ui.editsTable, self._shared.logic
        rows = [(edit.axis, edit.index, _("redrawn")) for edit in self.edits]
        for done in logic.history:
            rows += [(edit.axis, edit.index, _("propagated")) for edit in done.edits]
            rows += [(slice_.axis, slice_.index, _("confirmed")) for slice_ in done.confirmed]
        rows += [(kept.axis, kept.index, _("kept")) for kept in logic.kept]
        planes = self.planes()
        rows = rows if planes else []
        table.setRowCount(len(rows))
        for number, (axis, index, state) in enumerate(rows):
            for column, text in enumerate((translated(planes[axis]), str(index), state)):
                table.setItem(number, column, qt.QTableWidgetItem(text))
        self._ui.editsLabel.text = self.trouble or _("Edited slices:")
