"""What the panel's state line says: what was done last while that is true, and else what can be done next."""

from __future__ import annotations

from typing import Any


class StateLine:
    """Holds a message for as long as nothing that it is about has changed.

    Args:
        label: Shows it.
    """

    def __init__(self, label: Any) -> None:
        self._label = label
        self._message, self._about = "", None

    def say(self, message: str, about: Any) -> None:
        """What was just done.

        Args:
            message: In a sentence.
            about: All that it depends on, to be compared by `==`.
        """
        self._message, self._about = message, about

    def forget(self) -> None:
        """What was done is past."""
        self._message, self._about = "", None

    def show(self, about: Any, otherwise: str) -> None:
        """Show the message if it is about what there is now; else it is past for good.

        Args:
            about: What there is now.
            otherwise: Shown in place of a message that is past.
        """
        if self._message and about != self._about:
            self.forget()
        self._label.text = self._message or otherwise

    def show_running(self, words: str) -> None:
        """What runs, for now."""
        self._label.text = words
