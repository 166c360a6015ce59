"""The busy cursor, while Slicer does something for us that cannot be split: a write, an Undo, a surface, a preview."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import qt


@contextmanager
def busy_cursor() -> Iterator[None]:
    """Show it inside; ask the user nothing there."""
    qt.QApplication.setOverrideCursor(qt.Qt.BusyCursor)
    try:
        yield
    finally:
        qt.QApplication.restoreOverrideCursor()
