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
from context_propagation.mrml.pet_alignment import align_operation

Volume = slicer.vtkMRMLScalarVolumeNode


class AlignOffer:
    """Follows what is chosen.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        volumes: Gives the chosen volumes.
        on_made: Called with the second volume and the new one that takes its place.
    """

    def __init__(
        self,
        ui: Any,
        shared: Shared,
        volumes: Callable[[], Sequence[Volume]],
        on_made: Callable[[Volume, Volume], None],
    ) -> None:
        self._button, self._shared, self._volumes, self._on_made = ui.alignButton, shared, volumes, on_made
        ui.alignButton.connect("clicked()", self._align)

    def update(self) -> None:
        """Allow it where there are two volumes."""
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
            self._shared.runner.start(operation, lambda made: self._aligned(second, *made))
        except UserInputError as error:
            show_error(error)

    def _aligned(self, second: Volume, made: Volume, messages: Sequence[str]) -> None:
        self._on_made(second, made)
        slicer.util.infoDisplay(_("'{name}' was made.").format(name=made.GetName()) + "\n" + "\n".join(messages))
