"""A button that copies the problem report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.problem_report import problem_report
from context_propagation.gui.work.shared import Shared


class ProblemSection:
    """What somebody who helps has to know goes to the clipboard; it is sent nowhere.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_changed: Called afterwards.
    """

    def __init__(self, ui: Any, shared: Shared, on_changed: Callable[[], None]) -> None:
        self._shared = shared
        ui.problemReportButton.connect("clicked()", guarded(self._copy, on_changed))

    def _copy(self) -> None:
        qt.QApplication.clipboard().setText(problem_report(self._shared.logic))
        slicer.util.showStatusMessage(_("Copied: read it before you send it"), 5000)
