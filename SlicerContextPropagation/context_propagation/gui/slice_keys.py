"""The keys that go from one suggested slice to the next, and the one that confirms the slice in view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.gui.slice_views import jump_to_slice, shown_slice
from context_propagation.gui.texts import translated
from context_propagation.gui.work.messages import guarded
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume

NEXT, PREVIOUS, CONFIRM = "Ctrl+Shift+Down", "Ctrl+Shift+Up", "Ctrl+Shift+K"
"""Slicer itself, its Segment Editor and its views use none of them."""


STATUS_MS = 5000


class SliceKeys:
    """All three, heard while a widget is visible and its window is active.

    Args:
        logic: Suggests slices.
        confirm: Confirms the slice in view, where that can be done; else it does nothing.
    """

    def __init__(self, logic: ContextPropagationLogic, confirm: Callable[[], None]) -> None:
        self._logic, self._confirm = logic, confirm
        self._shortcuts: list[Any] = []

    def switch_on(self, widget: Any) -> None:
        """From now on they are heard, while the widget is visible; nothing where they are on already."""
        if self._shortcuts:
            return
        steps = {keys: guarded(self._stepping(step), lambda: None) for keys, step in ((NEXT, 1), (PREVIOUS, -1))}
        for keys, act in (steps | {CONFIRM: self._confirm}).items():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), widget)
            shortcut.connect("activated()", act)
            self._shortcuts.append(shortcut)

    def switch_off(self) -> None:
        """They do nothing any more."""
        for shortcut in self._shortcuts:
            shortcut.enabled = False
            shortcut.deleteLater()
        self._shortcuts.clear()

    def _stepping(self, step: int) -> Any:
        return lambda: step_suggestion(self._logic, step)


def step_suggestion(logic: ContextPropagationLogic, step: int) -> None:
    """Show the next suggested slice in the order of doubt, or the one before; the status bar says which it is.

    From a slice that is none of them, either goes to the first. At both ends it stays.

    Args:
        logic: Suggests slices.
        step: 1 for the next, -1 for the one before.

    Raises:
        UserInputError: The volume is under a transform that is not linear.
    """
    suggested = logic.suggested_slices()
    if not suggested or logic.selection is None or logic.doubt is None:
        slicer.util.showStatusMessage(_("No slice is suggested: predict first, or none is in doubt."), STATUS_MS)
        return
    volume_node, axis = logic.selection.volume_nodes[0], logic.doubt.axis
    shown = shown_slice(volume_node, axis)
    place = min(max(suggested.index(shown) + step, 0), len(suggested) - 1) if shown in suggested else 0
    jump_to_slice(volume_node, axis, suggested[place])
    text = _("Suggested slice {number} of {count}, in the order of doubt: {plane} {index}.")
    plane = translated(planes_of_volume(volume_node)[axis])
    said = text.format(number=place + 1, count=len(suggested), plane=plane, index=suggested[place])
    slicer.util.showStatusMessage(said, STATUS_MS)
