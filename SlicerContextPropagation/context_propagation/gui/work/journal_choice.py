"""Whether what is drawn is kept for when Slicer dies: said in Slicer's settings, on unless the user unticked it."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

from context_propagation.mrml.session.journal import Journal

KEY = "ContextPropagation/keepsForACrash"
KEEP_MS = 3000
"""Between two looks at what is drawn: that much is lost at most."""


def journal_folder() -> Path:
    """Beside Slicer's own settings."""
    settings = qt.QFileInfo(slicer.app.slicerRevisionUserSettingsFilePath)
    return Path(settings.absolutePath()) / "ContextPropagation.journal"


def keeps_journal() -> bool:
    """Whether the user left it ticked."""
    return str(qt.QSettings().value(KEY)) != "no"


def choose_journal(on: bool, journal: Journal) -> None:
    """Keep the choice; off, what this Slicer kept is deleted at once."""
    qt.QSettings().setValue(KEY, "yes" if on else "no")
    follow_journal_choice(journal)


def follow_journal_choice(journal: Journal) -> None:
    """As the settings have it."""
    journal.folder, journal.keeps = journal_folder(), keeps_journal()
    if not journal.keeps:
        journal.close()
