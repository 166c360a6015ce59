"""What is kept for when Slicer dies: whether it is, how much was left behind, and how to forget that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from slicer.i18n import tr as _

from context_propagation.core.session.journal_folder import when_written
from context_propagation.gui.work.journal_choice import choose_journal, keeps_journal
from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible


class JournalSection:
    """A box, on by default, a line about what is left from before Slicer stopped, and a button that deletes it.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_changed: Called after the user chose something.
    """

    def __init__(self, ui: Any, shared: Shared, on_changed: Callable[[], None]) -> None:
        self._ui, self._shared, self._on_changed = ui, shared, on_changed
        ui.journalBox.checked = keeps_journal()
        ui.journalBox.connect("toggled(bool)", self._choose)
        ui.forgetJournalButton.connect("clicked()", guarded(self._forget, on_changed))

    def _choose(self, on: bool) -> None:
        choose_journal(bool(on), self._shared.logic.journal)
        self._on_changed()

    def _forget(self) -> None:
        self._shared.logic.journal.forget()

    def update(self) -> None:
        """Bring the widgets in step."""
        idle = not self._shared.runner.busy
        self._ui.journalBox.enabled = idle
        self._ui.forgetJournalButton.enabled = idle
        self._ui.journalLabel.text = self._left_behind()
        set_visible(bool(self._ui.journalLabel.text), self._ui.journalLabel, self._ui.forgetJournalButton)

    def _left_behind(self) -> str:
        left = self._shared.logic.journal.left_behind
        if not left:
            return ""
        newest = datetime.fromtimestamp(when_written(left[0])).strftime("%Y-%m-%d %H:%M")
        text = _(
            "Segments from before Slicer stopped: {count}, the last of {date}. Predict on their image offers them."
        )
        return text.format(count=len(left), date=newest)
