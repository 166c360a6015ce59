"""Earlier cases: whether they set where the next case's contours begin, what they say, and how to forget them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.profile_choice import choose, is_chosen, profile_file
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible


class ProfileSection:
    """A box, off by default, a line about what is remembered, and a button that deletes it.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_changed: Called after the user chose something.
    """

    def __init__(self, ui: Any, shared: Shared, on_changed: Callable[[], None]) -> None:
        self._ui, self._shared, self._on_changed = ui, shared, on_changed
        ui.profileBox.checked = is_chosen()
        ui.profileBox.connect("toggled(bool)", self._choose)
        ui.forgetProfileButton.connect("clicked()", guarded(self._forget, on_changed))

    def _choose(self, on: bool) -> None:
        choose(bool(on), self._shared.logic.earlier_cases)
        self._on_changed()

    def _forget(self) -> None:
        self._shared.logic.earlier_cases.forget()

    def update(self) -> None:
        """Bring the widgets in step."""
        idle = not self._shared.runner.busy
        self._ui.profileBox.enabled = idle
        self._ui.forgetProfileButton.enabled = idle
        set_visible(profile_file().exists(), self._ui.forgetProfileButton)
        self._ui.profileLabel.text = self._remembered()
        set_visible(bool(self._ui.profileLabel.text), self._ui.profileLabel)

    def _remembered(self) -> str:
        logic = self._shared.logic
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
