"""Widgets that are shown only when they say something."""

from __future__ import annotations

from typing import Any


def set_visible(on: bool, *widgets: Any) -> None:
    """Show or hide widgets, those that are not so already.

    Slicer paints a widget that is shown once more, and with it the whole window: a tenth of a second without a GPU.
    """
    for widget in widgets:
        if widget.isHidden() == on:
            widget.setVisible(on)
