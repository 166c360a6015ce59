"""Predict, redraw, propagate, undo: the panel's main part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, SliceEdit
from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.slice_views import jump_to_slice
from context_propagation.gui.segmentation_watch import is_there, segment_content
from context_propagation.gui.start_questions import asked
from context_propagation.gui.texts import PLANES, memory_text, plane_choices, progress_words, translated
from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.timer import Timer
from context_propagation.gui.work.worker import Job
from context_propagation.mrml.nodes.slice_plot import remove_plot, show_in_plot
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume
from context_propagation.mrml.session.propagation_logic import PendingPropagation
from context_propagation.mrml.session.session_node import SavedSession
from context_propagation.mrml.session.start_check import StartCheck
from context_propagation.mrml.writing.segment_writer import WriteReport

LOOK_MS = 500
"""How often the segment is looked at for redrawn slices while the panel is shown."""


class EditSection:
    """Buttons and tables around one session.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        inputs: What is chosen.
        on_changed: Called after something was done.
        is_prevented: Whether packages are missing without which no model runs.
    """

    def __init__(
        self,
        ui: Any,
        shared: Shared,
        inputs: InputSection,
        on_changed: Callable[[], None],
        is_prevented: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ui, self._shared, self._inputs, self._on_changed = ui, shared, inputs, on_changed
        self._is_prevented = is_prevented
        self._edits: list[SliceEdit] = []
        self._seen: Any = None
        self._chart: Any = None
        self._message = ""
        ui.editsTable.setHorizontalHeaderLabels([_("Plane"), _("Slice"), _("State")])
        ui.planeSelector.addItems(plane_choices())
        ui.planeSelector.setCurrentIndex(PLANES.index(shared.logic.plane or ""))
        ui.planeSelector.connect("currentIndexChanged(int)", self._plane_chosen)
        ui.predictButton.connect("clicked()", self._guarded(self.predict))
        ui.propagateButton.connect("clicked()", self._guarded(self.propagate))
        ui.cancelButton.connect("clicked()", shared.runner.cancel)
        ui.undoButton.connect("clicked()", self._guarded(self.undo))
        ui.redoButton.connect("clicked()", self._guarded(self.redo))
        ui.goToButton.connect("clicked()", self._guarded(self.go_to_suggested))
        ui.plotButton.connect("clicked()", self._guarded(self.plot))
        self._timer = Timer(LOOK_MS, self._look)

    def watch(self, on: bool) -> None:
        """Look at the segment now and then, while the panel is shown."""
        if on:
            self._timer.start()
        else:
            self._timer.stop()

    def close(self) -> None:
        """Stop looking at the segment."""
        self._timer.close()
        if self._chart is not None and self._chart.GetScene() is not None:
            remove_plot(slicer.mrmlScene, self._chart)

    # -- what the buttons do

    def predict(self) -> None:
        """Load the model if need be, ask what must be asked, then cache the image."""
        if not self._inputs.model_is_loaded():
            model = self._inputs.model
            assert model is not None  # the button is disabled without one
            operation = model.load_operation(self._shared.logic, self._inputs.device)
            self._shared.runner.start(operation, lambda loaded: self._guarded(self._set_image)())
            return
        self._set_image()

    def _set_image(self) -> None:
        if self._inputs.select():
            self._shared.runner.start(self._shared.logic.check_operation(), self._checked)

    def _checked(self, check: StartCheck) -> None:
        self._guarded(lambda: self._cache(check))()

    def _cache(self, check: StartCheck) -> None:
        logic, runner = self._shared.logic, self._shared.runner
        assert logic.selection is not None  # it was just checked
        answers = asked(check, logic.selection.volume_nodes[0])
        if answers is None:
            return
        runner.require_idle()  # something may have been started while the user was asked
        if answers.replays:
            runner.start(logic.restore_operation(check=check), self._restored)
        else:
            operation = logic.predict_operation(check=check, keep_drawn=answers.keeps_drawn)
            runner.start(operation, self._predicted)

    def propagate(self) -> None:
        """Propagate what was redrawn, and write it."""
        self._shared.logic.use_writer(None)
        operation = self._shared.logic.propagate_operation()
        self._shared.runner.start(operation, self._propagated)

    def _plane_chosen(self, index: int) -> None:
        self._shared.logic.plane = PLANES[index] or None
        self._seen = None
        self._on_changed()

    def undo(self) -> None:
        """Take the last propagation back."""
        self._shared.logic.undo()
        self._say(_("Undone; what was drawn stays."))

    def redo(self) -> None:
        """Make it again."""
        self._shared.logic.redo()
        self._say(_("Done again."))

    def go_to_suggested(self) -> None:
        """Show the suggested slice."""
        logic = self._shared.logic
        index = logic.suggested_slice()
        if index is not None and logic.doubt is not None and logic.selection is not None:
            jump_to_slice(logic.selection.volume_nodes[0], logic.doubt.axis, index)

    def plot(self) -> None:
        """Plot doubt and changes per slice."""
        logic = self._shared.logic
        if logic.doubt is None or logic.selection is None:
            return
        axis, doubt = logic.doubt.axis, logic.doubt.per_slice_mm2
        columns = {_("undecided, mm²"): doubt}
        if logic.history and logic.history[-1].edits[0].axis == axis:
            changed = [logic.history[-1].changed_per_slice.get(index, 0) for index in range(len(doubt))]
            columns[_("changed, voxels")] = changed
        plane = planes_of_volume(logic.selection.volume_nodes[0])[axis]
        self._chart = show_in_plot(
            slicer.mrmlScene, self._chart, columns, _("{plane} slice").format(plane=translated(plane))
        )
        slicer.modules.plots.logic().ShowChartInLayout(self._chart)

    # -- what comes back

    def _predicted(self, report: WriteReport) -> None:
        self._say(_("Ready: redraw a slice in the Segment Editor.") if not report.written else self._filled(report))

    def _filled(self, report: WriteReport) -> str:
        text = _("The segment was filled with the prediction ({count} voxels). Redraw a slice in the Segment Editor.")
        return text.format(count=report.written)

    def _restored(self, saved: SavedSession) -> None:
        self._say(_("{count} edit(s) replayed; the segment was not changed.").format(count=len(saved.propagations)))

    def _propagated(self, pending: PendingPropagation) -> None:
        done = self._shared.logic.apply(pending)
        slices = len(done.result.changed_per_slice)
        self._say(
            "\n".join(
                [
                    _("{report} on {count} slices ({scope}).").format(
                        report=done.report.message, count=slices, scope=done.result.scope
                    ),
                    *done.result.messages,
                ]
            )
        )

    def _say(self, message: str) -> None:
        self._message = message
        self._seen = None
        self._on_changed()

    # -- widgets

    def update(self) -> None:
        """Bring the widgets in step."""
        ui, logic, idle = self._ui, self._shared.logic, not self._shared.runner.busy
        propagation = logic.propagation
        self._look()
        free = idle and (propagation is None or not propagation.busy)  # not while the effect shows a preview
        ui.predictButton.enabled = free and self._inputs.ready() and not self._is_prevented()
        ui.propagateButton.enabled = free and bool(self._edits)
        ui.undoButton.enabled = free and propagation is not None and propagation.can_undo
        ui.redoButton.enabled = free and propagation is not None and propagation.can_redo
        ui.plotButton.enabled = ui.goToButton.enabled = idle and logic.suggested_slice() is not None
        ui.cancelButton.visible = ui.progressBar.visible = not idle
        if idle:
            waits = propagation is not None and propagation.pending is not None
            preview = _("A preview waits in the Segment Editor: apply or discard it there.")
            ui.stateLabel.text = preview if waits else self._message
        self._show_memory()
        ui.reachLabel.text = self._reach()
        ui.reachLabel.visible = bool(ui.reachLabel.text)
        ui.suggestionLabel.text = self._suggestion()

    def show_progress(self, job: Job | None) -> None:
        """Show the stage of what runs."""
        if job is None:
            return
        self._ui.progressBar.visible = self._ui.cancelButton.visible = True
        self._ui.cancelButton.enabled = not job.cancelled
        self._ui.progressBar.value = int(100 * job.stage[1])
        self._ui.stateLabel.text = ": ".join(progress_words(job))
        self._show_memory()

    def _show_memory(self) -> None:
        memory = self._shared.logic.memory
        self._ui.memoryLabel.text = memory_text(memory) if memory else _("said before the image is cached")

    def _reach(self) -> str:
        model = self._inputs.model
        if model is None or model.description is None or model.description.reach != NEAR_SLICES_ONLY:
            return ""
        return _("Near slices only: this model has no fusion network, so an edit reaches two slices on each side.")

    def _suggestion(self) -> str:
        logic = self._shared.logic
        index = logic.suggested_slice()
        planes = self._planes()
        if index is None or logic.doubt is None or not planes:
            return ""
        plane = translated(planes[logic.doubt.axis])
        return _("Suggested next: {plane} slice {index}, where the model is least decided.").format(
            plane=plane, index=index
        )

    def _look(self) -> None:
        """Find redrawn slices, if the segment has changed since."""
        logic = self._shared.logic
        if self._shared.runner.busy or logic.propagation is None or logic.propagation.busy or logic.selection is None:
            self._show_edits([] if logic.propagation is None else self._edits)
            return
        content = segment_content(logic.selection) if is_there(logic.selection) else None
        if content == self._seen:
            return
        self._seen = content
        try:
            self._show_edits(logic.redrawn())
            self._ui.editsLabel.text = _("Edited slices:")
        except UserInputError as error:
            self._show_edits([])
            self._ui.editsLabel.text = str(error)
        self._ui.undoButton.enabled = logic.propagation.can_undo
        self._ui.redoButton.enabled = logic.propagation.can_redo

    def _show_edits(self, edits: list[SliceEdit]) -> None:
        self._edits = edits
        table, logic = self._ui.editsTable, self._shared.logic
        rows = [(edit.axis, edit.index, _("redrawn")) for edit in edits]
        rows += [(e.axis, e.index, _("propagated")) for done in logic.history for e in done.edits]
        rows += [(kept.axis, kept.index, _("kept")) for kept in logic.kept]
        planes = self._planes()
        rows = rows if planes else []
        table.setRowCount(len(rows))
        for number, (axis, index, state) in enumerate(rows):
            for column, text in enumerate((translated(planes[axis]), str(index), state)):
                table.setItem(number, column, qt.QTableWidgetItem(text))
        self._ui.propagateButton.enabled = bool(edits) and not self._shared.runner.busy

    def _planes(self) -> tuple[str, ...]:
        """The plane of slices along each array axis; none where the volume is gone or under a transform with none."""
        selection = self._shared.logic.selection
        try:
            return planes_of_volume(selection.volume_nodes[0]) if selection is not None else ()
        except UserInputError:
            return ()

    def _guarded(self, act: Callable[[], None]) -> Callable[[], None]:
        return guarded(act, self._on_changed)
