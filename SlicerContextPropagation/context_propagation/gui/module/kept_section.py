"""Something that is kept on this computer: whether it is, what there is of it, and how to forget it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible


class KeptSection:
    """A box, a line about what is kept, and a button that deletes it.

    Args:
        widgets: Box, line and button.
        said: Gives the line's text, or nothing, and whether there is something to delete.
        choose: Called with the box's new state.
        forget: Deletes it.
        shared: Logic and worker.
        on_changed: Called after the user chose something.
    """

    def __init__(
        self,
        widgets: tuple[Any, Any, Any],
        said: Callable[[], tuple[str, bool]],
        choose: Callable[[bool], None],
        forget: Callable[[], None],
        shared: Shared,
        on_changed: Callable[[], None],
    ) -> None:
        (self._box, self._line, self._button), self._said, self._shared = widgets, said, shared
        self._box.connect("toggled(bool)", lambda on: (choose(bool(on)), on_changed()))
        self._button.connect("clicked()", guarded(forget, on_changed))

    def update(self) -> None:
        """Bring the widgets in step."""
        self._box.enabled = self._button.enabled = not self._shared.runner.busy
        self._line.text, can_be_forgotten = self._said()
        set_visible(bool(self._line.text), self._line)
        set_visible(can_be_forgotten, self._button)
