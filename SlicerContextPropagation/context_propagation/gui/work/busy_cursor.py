"""The busy cursor, while Slicer does something for us that cannot be split: a write, an Undo, a surface, a preview."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import qt
import slicer.util


@contextmanager
def busy_cursor() -> Iterator[None]:
    """Show it inside, and let Slicer draw its views once, at the end; ask the user nothing there."""
    qt.QApplication.setOverrideCursor(qt.Qt.BusyCursor)
    try:
        with slicer.util.RenderBlocker():
            yield
    finally:
        qt.QApplication.restoreOverrideCursor()
