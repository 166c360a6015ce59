"""Confirm slices, undo, redo: what is done with propagations that are in the segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from context_propagation.gui.slice_confirmation import confirm_slice_in_view
from context_propagation.gui.slice_words import slices_text
from context_propagation.gui.work.busy_cursor import busy_cursor
from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.session.segment_step import SegmentStep


class HistorySection:
    """Four buttons, and a sentence that says what Undo takes back.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        say: Shows what was done.
        on_changed: Called after something was done.
    """

    def __init__(self, ui: Any, shared: Shared, say: Callable[[str], None], on_changed: Callable[[], None]) -> None:
        self._ui, self._shared, self._say = ui, shared, say
        ui.undoButton.connect("clicked()", guarded(self.undo, on_changed))
        ui.redoButton.connect("clicked()", guarded(self.redo, on_changed))
        ui.confirmButton.connect("clicked()", guarded(self.confirm, on_changed))
        ui.confirmChangedButton.connect("clicked()", guarded(self.confirm_changed, on_changed))

    def undo(self) -> None:
        """Take the last propagation or confirmation back."""
        with busy_cursor():
            self._shared.logic.undo()
        self._say(_("Undone; what was drawn stays."))

    def redo(self) -> None:
        """Make it again."""
        with busy_cursor():
            self._shared.logic.redo()
        self._say(_("Done again."))

    def confirm(self) -> None:
        """The slice in view is right as it is."""
        self._say(confirm_slice_in_view(self._shared.logic))

    def confirm_changed(self) -> None:
        """So are all slices that the last propagation changed."""
        count = len(self._shared.logic.confirm_changed_slices())
        self._say(_("Slices confirmed: {count}; they stay as they are.").format(count=count))

    def update(self, allowed: bool) -> None:
        """Bring the widgets in step.

        Args:
            allowed: Whether the session is there, and nothing runs or waits.
        """
        ui, propagation = self._ui, self._shared.logic.propagation
        steps = propagation.steps if propagation is not None else []
        ui.undoButton.enabled = allowed and propagation is not None and propagation.can_undo
        ui.redoButton.enabled = allowed and propagation is not None and propagation.can_redo
        ui.confirmButton.enabled = allowed
        propagated = [done for done in self._shared.logic.history if done.edits]
        ui.confirmChangedButton.enabled = allowed and bool(propagated and propagated[-1].changed_per_slice)
        ui.undoLabel.text = self._story(steps[-1]) if allowed and steps else ""
        set_visible(bool(ui.undoLabel.text), ui.undoLabel)

    def _story(self, step: SegmentStep) -> str:
        """What Undo takes back."""
        selection = self._shared.logic.selection
        assert selection is not None  # there is a session
        slices = slices_text(selection.volume_nodes[0], step.edits or step.confirmed)
        if not step.edits:
            return _("Undo takes back: confirmed {slices}.").format(slices=slices)
        if step.in_editor:
            return _("The Segment Editor's Undo takes back: propagated from {slices}.").format(slices=slices)
        return _("Undo takes back: propagated from {slices}. The drawing stays.").format(slices=slices)
