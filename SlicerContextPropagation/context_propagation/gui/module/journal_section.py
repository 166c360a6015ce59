"""What is kept for when Slicer dies: whether it is, how much was left behind, and how to forget that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from slicer.i18n import tr as _

from context_propagation.core.session.journal_folder import when_written
from context_propagation.gui.module.kept_section import KeptSection
from context_propagation.gui.work.journal_choice import choose_journal, keeps_journal
from context_propagation.gui.work.shared import Shared


def journal_section(ui: Any, shared: Shared, on_changed: Callable[[], None]) -> KeptSection:
    """On by default; see `KeptSection`."""
    journal = shared.logic.journal

    def said() -> tuple[str, bool]:
        left = journal.left_behind
        if not left:
            return "", False
        newest = datetime.fromtimestamp(when_written(left[0])).strftime("%Y-%m-%d %H:%M")
        text = _(
            "Segments from before Slicer stopped: {count}, the last of {date}. Predict on their image offers them."
        )
        return text.format(count=len(left), date=newest), True

    widgets = ui.journalBox, ui.journalLabel, ui.forgetJournalButton
    ui.journalBox.checked = keeps_journal()
    return KeptSection(widgets, said, lambda on: choose_journal(on, journal), journal.forget, shared, on_changed)
