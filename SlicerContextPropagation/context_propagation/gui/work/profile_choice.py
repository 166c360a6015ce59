"""Whether earlier cases set where contours begin: said in Slicer's settings, off unless the user ticked it."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
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


def moved_mm(logic: ContextPropagationLogic) -> float:
    """By how much the first contours of the session were moved outwards; 0 where they are the model's own."""
    return logic.session.settings.start_offset_mm if logic.session is not None else 0.0


def moved_text(logic: ContextPropagationLogic) -> str:
    """What the user is told of it."""
    if not moved_mm(logic):
        return ""
    text = _("Its contours were moved {offset} mm outwards, as earlier cases were drawn.")
    return text.format(offset=f"{moved_mm(logic):+.2f}")
