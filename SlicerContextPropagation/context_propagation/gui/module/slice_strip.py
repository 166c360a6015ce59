"""A strip that shows all slices at a glance, above a slider that goes through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _

from context_propagation.gui.module.press_filter import PressFilter
from context_propagation.gui.module.strip_colours import Colour, strip_colours
from context_propagation.gui.segmentation_watch import GatheredEvents
from context_propagation.gui.slice_views import has_planes, jump_to_slice, shown_slice, slice_nodes
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic


@dataclass(frozen=True)
class Kind:
    """Something that was done to slices.

    Attributes:
        said: For the legend.
        colour: Of these slices.
        slices: Gives their indices along an array axis.
    """

    said: str
    colour: Colour
    slices: Callable[[ContextPropagationLogic, int], set[int]]


def _changed(logic: ContextPropagationLogic, axis: int) -> set[int]:
    of_axis = (done for done in logic.history if done.edits and done.edits[0].axis == axis)
    return {index for done in of_axis for index in done.changed_per_slice}


def _drawn(logic: ContextPropagationLogic, axis: int) -> set[int]:
    edits = [*logic.kept, *(edit for done in logic.history for edit in done.edits)]
    return {edit.index for edit in edits if edit.axis == axis}


def _confirmed(logic: ContextPropagationLogic, axis: int) -> set[int]:
    return {edit.index for done in logic.history for edit in done.confirmed if edit.axis == axis}


KINDS = (
    Kind(_("light blue: changed by a propagation"), (86, 180, 233), _changed),
    Kind(_("orange: confirmed"), (230, 159, 0), _confirmed),
    Kind(_("dark blue: drawn"), (0, 114, 178), _drawn),
)
"""A later one lies over those before it. Colours of Okabe and Ito, which people tell apart who do not tell red from
green; those of doubt have none of them."""


HEIGHT_PIXELS = 18


LEAST_PIXELS = 800
"""So wide that it is not blurred when Qt fits it to the panel."""


class SliceStrip:
    """A label with the picture, and the slider below it.

    Args:
        label: Shows the strip; a click on it moves the slice views too.
        slider: Moves the slice views, and follows them.
        logic: Knows doubt and edits.
    """

    def __init__(self, label: Any, slider: Any, logic: ContextPropagationLogic) -> None:
        self._label, self._slider, self._logic = label, slider, logic
        self._seen: Any = None
        self._views: list[slicer.vtkMRMLSliceNode] = []
        self._events = GatheredEvents(self._follow_views)
        legend = [_("Above: how undecided the model is, from dark (sure) to bright."), _("Below:")]
        label.toolTip = "\n".join([*legend, *(kind.said for kind in KINDS), _("Click a slice to show it.")])
        self._presses = PressFilter(label, self._pressed)
        slider.connect("valueChanged(int)", self._moved)

    def update(self, there: bool) -> None:
        """Show the session as it is now.

        Args:
            there: Whether there is a session, its volume and segment in the scene, and the panel is shown.
        """
        doubt = self._logic.doubt if there and self._volume_node is not None else None
        set_visible(doubt is not None, self._label, self._slider)
        if doubt is None:
            self._events.stop()
            self._views, self._seen = [], None
            return
        kinds = [(kind.colour, kind.slices(self._logic, doubt.axis)) for kind in KINDS]
        seen = doubt.per_slice_mm2.tobytes(), kinds
        if self._seen != seen:
            self._seen = seen
            self._label.setPixmap(_pixmap(strip_colours(doubt.per_slice_mm2, kinds)))
        views = list(slice_nodes())
        if views != self._views:
            self._events.stop()
            self._views = views
            for node in views:
                self._events.observe(node, vtk.vtkCommand.ModifiedEvent)
        self._follow_views()

    def close(self) -> None:
        """Follow nothing, for good."""
        self._views = []
        self._events.close()
        self._presses.close()

    def _follow_views(self) -> None:
        doubt, volume_node = self._logic.doubt, self._volume_node
        if doubt is None or volume_node is None:
            return
        shown = shown_slice(volume_node, doubt.axis)
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, len(doubt.per_slice_mm2) - 1)
        if shown is not None:
            self._slider.setValue(shown)
        self._slider.blockSignals(blocked)

    def _pressed(self, share: float) -> None:
        doubt = self._logic.doubt
        if doubt is not None:
            self._moved(int(share * len(doubt.per_slice_mm2)))

    def _moved(self, index: int) -> None:
        doubt, volume_node = self._logic.doubt, self._volume_node
        if doubt is not None and volume_node is not None:
            jump_to_slice(volume_node, doubt.axis, index)

    @property
    def _volume_node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The session's image, while it is in the scene and its slices are flat."""
        selection = self._logic.selection
        node = selection.volume_nodes[0] if selection is not None else None
        return node if node is not None and node.GetScene() is not None and has_planes(node) else None


def _pixmap(colours: np.ndarray) -> Any:
    """The strip as Qt shows it: `[2, slices, 3]`, each slice as wide as the others."""
    slices = colours.shape[1]
    image = qt.QImage(slices, 2, qt.QImage.Format_RGB32)
    for row, line in enumerate(colours.tolist()):
        for column, (red, green, blue) in enumerate(line):
            image.setPixel(column, row, 65536 * red + 256 * green + blue)
    return qt.QPixmap.fromImage(image.scaled(slices * -(-LEAST_PIXELS // slices), HEIGHT_PIXELS))
