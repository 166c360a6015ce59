"""The page for the record of the chosen segment: a title, which may stay empty, and a button that writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.segment_choice import chosen_segment
from context_propagation.gui.texts import breakable
from context_propagation.gui.work.messages import confirmed, guarded
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.session.session_node import find_session_node

FILE_NAME, ENDING = "case-summary", ".html"


class SummarySection:
    """A line for a title, a button, and a line that says where the page was written.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        inputs: What is chosen.
    """

    def __init__(self, ui: Any, shared: Shared, inputs: InputSection) -> None:
        self._ui, self._shared, self._inputs = ui, shared, inputs
        self._chosen: Any = None
        ui.summaryButton.connect("clicked()", guarded(self.write, self.update))

    def write(self) -> None:
        """Ask where, and write the page of the chosen segment."""
        path = _asked_path()
        if path is not None:
            self.write_to(path)

    def write_to(self, path: Path) -> None:
        """Write the page of the chosen segment.

        Raises:
            UserInputError: Something else runs, or see `ContextPropagationLogic.summary_operation`.
        """
        logic = self._shared.logic
        if logic.propagation is None and not self._inputs.select():
            return
        selection, chosen = logic.selection, self._choice()
        assert selection is not None  # there is a session, or it was just selected

        def written(where: Path) -> None:
            if self._choice() == chosen:
                self._ui.summaryTitle.text = ""  # it may name a patient, and the next page is of another
                self._ui.summaryLabel.text = _("Written: {path}").format(path=breakable(str(where)))
            self.update()

        operation = logic.summary_operation(path, str(self._ui.summaryTitle.text).strip())
        self._shared.runner.start(operation, written, still_there=lambda: selection.is_there())

    def update(self) -> None:
        """Bring the widgets in step: the title of another segment goes, and what was said of it."""
        chosen = self._choice()
        if chosen != self._chosen:
            self._chosen = chosen
            self._ui.summaryTitle.text = self._ui.summaryLabel.text = ""
        self._ui.summaryButton.enabled = not self._shared.runner.busy and self._can_write()
        set_visible(bool(self._ui.summaryLabel.text), self._ui.summaryLabel)

    def _choice(self) -> Any:
        return tuple(self._inputs.volume_nodes), *chosen_segment(self._ui.segmentSelector)

    def _can_write(self) -> bool:
        """Whether the scene says what was done to the chosen segment, and no other one is being worked on."""
        volumes, segmentation, segment = self._choice()
        if not volumes or segmentation is None or segment is None:
            return False
        working, selection = self._shared.logic.propagation is not None, self._shared.logic.selection
        if working and selection is not None:
            worked_on = selection.volume_nodes, selection.segmentation_node, selection.segment_id
            if (volumes, segmentation, segment) != worked_on:
                return False
        return find_session_node(slicer.mrmlScene, segmentation, segment) is not None


def _asked_path() -> Path | None:
    """Where the page goes; None where the user changed their mind."""
    chosen = qt.QFileDialog.getSaveFileName(None, _("Case summary"), FILE_NAME + ENDING, _("Web page (*.html)"))
    if not chosen:
        return None
    path = Path(str(chosen))
    if path.suffix.lower() == ENDING:
        return path
    path = path.with_name(path.name + ENDING)  # of which the dialog has not asked whether it may be replaced
    question = _("'{name}' is there already. Replace it?").format(name=path.name)
    return path if not path.exists() or confirmed(question) else None
