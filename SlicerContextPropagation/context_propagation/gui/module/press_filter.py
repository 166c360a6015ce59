"""Where somebody pressed the mouse on a widget that knows no clicks, such as a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from context_propagation.gui.work.messages import guarded


class PressFilter(qt.QObject):
    """Tells of each press, by the share of the widget's width that lies to the left of it.

    The event alone says that there was one: where the mouse is, is asked of the cursor, which PythonQt shows alike with
    Qt 5 and 6. Whoever makes one keeps it: Qt does not.

    Args:
        widget: Is watched until `close`.
        on_pressed: Called with the share, from 0 on and below 1.
    """

    def __init__(self, widget: Any, on_pressed: Callable[[float], None]) -> None:
        super().__init__()
        self._widget, self._on_pressed = widget, on_pressed
        widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Qt's: called with each event of the widget, all of which go on to it."""
        if event.type() == qt.QEvent.MouseButtonPress:
            guarded(self._tell, lambda: None)()
        return False

    def _tell(self) -> None:
        share = self._widget.mapFromGlobal(qt.QCursor.pos()).x() / self._widget.width
        if 0 <= share < 1:
            self._on_pressed(share)

    def close(self) -> None:
        """Watch no more."""
        self._widget.removeEventFilter(self)
