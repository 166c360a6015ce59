"""Where the model doubts: over the slice views, as volumes, along the slices, and by keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from context_propagation.gui.module.slice_strip import SliceStrip
from context_propagation.gui.slice_keys import SliceKeys
from context_propagation.gui.slice_views import has_planes
from context_propagation.gui.work.messages import guarded, show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.timer import Timer
from context_propagation.mrml.session.doubt_maps import PROBABILITY, UNCERTAINTY

CHOICES = ("", PROBABILITY, UNCERTAINTY)


PAUSE_MS = 100
"""Before what is shown is made anew: what was done is said first."""


class DoubtSection:
    """The widgets below the suggestion. What the console shows is followed too.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_changed: Called after something was done.
    """

    def __init__(self, ui: Any, shared: Shared, on_changed: Callable[[], None]) -> None:
        self._ui, self._shared, self._on_changed = ui, shared, on_changed
        self._wanted = ""
        self._shown = False
        self._soon = Timer(PAUSE_MS, guarded(self._bring_up_to_date, lambda: None), once=True)
        self._strip = SliceStrip(ui.stripLabel, ui.stripSlider, shared.logic)
        self._keys = SliceKeys(shared.logic, ui.confirmButton.click)
        self._keys.switch_on(ui.editButton)
        ui.overlaySelector.addItems([_("nothing"), _("probability"), _("uncertainty")])
        ui.overlaySelector.connect("currentIndexChanged(int)", self._chosen)
        ui.addVolumesButton.connect("clicked()", guarded(self.add_volumes, on_changed))

    def watch(self, on: bool) -> None:
        """Follow the slice views, while the panel is shown."""
        self._shown = on
        self.update()

    def close(self) -> None:
        """Let go of views and keys."""
        self._soon.close()
        self._strip.close()
        self._keys.switch_off()

    def add_volumes(self) -> None:
        """Add probability and uncertainty to the scene as volumes."""
        self._shared.runner.start(self._shared.logic.maps.volumes_operation(), still_there=self._is_there)

    def update(self) -> None:
        """Bring the widgets in step, and what is shown over the slice views."""
        there, maps = self._is_there(), self._shared.logic.maps
        if not there:
            self._wanted = ""
            maps.hide()
        self._strip.update(there and self._shown)
        blocked = self._ui.overlaySelector.blockSignals(True)
        self._ui.overlaySelector.setCurrentIndex(CHOICES.index(self._wanted or maps.shown))
        self._ui.overlaySelector.blockSignals(blocked)
        self._ui.overlaySelector.enabled = there
        self._ui.addVolumesButton.enabled = there and not self._shared.runner.busy
        if there and (self._wanted or maps.shown):
            maps.follow()
            self._soon.start()

    def _chosen(self, index: int) -> None:
        self._wanted = CHOICES[index]
        if not self._wanted:
            self._shared.logic.maps.hide()
        self.update()

    def _bring_up_to_date(self) -> None:
        """Show what is wanted as it is after the edits so far; tried again when what runs is over."""
        maps = self._shared.logic.maps
        wanted = self._wanted or maps.shown
        if not wanted or self._shared.runner.busy or not self._is_there():
            return
        if wanted == maps.shown and maps.are_up_to_date:
            self._wanted = ""
            return
        operation = maps.show_operation(wanted)
        self._shared.runner.start(operation, self._came, self._given_up, self._failed, self._is_there)

    def _came(self, result: Any) -> None:
        self._wanted = ""

    def _given_up(self) -> None:
        self._wanted = ""
        self._shared.logic.maps.hide()

    def _failed(self, error: BaseException) -> None:
        self._given_up()
        show_error(error)

    def _is_there(self) -> bool:
        logic = self._shared.logic
        selection = logic.selection if logic.propagation is not None else None
        return selection is not None and selection.is_there() and has_planes(selection.volume_nodes[0])
