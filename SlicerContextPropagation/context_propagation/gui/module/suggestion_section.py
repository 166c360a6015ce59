"""The slice that is suggested next: told, shown, and plotted beside all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from context_propagation.gui.slice_views import jump_to_slice
from context_propagation.gui.texts import translated
from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.nodes.slice_plot import remove_plot, show_in_plot
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume


class SuggestionSection:
    """A line, and a button each to show the slice and to plot all of them.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_changed: Called after something was done.
    """

    def __init__(self, ui: Any, shared: Shared, on_changed: Callable[[], None]) -> None:
        self._ui, self._shared = ui, shared
        self._chart: Any = None
        ui.goToButton.connect("clicked()", guarded(self.show_slice, on_changed))
        ui.plotButton.connect("clicked()", guarded(self._plot, on_changed))

    def update(self, planes: Sequence[str]) -> None:
        """Bring the widgets in step.

        Args:
            planes: That of slices along each array axis; none where there is nothing to suggest.
        """
        self._ui.suggestionLabel.text = self._said(planes)
        set_visible(bool(self._ui.suggestionLabel.text), self._ui.suggestionLabel)
        can = not self._shared.runner.busy and bool(self._ui.suggestionLabel.text)
        self._ui.plotButton.enabled = self._ui.goToButton.enabled = can

    def close(self) -> None:
        """Take the plot out of the scene."""
        if self._chart is not None and self._chart.GetScene() is not None:
            remove_plot(slicer.mrmlScene, self._chart)

    def show_slice(self) -> None:
        """Move the slice views there."""
        logic = self._shared.logic
        index = logic.suggested_slice()
        if index is not None and logic.doubt is not None and logic.selection is not None:
            jump_to_slice(logic.selection.volume_nodes[0], logic.doubt.axis, index)

    def _plot(self) -> None:
        """Plot doubt and changes per slice."""
        logic = self._shared.logic
        if logic.doubt is None or logic.selection is None:
            return
        axis, doubt = logic.doubt.axis, logic.doubt.per_slice_mm2
        columns = {_("undecided, mm²"): doubt}
        propagated = [done for done in logic.history if done.edits]
        if propagated and propagated[-1].edits[0].axis == axis:
            changed = [propagated[-1].changed_per_slice.get(index, 0) for index in range(len(doubt))]
            columns[_("changed, voxels")] = changed
        plane = translated(planes_of_volume(logic.selection.volume_nodes[0])[axis])
        self._chart = show_in_plot(slicer.mrmlScene, self._chart, columns, _("{plane} slice").format(plane=plane))
        slicer.modules.plots.logic().ShowChartInLayout(self._chart)

    def _said(self, planes: Sequence[str]) -> str:
        logic = self._shared.logic
        index = logic.suggested_slice() if planes else None
        if index is None or logic.doubt is None:
            return ""
        text = _("Suggested next: {plane} slice {index}, where the model is least decided.")
        return text.format(plane=translated(planes[logic.doubt.axis]), index=index)
