"""The button that makes SUVs of a chosen PET; it shows where one is in activity and its DICOM files are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.files.suv import ACTIVITY_UNITS, PHILIPS_COUNTS
from context_propagation.gui.work.messages import show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.nodes.dicom_database import INSTANCES, dicom_database, files_of_volume
from context_propagation.mrml.suv_volume import is_suv, suv_operation

MODALITY, UNITS = "0008,0060", "0054,1001"


class SuvOffer:
    """Follows what is chosen.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        volumes: Gives the chosen volumes.
        on_made: Called with a volume and the new one that takes its place.
    """

    def __init__(
        self,
        ui: Any,
        shared: Shared,
        volumes: Callable[[], Sequence[slicer.vtkMRMLScalarVolumeNode]],
        on_made: Callable[[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLScalarVolumeNode], None],
    ) -> None:
        self._button, self._shared, self._volumes, self._on_made = ui.suvButton, shared, volumes, on_made
        self._known: dict[str, list[Path]] = {}
        ui.suvButton.connect("clicked()", self._make)

    def update(self) -> None:
        """Show the button where there is something to convert."""
        node = self._convertible()
        set_visible(node is not None, self._button)
        self._button.enabled = node is not None and not self._shared.runner.busy
        if node is not None:
            self._button.text = _("Make SUV of '{name}'").format(name=node.GetName())

    def _convertible(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return next((node for node in self._volumes() if not is_suv(node) and self._files(node)), None)

    def _files(self, node: slicer.vtkMRMLScalarVolumeNode) -> list[Path]:
        """The files of a PET in activity; none of any other volume. Slicer's database is asked once."""
        instances = node.GetAttribute(INSTANCES) or ""
        if instances not in self._known:
            self._known[instances] = _pet_files(node)
        return self._known[instances]

    def _make(self) -> None:
        node = self._convertible()
        if node is None:
            return
        operation = suv_operation(slicer.mrmlScene, node, self._files(node))
        try:
            self._shared.runner.start(operation, lambda made: self._on_made(node, made))
        except UserInputError as error:
            show_error(error)


def _pet_files(node: slicer.vtkMRMLScalarVolumeNode) -> list[Path]:
    files = files_of_volume(node)
    if not files:
        return []
    modality, units = (str(dicom_database().fileValue(str(files[0]), tag)).strip() for tag in (MODALITY, UNITS))
    return files if modality == "PT" and units in (ACTIVITY_UNITS, PHILIPS_COUNTS) else []
