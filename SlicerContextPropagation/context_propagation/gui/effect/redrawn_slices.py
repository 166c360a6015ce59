"""The slices that were redrawn since the last propagation, found by themselves."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.gui.slice_words import slices_text
from context_propagation.gui.work.timer import Timer
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic

AUTO_DELAY_MS = 1000


class RedrawnSlices:
    """Finds them after each stroke, and waits for a second without another one.

    Args:
        logic: Has the session.
        on_pause: Called a second after the last stroke, where `waits` is set.

    Attributes:
        found: The slices.
        waits: Whether the user wants to be waited for.
    """

    def __init__(self, logic: ContextPropagationLogic, on_pause: Callable[[], None]) -> None:
        self._logic = logic
        self.found: list[SliceEdit] = []
        self.waits = False
        self._trouble = ""
        self._timer = Timer(AUTO_DELAY_MS, on_pause, once=True)

    def find(self, after_stroke: bool = False) -> None:
        """Look at the segment; where it was just drawn in, the second starts anew."""
        self.found, self._trouble = [], ""
        propagation = self._logic.propagation
        if propagation is None or propagation.busy:
            return
        steps = propagation.done_count
        try:
            self.found = self._logic.redrawn()
        except UserInputError as error:
            self._trouble = str(error)
        was_stroke = after_stroke and propagation.done_count == steps  # else an Undo of a propagation
        self.wait() if was_stroke else self.do_not_wait()

    def forget(self) -> None:
        """There is nothing to look at any more."""
        self.do_not_wait()
        self.found, self._trouble = [], ""

    def wait(self) -> None:
        """Wait for a second, if the user wants that and something was redrawn."""
        self.do_not_wait()
        if self.waits and self.found:
            self._timer.start()

    def do_not_wait(self) -> None:
        """Do not call `on_pause` for what was drawn so far."""
        self._timer.stop()

    def close(self) -> None:
        """Never call `on_pause` again."""
        self._timer.close()

    def text(self, volume_node: slicer.vtkMRMLScalarVolumeNode) -> str:
        """What was redrawn, or why that cannot be said."""
        if self._trouble:
            return self._trouble
        if not self.found:
            return _("Redraw a slice with any tool; it is found by itself.")
        return _("Redrawn: {slices}.").format(slices=slices_text(volume_node, self.found))
