"""Progress that is shown without being painted at once."""

from __future__ import annotations

from typing import Any


def show_fraction(bar: Any, fraction: float) -> None:
    """Show how much is done; it is painted at the event loop's next turn.

    `QProgressBar` paints within `setValue`, and with it all of Slicer's window where views use OpenGL by software.

    Args:
        bar: A `QProgressBar` from 0 to 100.
        fraction: From 0 to 1.
    """
    bar.updatesEnabled = False
    bar.value = int(100 * fraction)
    bar.updatesEnabled = True
