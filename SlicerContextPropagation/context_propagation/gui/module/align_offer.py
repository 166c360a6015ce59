"""The button that puts a second volume on the grid of the first, as a PET on its CT's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.work.messages import show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.pet_alignment import align_operation

Volume = slicer.vtkMRMLScalarVolumeNode


class AlignOffer:
    """Shows the button where a model reads two volumes.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        volumes: Gives the chosen volumes.
        on_made: Called with the new volume, which takes the second one's place.
    """

    def __init__(
        self, ui: Any, shared: Shared, volumes: Callable[[], Sequence[Volume]], on_made: Callable[[Volume], None]
    ) -> None:
        self._button, self._shared, self._volumes, self._on_made = ui.alignButton, shared, volumes, on_made
        ui.alignButton.connect("clicked()", self._align)

    def update(self, two: bool) -> None:
        """Show it where the model reads `two` volumes, and allow it where both are chosen."""
        set_visible(two, self._button)
        self._button.enabled = len(self._volumes()) == 2 and not self._shared.runner.busy

    def _align(self) -> None:
        first, second = self._volumes()
        buttons = qt.QMessageBox
        question = _(
            "A copy of '{second}' is made on the grid of '{first}'. Also register it (rigid, then deformable; about a "
            "minute)? No: it is resampled as the scanner placed it."
        ).format(first=first.GetName(), second=second.GetName())
        answer = slicer.util.messageBox(
            question, standardButtons=buttons.Yes | buttons.No | buttons.Cancel, icon=buttons.Question
        )
        if answer == buttons.Cancel:
            return
        operation = align_operation(slicer.mrmlScene, first, second, answer == buttons.Yes)
        try:
            self._shared.runner.start(operation, self._aligned)
        except UserInputError as error:
            show_error(error)

    def _aligned(self, result: tuple[Volume, tuple[str, ...]]) -> None:
        made, messages = result
        self._on_made(made)
        slicer.util.infoDisplay(_("'{name}' was made.").format(name=made.GetName()) + "\n" + "\n".join(messages))
