"""Offered where slices lie unevenly: a copy whose slices lie evenly, and for its contours the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.texts import breakable
from context_propagation.gui.work.messages import show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.even_slices import EvenCopies, acquired_volume
from context_propagation.mrml.nodes.acquired_slices import has_acquisition_transform
from context_propagation.mrml.session.operation import Operation

Volume, Segmentation = slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode


class DistancesOffer:
    """Follows what is chosen.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        volumes: Gives the chosen volumes.
        segmentation: Gives the chosen segmentation.
        on_made: Called with a volume and what takes its place.
    """

    def __init__(
        self,
        ui: Any,
        shared: Shared,
        volumes: Callable[[], Sequence[Volume]],
        segmentation: Callable[[], Segmentation | None],
        on_made: Callable[[Volume, EvenCopies], None],
    ) -> None:
        self._ui, self._shared, self._on_made = ui, shared, on_made
        self._volumes, self._segmentation = volumes, segmentation
        ui.evenSlicesButton.connect("clicked()", self._make_even)
        ui.acquiredSlicesButton.connect("clicked()", self._go_back)

    def update(self) -> None:
        """Say how the slices lie, and show the button for what can be done."""
        uneven, copy = self._uneven(), self._copy()
        said, can = "", False
        if uneven is not None:
            said, can = self._change(uneven)
        elif copy is not None:
            said = _(
                "'{copy}' was made of '{volume}', whose slices lie unevenly. Its contours can be brought back there."
            )
            said = said.format(copy=copy.GetName(), volume=acquired_volume(copy).GetName())
        self._ui.distancesLabel.text = breakable(said)
        set_visible(bool(said), self._ui.distancesLabel)
        set_visible(can, self._ui.evenSlicesButton)
        set_visible(uneven is None and copy is not None, self._ui.acquiredSlicesButton)
        for button in (self._ui.evenSlicesButton, self._ui.acquiredSlicesButton):
            button.enabled = not self._shared.runner.busy

    def _change(self, uneven: Volume) -> tuple[str, bool]:
        """What would be made, or why it cannot be."""
        try:
            return self._shared.logic.even_slices_change(uneven, self._segmentation_of(uneven)), True
        except UserInputError as error:  # such as a tilted gantry
            return str(error), False

    def _uneven(self) -> Volume | None:
        return next((node for node in self._volumes() if has_acquisition_transform(node)), None)

    def _copy(self) -> Volume | None:
        """The chosen copy, whose chosen contours can be brought back."""
        node, segmentation = next(iter(self._volumes()), None), self._segmentation()
        there = segmentation is not None and segmentation.GetSegmentation().GetNumberOfSegments() > 0
        return node if there and node is not None and acquired_volume(node) is not None else None

    def _segmentation_of(self, node: Volume) -> Segmentation | None:
        """What is chosen on a volume: of the second channel, nothing."""
        return self._segmentation() if node is self._volumes()[0] else None

    def _make_even(self) -> None:
        node = self._uneven()
        if node is not None:
            make = self._shared.logic.even_slices_operation
            self._start(lambda: make(node, self._segmentation_of(node)), lambda made: self._made(node, made))

    def _made(self, node: Volume, made: EvenCopies) -> None:
        self._on_made(node, made)
        slicer.util.setSliceViewerLayers(background=made.volume_node)
        slicer.util.infoDisplay(made.message)

    def _go_back(self) -> None:
        copy, segmentation = self._copy(), self._segmentation()
        if copy is not None:
            make = self._shared.logic.acquired_slices_operation
            self._start(lambda: make(segmentation, copy), lambda made: self._came_back(copy, made))

    def _came_back(self, copy: Volume, made: Segmentation) -> None:
        text = _(
            "'{name}' was made on the slices of '{volume}': each has the contours of the even slice next to it. Even "
            "slices between them are left out."
        )
        slicer.util.infoDisplay(text.format(name=made.GetName(), volume=acquired_volume(copy).GetName()))

    def _start(self, make: Callable[[], Operation[Any]], made: Callable[[Any], None]) -> None:
        try:
            self._shared.runner.start(make(), made)
        except UserInputError as error:
            show_error(error)
