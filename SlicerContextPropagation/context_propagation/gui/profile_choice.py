"""Whether earlier cases set where contours begin: said in Slicer's settings, off unless the user ticked it."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

from context_propagation.mrml.session.earlier_cases import EarlierCases

KEY = "ContextPropagation/earlierCases"


def profile_file() -> Path:
    """Beside Slicer's own settings."""
    settings = qt.QFileInfo(slicer.app.slicerRevisionUserSettingsFilePath)
    return Path(settings.absolutePath()) / "ContextPropagation.profile.json"


def is_chosen() -> bool:
    """Whether the user ticked it."""
    return str(qt.QSettings().value(KEY)) == "yes"


def choose(on: bool, earlier_cases: EarlierCases) -> None:
    """Keep the choice; what was remembered before stays in its file until it is forgotten."""
    qt.QSettings().setValue(KEY, "yes" if on else "no")
    follow_choice(earlier_cases)


def follow_choice(earlier_cases: EarlierCases) -> None:
    """As the settings have it."""
    earlier_cases.file = profile_file() if is_chosen() else None
