"""Earlier cases: whether they set where the next case's contours begin, what they say, and how to forget them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.module.kept_section import KeptSection
from context_propagation.gui.work.profile_choice import choose, is_chosen, profile_file
from context_propagation.gui.work.shared import Shared
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic


def profile_section(ui: Any, shared: Shared, on_changed: Callable[[], None]) -> KeptSection:
    """Off by default; see `KeptSection`."""
    widgets, cases = (ui.profileBox, ui.profileLabel, ui.forgetProfileButton), shared.logic.earlier_cases
    ui.profileBox.checked = is_chosen()

    def said() -> tuple[str, bool]:
        return _remembered(shared.logic), profile_file().exists()

    return KeptSection(widgets, said, lambda on: choose(on, cases), cases.forget, shared, on_changed)


def _remembered(logic: ContextPropagationLogic) -> str:
    if logic.earlier_cases.file is None or logic.loaded is None:
        return ""
    try:
        cases, offset_mm = logic.earlier_cases.of_model(logic.loaded)
    except UserInputError as error:
        return str(error)
    if not cases:
        return _("No case with this model is remembered yet.")
    text = _("Cases with this model: {cases}. The next one's contours begin {offset} mm outwards.")
    return text.format(cases=cases, offset=f"{offset_mm:+.2f}")
