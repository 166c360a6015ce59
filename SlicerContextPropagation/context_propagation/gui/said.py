"""What was done last, for as long as it is true: panel and effect say it beside what can be done next."""

from __future__ import annotations

from typing import Any

from context_propagation.gui.work.last_messages import told


class Said:
    """A message that is past as soon as anything that it is about has changed."""

    def __init__(self) -> None:
        self.message = ""
        self._about: Any = None

    def say(self, message: str, about: Any = None) -> None:
        """What was just done.

        Args:
            message: In a sentence; empty to forget the last one.
            about: All that it depends on, to be compared by `==`; None for what there is when it is first shown.
        """
        self.message, self._about = message, about
        told(message)

    def text(self, about: Any) -> str:
        """The message, if it is about what there is now; else it is past for good, and the text is empty.

        Args:
            about: What there is now.
        """
        if self._about is None:
            self._about = about
        elif self._about != about:
            self.say("", about)
        return self.message
