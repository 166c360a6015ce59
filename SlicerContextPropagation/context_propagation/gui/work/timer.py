"""A Qt timer that lets go of whom it calls."""

from __future__ import annotations

from collections.abc import Callable

import qt


class Timer:
    """Calls on Qt's thread. A connection keeps what it calls alive: `close` ends it.

    Args:
        milliseconds: Between two calls, or before the only one.
        call: Called.
        once: Whether it calls once after each `start`.
    """

    def __init__(self, milliseconds: int, call: Callable[[], None], once: bool = False) -> None:
        self._call = call
        self._timer = qt.QTimer()
        self._timer.interval = milliseconds
        self._timer.setSingleShot(once)  # PythonQt hides the property of that name behind its static function
        self._timer.connect("timeout()", call)
        self._connected = True

    def start(self) -> None:
        """Start, or start anew."""
        self._timer.start()

    def stop(self) -> None:
        """Call no more, until it is started again."""
        self._timer.stop()

    def close(self) -> None:
        """Call never again."""
        self._timer.stop()
        if self._connected:
            self._connected = False
            self._timer.disconnect("timeout()", self._call)
