"""The keys of "Propagate Edit"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from context_propagation.gui.slice_keys import SliceKeys
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic

SHORTCUT = "Ctrl+Shift+P"


class EffectKeys:
    """One key propagates or applies while the effect is chosen; those of slices are heard with any tool in hand.

    The first lies in the effect's own frame: several editors may have the effect active, and Qt calls none of two equal
    ones. The others lie in the editor, once the effect was chosen in it.

    Args:
        scripted_effect: Slicer's `qSlicerSegmentEditorScriptedEffect`.
        logic: Suggests slices.
        act: What the first does.
        confirm: Confirms the slice in view.
    """

    def __init__(
        self, scripted_effect: Any, logic: ContextPropagationLogic, act: Callable[[], None], confirm: Callable[[], None]
    ) -> None:
        self._effect, self._act = scripted_effect, act
        self._shortcut: Any = None
        self._slice_keys = SliceKeys(logic, confirm)

    def effect_chosen(self) -> None:
        """From now on all are heard, where there is a window."""
        if self._shortcut is None and slicer.util.mainWindow() is not None:
            self._shortcut = qt.QShortcut(qt.QKeySequence(SHORTCUT), self._effect.optionsFrame())
            self._shortcut.connect("activated()", self._act)
            self._slice_keys.switch_on(_editor_around(self._effect.optionsFrame()))

    def effect_left(self) -> None:
        """The first does nothing any more."""
        if self._shortcut is not None:
            self._shortcut.enabled = False
            self._shortcut.deleteLater()
            self._shortcut = None

    def close(self) -> None:
        """None does anything any more."""
        self.effect_left()
        self._slice_keys.switch_off()


def _editor_around(frame: Any) -> Any:
    """The Segment Editor that an options frame lies in: it is visible while its module is open."""
    widget = frame.parentWidget()
    while widget is not None and widget.className() != "qMRMLSegmentEditorWidget":
        widget = widget.parentWidget()
    return widget or frame.parentWidget() or frame
