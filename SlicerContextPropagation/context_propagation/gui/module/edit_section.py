"""Predict, redraw, propagate, undo: the panel's main part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from context_propagation.core.image.slices import NEAR_SLICES_ONLY
from context_propagation.core.session.saved_session import SavedSession
from context_propagation.gui.module.edit_table import EditTable
from context_propagation.gui.module.history_section import HistorySection
from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.segment_editor import open_segment_editor
from context_propagation.gui.module.show_in_3d import ShowIn3D
from context_propagation.gui.module.suggestion_section import SuggestionSection
from context_propagation.gui.said import Said
from context_propagation.gui.start_questions import asked, bring_back, brought_back
from context_propagation.gui.texts import PLANES, memory_text, plane_choices, progress_words, translated
from context_propagation.gui.work.busy_cursor import busy_cursor
from context_propagation.gui.work.messages import guarded, show_error
from context_propagation.gui.work.profile_choice import moved_mm, moved_text
from context_propagation.gui.work.progress_bar import show_fraction
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.timer import Timer
from context_propagation.gui.work.visibility import set_visible
from context_propagation.gui.work.worker import Job
from context_propagation.mrml.nodes.segments import segment_name
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.pending_propagation import PendingPropagation
from context_propagation.mrml.session.start_check import StartCheck
from context_propagation.mrml.writing.segment_writer import WriteReport


class EditSection:
    """Buttons around one session, and what is said of it.

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
        self._table = EditTable(ui, shared, on_changed)
        self._said = Said()
        self._to_say: tuple[str, bool, Selection | None] = "", False, None
        self._soon = Timer(0, guarded(self._say_it, lambda: None), once=True)
        self._history = HistorySection(ui, shared, self._say, on_changed)
        self._suggestion = SuggestionSection(ui, shared, on_changed)
        self._in_3d = ShowIn3D(ui.show3dBox, ui.segmentSelector)
        ui.planeSelector.addItems(plane_choices())
        ui.planeSelector.setCurrentIndex(PLANES.index(shared.logic.plane or ""))
        ui.planeSelector.connect("currentIndexChanged(int)", self._plane_chosen)
        ui.predictButton.connect("clicked()", self._guarded(self.predict))
        ui.propagateButton.connect("clicked()", self._guarded(self.propagate))
        ui.cancelButton.connect("clicked()", shared.runner.cancel)
        ui.enoughButton.connect("clicked()", shared.runner.settle)
        ui.ownContoursButton.connect("clicked()", self._guarded(self.use_own_contours))
        ui.redrawButton.connect("clicked()", self._guarded(self.redraw))

    def watch(self, on: bool) -> None:
        """Follow the segment, while the panel is shown."""
        self._table.watch(on)

    def close(self) -> None:
        """Stop following the segment."""
        self._soon.close()
        self._table.close()
        self._in_3d.close()
        self._suggestion.close()

    # -- what the buttons do

    def predict(self) -> None:
        """Load the model if need be, ask what must be asked, then cache the image."""
        if not self._inputs.model_is_loaded():
            model = self._inputs.model
            assert model is not None  # the button is disabled without one
            operation = model.load_operation(self._shared.logic, self._inputs.device)
            self._run(operation, lambda loaded: self._guarded(self._set_image)())
            return
        self._set_image()

    def _set_image(self) -> None:
        if self._inputs.select():
            logic = self._shared.logic
            self._run(logic.check_operation(), self._checked, logic.selection)

    def _checked(self, check: StartCheck) -> None:
        self._guarded(lambda: self._cache(check))()

    def _cache(self, check: StartCheck) -> None:
        logic = self._shared.logic
        answers = asked(check, logic)
        if answers is None:
            return
        self._shared.runner.require_idle()  # something may have been started while the user was asked
        answers, back = bring_back(answers, logic), brought_back(answers)
        if answers.replays:
            operation: Operation[Any] = logic.restore_operation(check=check)
            self._run(operation, lambda saved: self._say(back) if back else self._restored(saved), logic.selection)
        else:
            operation = logic.predict_operation(check=check, keep_drawn=answers.keeps_drawn, fill=answers.fills)
            on_finished = (lambda report: self._predicted(report, back)) if answers.fills else self._started_empty
            self._run(operation, on_finished, logic.selection)

    def propagate(self) -> None:
        """Propagate what was redrawn, and write it."""
        self._shared.logic.use_writer(None)
        operation = self._shared.logic.propagate_operation()
        self._run(operation, self._propagated, self._shared.logic.selection)

    def _run(self, operation: Operation[Any], on_finished: Callable[[Any], None], on: Selection | None = None) -> None:
        """Start something, on what is selected where that matters; whatever becomes of it is said."""

        def failed(error: BaseException) -> None:
            show_error(error)
            self._say(_("{title}: stopped by an error.").format(title=title))

        def still_there() -> bool:
            return on is None or on.is_there()

        def cancelled() -> None:
            as_it_was = _("{title}: cancelled; the segment is as it was.").format(title=title)
            self._say(as_it_was if still_there() else "")  # what is gone is told by the line's own words

        title = translated(operation.title)
        self._said.say("")
        self._soon.stop()
        self._shared.runner.start(operation, on_finished, cancelled, failed, still_there)

    def _plane_chosen(self, index: int) -> None:
        self._shared.logic.plane = PLANES[index] or None
        self._on_changed()

    def redraw(self) -> None:
        """Open the Segment Editor on the segment, with a brush in hand."""
        selection = self._shared.logic.selection
        if selection is not None:
            open_segment_editor(selection)

    def use_own_contours(self) -> None:
        """Take back that the first contours begin where earlier cases were drawn."""
        with busy_cursor():
            self._shared.logic.use_own_contours()
        self._say(_("The model's own contours are back."))

    # -- what comes back

    def _predicted(self, report: WriteReport, brought_back: str) -> None:
        text = _("The segment was filled with the prediction ({count} voxels). Redraw a slice in the Segment Editor.")
        told = [
            brought_back,
            text.format(count=report.written) if report.written else "",
            moved_text(self._shared.logic),
        ]
        self._say_soon("\n".join(filter(None, told)), goes_there=bool(report.written))

    def _started_empty(self, report: WriteReport) -> None:
        self._say_soon(_("The segment is empty. Draw one slice of the lesion in the Segment Editor, then propagate."))

    def _say_soon(self, message: str, goes_there: bool = False) -> None:
        """Say what was done, and perhaps show the slice in doubt, in a turn of its own: it may have taken long."""
        self._to_say = message, goes_there, self._shared.logic.selection
        self._soon.start()

    def _say_it(self) -> None:
        message, goes_there, of_selection = self._to_say
        if self._table.selection() is None or self._shared.logic.selection != of_selection:
            return  # it went meanwhile, which is said; or another lesion was chosen
        self._say(message)
        if goes_there:
            self._suggestion.show_slice()

    def _restored(self, saved: SavedSession) -> None:
        self._say(_("{count} edit(s) replayed; the segment was not changed.").format(count=len(saved.edited)))

    def _propagated(self, pending: PendingPropagation) -> None:
        with busy_cursor():
            done = self._shared.logic.apply(pending)
        result, slices = done.result, len(done.result.changed_per_slice)
        text = _("Slices changed: {count}; {report}. Reach: {scope}.")
        told = [text.format(report=done.report.message, count=slices, scope=result.scope)]
        if result.left_alone:
            told.append(_("Slices left alone for thin evidence: {count}.").format(count=len(result.left_alone)))
        self._say_soon("\n".join([*told, *result.messages]))

    def _say(self, message: str) -> None:
        """What was done: it is shown until something that it is about changes."""
        self._soon.stop()  # what was done before is past
        self._table.look_again()
        self._said.say(message, self._now())
        self._on_changed()

    # -- what is true now

    def _now(self) -> Any:
        """All that a message may be about."""
        logic, propagation = self._shared.logic, self._shared.logic.propagation
        steps = propagation.done_count if propagation is not None else None
        return self._inputs.choice, logic.selection, id(propagation), steps, self._table.content

    def _next(self) -> str:
        """What can be done now, or why nothing can."""
        logic, selection = self._shared.logic, self._table.selection()
        if self._is_prevented():
            return _("Python packages are missing: install them in the section Python packages.")
        if logic.propagation is not None and selection is None:
            return _("What was worked on is gone. Choose a volume and a segment, and press Predict.")
        if not self._inputs.ready():
            return _("Choose a model, and a volume for each of its channels.")
        if selection is None:
            return _("Press Predict.")
        if not self._inputs.is_chosen(selection):
            text = _("'{segment}' on '{volume}' is being worked on. Press Predict to work on what is chosen above.")
            name = segment_name(selection.segmentation_node, selection.segment_id)
            return text.format(segment=name, volume=selection.volume_nodes[0].GetName())
        if self._table.trouble:
            return ""  # said above the table
        return _("Press Propagate.") if self._table.edits else _("Ready: redraw a slice in the Segment Editor.")

    # -- widgets

    def update(self) -> None:
        """Bring the widgets in step."""
        ui, logic, idle = self._ui, self._shared.logic, not self._shared.runner.busy
        chosen = self._inputs.selection if self._table.shown and idle else None
        if chosen is not None and logic.go_on_with(chosen):
            self._inputs.show_loaded()
        self._table.update()
        self._in_3d.update()
        there, propagation = self._table.selection() is not None, logic.propagation
        free = idle and (propagation is None or not propagation.busy)  # not while the effect shows a preview
        ui.predictButton.enabled = free and self._inputs.ready() and not self._is_prevented()
        ui.propagateButton.enabled = free and there and bool(self._table.edits)
        ui.redrawButton.enabled = idle and there
        first = there and propagation is not None and not propagation.done_count and not self._table.edits
        set_visible(bool(first and moved_mm(logic)), ui.ownContoursButton)
        ui.ownContoursButton.enabled = free
        self._history.update(free and there)
        self._suggestion.update(self._table.planes())
        set_visible(not idle, ui.cancelButton, ui.progressBar)
        if idle:
            set_visible(False, ui.enoughButton)
        if idle:
            waits = propagation is not None and propagation.pending is not None
            preview = _("A preview waits in the Segment Editor: apply or discard it there.")
            ui.stateLabel.text = self._said.text(self._now()) or (preview if waits else self._next())
        self._show_memory()
        ui.reachLabel.text = self._reach()
        set_visible(bool(ui.reachLabel.text), ui.reachLabel)

    def show_progress(self, job: Job | None) -> None:
        """Show the stage of what runs."""
        if job is None:
            return
        set_visible(True, self._ui.progressBar, self._ui.cancelButton)
        self._ui.cancelButton.enabled = not job.cancelled
        set_visible(job.settles, self._ui.enoughButton)
        show_fraction(self._ui.progressBar, job.stage[1])
        self._ui.stateLabel.text = ": ".join(progress_words(job))
        self._show_memory()

    def _show_memory(self) -> None:
        """What caching needs; said of the image that is being worked on, where that is the chosen one."""
        logic = self._shared.logic
        chosen = logic.selection is not None and self._inputs.volumes_are_chosen(logic.selection)
        known = logic.memory if chosen and self._inputs.model_is_loaded() else None
        self._ui.memoryLabel.text = memory_text(known) if known else _("shown when you press Predict")

    def _reach(self) -> str:
        if self._inputs.model is None or self._inputs.model.reach != NEAR_SLICES_ONLY:
            return ""
        return _("Near slices only, as Far slices is not ticked: an edit reaches two slices on each side.")

    def _guarded(self, act: Callable[[], None]) -> Callable[[], None]:
        return guarded(act, self._on_changed)
