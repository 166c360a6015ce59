"""The options frame of "Propagate Edit": start, propagate, preview, apply or discard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.effect.editor_choice import EditorChoice
from context_propagation.gui.effect.effect_keys import EffectKeys
from context_propagation.gui.effect.effect_preview import OpenPreview, waits_elsewhere
from context_propagation.gui.effect.effect_start import Start
from context_propagation.gui.effect.effect_widgets import EffectWidgets, Possible
from context_propagation.gui.effect.redrawn_slices import RedrawnSlices
from context_propagation.gui.said import Said
from context_propagation.gui.segmentation_watch import EditorWatch, SegmentationWatch
from context_propagation.gui.slice_confirmation import confirm_slice_in_view
from context_propagation.gui.slice_views import slice_in_view
from context_propagation.gui.texts import PLANES
from context_propagation.gui.work.busy_cursor import busy_cursor
from context_propagation.gui.work.guarded_run import GuardedRun
from context_propagation.gui.work.messages import guarded
from context_propagation.gui.work.profile_choice import moved_text
from context_propagation.gui.work.shared import shared
from context_propagation.gui.work.worker import Job
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.pending_propagation import PendingPropagation
from context_propagation.mrml.session.session_node import remove_orphaned_sessions
from context_propagation.mrml.writing.effect_writer import EffectWriter

AUTO_PARAMETER = "AutoPropagate"


class EffectPanel:
    """What the effect shows and does, on the logic that it shares with the module's panel.

    It goes on watching the segment while the user draws with another effect, as Slicer's own auto-complete effects do.

    Args:
        scripted_effect: Slicer's `qSlicerSegmentEditorScriptedEffect`.

    Attributes:
        closed: Whether it has ended; the effect then needs another one.
    """

    def __init__(self, scripted_effect: Any) -> None:
        self._effect, self._shared = scripted_effect, shared()
        self._logic, self._runner = self._shared.logic, self._shared.runner
        self._last_selection: Selection | None = None
        self._writer: EffectWriter | None = None
        self._preview: OpenPreview | None = None
        self._said = Said()
        self._propagating = self._redrawn_meanwhile = self._selected_meanwhile = self.closed = False
        self._run = GuardedRun(self._runner, self._run_ended)
        self._watch = SegmentationWatch(
            self._segment_changed, self._nodes_gone, self._others_changed, self._shown_otherwise
        )
        self._editor_watch = EditorWatch(self.update)
        self._redrawn = RedrawnSlices(self._logic, self._propagate_by_itself)
        self.widgets = EffectWidgets(scripted_effect)
        act, confirm = self._guarded(self._propagate_or_apply), self.widgets.confirm.click
        self._keys = EffectKeys(scripted_effect, self._logic, act, confirm)
        self._choice = EditorChoice(scripted_effect, self.widgets, self._logic, self.update)
        self._start = Start(self._choice, self._logic, self._run, self._new_writer, self._started)
        self._connect()
        self._runner.listeners.append(self._job_changed)
        self._shared.users.append(self._let_go)

    def _connect(self) -> None:
        widgets = self.widgets
        widgets.start.connect("clicked()", self._guarded(self._begin))
        widgets.propagate.connect("clicked()", self._guarded(self._propagate))
        widgets.apply.connect("clicked()", self._guarded(self._apply))
        widgets.discard.connect("clicked()", self._guarded(self._discard))
        widgets.confirm.connect("clicked()", self._guarded(self._confirm))
        widgets.enough.connect("clicked()", self._runner.settle)
        widgets.cancel.connect("clicked()", self._cancel)
        widgets.show.connect("toggled(bool)", self._show_preview)
        widgets.auto.connect("toggled(bool)", self._auto_toggled)
        widgets.plane.connect("currentIndexChanged(int)", self._plane_chosen)

    # -- the effect's life

    def activate(self) -> None:
        """The effect was selected."""
        self._choice.list_models()
        self.widgets.plane.setCurrentIndex(PLANES.index(self._logic.plane or ""))
        self._keys.effect_chosen()
        self._go_on()
        self.update()

    def deactivate(self) -> None:
        """Another effect was selected, as it is to draw; session and preview stay."""
        self._keys.effect_left()

    def close(self) -> None:
        """The editor ends: nothing stays behind."""
        if self.closed:
            return
        self.closed = True
        self._runner.listeners.remove(self._job_changed)
        self._shared.users.remove(self._let_go)
        self._keys.close()
        self._redrawn.close()
        self._watch.close()
        self._editor_watch.close()
        self._run.stop("")
        self._drop_preview()
        self._end_our_session()

    def _let_go(self) -> None:
        """The module is reloaded: end, and leave the options frame empty until the effect is selected again."""
        if self._effect.active():
            self._effect.selectEffect("")
        self.close()
        self.widgets.remove()

    def _end_our_session(self) -> None:
        """Close a session that could only write through this effect, which has ended."""
        propagation = self._logic.propagation
        if propagation is not None and propagation.writer is self._writer and not self._runner.busy:
            self._logic.close_session()

    # -- start

    def _begin(self) -> None:
        """Cache the image around the segment as it is now."""
        self._say("")
        selection = self._start.begin()
        if selection is not None:
            self._watch.start(selection)

    def _started(self, predicted: int) -> None:
        assert self._logic.selection is not None  # it was just used
        self._watch.start(self._logic.selection)  # what was filled in is no stroke
        if predicted:
            told = [_("Filled with the prediction ({count} voxels).").format(count=predicted), moved_text(self._logic)]
            self._say(" ".join(filter(None, told)))
        self._find_redrawn()

    # -- propagate

    def _propagate(self) -> None:
        """Propagate what was redrawn, and show it as a preview."""
        self._go_on()
        selection = self._logic.selection
        if selection is None or not self._is_ours():
            raise UserInputError("Propagate Edit was not started for this segment; press Start, then redraw a slice")
        self._drop_preview()
        self._say("")
        self._watch.start(selection)
        self._logic.use_writer(self._new_writer())
        self._run.start(self._logic.propagate_operation(), lambda pending: self._open_preview(selection, pending))
        self._propagating = True

    def _open_preview(self, selection: Selection, pending: PendingPropagation) -> None:
        self._propagating = False
        if selection != self._choice.selection:  # nobody had noticed yet
            self._logic.discard(pending)
            self._notice_selection()
            self._say(self._said.message or _("Another segment or volume was selected, so it was stopped."))
            return
        try:
            with busy_cursor():
                self._preview = OpenPreview(self._logic.scene, selection, pending)
        except BaseException:
            self._logic.discard(pending)
            raise
        self.widgets.check(self.widgets.show, True)

    def _apply(self) -> None:
        """Write the preview as one undo step; the first Undo takes it back and keeps the drawing."""
        preview = self._preview
        if preview is None:
            raise UserInputError("There is no preview to apply; propagate first")
        if preview.selection != self._choice.selection:
            raise UserInputError("Another segment or volume is selected; select those of the preview, or discard it")
        try:
            with self._watch.paused(), busy_cursor():
                pending = preview.part(self._logic)
                preview.close()
                self._preview = None
                self._logic.use_writer(self._new_writer())
                done = self._logic.apply(pending)
            self._say("\n".join([done.report.message, *done.result.messages]))
        finally:
            self._find_redrawn()
            self._runner.tell()

    def _confirm(self) -> None:
        """The slice in view is right as it is; of a preview, it is left out and put back."""
        if self._preview is not None:
            volume = self._preview.selection.volume_nodes[0]
            with busy_cursor():
                self._preview.toggle_slice(slice_in_view(volume, self._preview.pending.drawing.axis))
            return
        if not self._is_ours():
            raise UserInputError("Propagate Edit was not started for this segment; press Start first")
        self._say(confirm_slice_in_view(self._logic))

    def clicked(self, ras: Sequence[float]) -> bool:
        """A place in a slice view was clicked, in world RAS; whether that was meant for the preview."""
        if self._preview is None or not self._preview.toggle_region(ras):
            return False
        self.update()
        return True

    def _discard(self) -> None:
        """Drop the preview, ours or another editor's; what was drawn stays."""
        pending = self._pending
        self._drop_preview()
        if self._pending is pending is not None:
            self._logic.discard(pending)
        self._say(_("Discarded; what was drawn stays."))
        self._find_redrawn()
        self._runner.tell()

    def _propagate_or_apply(self) -> None:
        """The shortcut: apply the preview if there is one, else propagate."""
        if self._preview is not None:
            self._apply()
        elif not self._runner.busy:
            self._propagate()

    def _drop_preview(self) -> None:
        preview, self._preview = self._preview, None
        if preview is None:
            return
        preview.close()
        if self._logic.propagation is not None and self._logic.propagation.pending is preview.pending:
            self._logic.discard(preview.pending)

    def _show_preview(self, on: bool) -> None:
        if self._preview is not None:
            self._preview.show(on)

    def _cancel(self) -> None:
        self._run.stop(_("Cancelled; nothing was changed."))
        self._runner.cancel()  # the module's, too: there is one worker

    def _run_ended(self, why: str) -> None:
        self._propagating = False
        if why:
            self._say(why)
        self._end_our_session() if self.closed else self.update()

    def _job_changed(self, job: Job | None) -> None:
        if job is not None:
            self._notice_selection()  # before its result is handed over
            self.widgets.show_progress(job, None if self._logic.propagation else self._logic.memory)
            self._allow()
            return
        self._free_dead_session()
        if self._selected_meanwhile:
            self._selected_meanwhile = False
            self._go_on()
        if self._redrawn_meanwhile:
            self._redrawn_meanwhile = False
            self._find_redrawn(after_stroke=True)
        self.update()

    # -- what happens around it

    def _segment_changed(self) -> None:
        """Voxels of the segment were drawn, erased or undone: a preview of before is worth nothing any more."""
        if self._propagating:
            self._run.stop(_("The segment was changed, so the propagation was stopped."))
        if self._runner.busy:
            self._redrawn_meanwhile = True
            return
        self._say(_("The segment was changed, so the preview was dropped.") if self._preview else "")
        self._drop_preview()
        self._find_redrawn(after_stroke=True)
        self.update()

    def _others_changed(self) -> None:
        """What a preview says of other segments may be untrue now."""
        if self._preview is not None:
            self._preview.recount()
            self.update()

    def _shown_otherwise(self) -> None:
        if self._preview is not None:
            self.update()

    def _plane_chosen(self, index: int) -> None:
        self._logic.plane = PLANES[index] or None
        self._find_redrawn()
        self.update()

    def _find_redrawn(self, after_stroke: bool = False) -> None:
        if self._is_ours():
            self._redrawn.find(after_stroke)
        else:
            self._redrawn.forget()

    def _propagate_by_itself(self) -> None:
        if self._runner.busy or self._preview is not None or not self._is_ours():
            return
        try:
            self._propagate()
        except UserInputError:  # nobody pressed a button: the frame says it, and no dialog
            self._find_redrawn()
        self.update()

    def _auto_toggled(self, on: bool) -> None:
        self._effect.setParameter(AUTO_PARAMETER, int(on))
        self._redrawn.waits = on
        if self._preview is None:
            self._redrawn.wait()

    def _nodes_gone(self) -> None:
        """Segment, segmentation, volume or scene were removed: the session is closed and its memory freed."""
        self._last_selection = self._choice.selection
        gone = _("What was worked on is gone from the scene.")
        self._say(gone)
        self._run.stop(gone)
        self._drop_preview()
        self._redrawn.forget()
        remove_orphaned_sessions(self._logic.scene)
        self._free_dead_session()
        self.update()

    def _free_dead_session(self) -> None:
        selection = self._logic.selection
        if selection is not None and not self._runner.busy and not selection.is_there():
            self._logic.forget_gone()
            self._say(self._said.message)  # that it is gone is said of what is there now

    def _notice_selection(self) -> None:
        """Another segment or volume was selected: what runs is stopped, a preview waits."""
        self._watch.notice_if_gone()
        selection = self._choice.selection
        if selection == self._last_selection:
            return
        self._last_selection = selection
        self._redrawn.do_not_wait()
        self._selected_meanwhile = self._runner.busy
        self._go_on()
        if self._run.going:
            self._run.stop(_("Another segment or volume was selected, so it was stopped."))
        else:
            self._say("")
            self._find_redrawn()

    def _go_on(self) -> None:
        """With the session of what is selected, if it has one, and nothing runs or waits."""
        selection, before = self._choice.selection, self._logic.selection
        if selection is None or not self._choice.model_is_loaded or self._runner.busy:
            return
        if self._logic.go_on_with(selection):
            self._choice.list_models()  # its session may be for another label
            if selection != before:
                self._runner.tell()  # the module shows whose table, label and doubt it is

    # -- widgets

    def update(self) -> None:
        """Bring the options frame in step."""
        if self.closed:
            return
        self._editor_watch.follow(self._choice.node)
        self._choice.show()
        if self._choice.node is not None and self._effect.parameterDefined(AUTO_PARAMETER):
            self._redrawn.waits = bool(self._effect.integerParameter(AUTO_PARAMETER))
            self.widgets.check(self.widgets.auto, self._redrawn.waits)
        self._watch_session_of_others()
        self._notice_selection()
        propagation = self._logic.propagation
        if self._preview is not None and (propagation is None or propagation.pending is not self._preview.pending):
            self._drop_preview()  # somebody else closed the session
        if not self._runner.busy:
            said = self._said.text(self._now())
            try:
                state = self._state()
            except UserInputError as error:  # such as a CT under a transform that is not linear
                state = str(error)
            self.widgets.status.text = "\n".join(text for text in (said, state) if text)
        self._allow()

    def _say(self, message: str) -> None:
        """Show what was done above the state, until what it was done to is another."""
        self._said.say(message)

    def _now(self) -> tuple[Any, ...]:
        """All that a message may be about: model, segment, volume, session and the propagations in it."""
        model, propagation = self._choice.model, self._logic.propagation
        steps = propagation and propagation.done_count
        return self._choice.selection, model and model.key, id(propagation), steps

    def _allow(self) -> None:
        preview, busy = self._preview, self._runner.busy
        fits = preview is not None and preview.selection == self._choice.selection
        self.widgets.allow(Possible(busy, self._is_ours(), self._pending is not None, preview is not None, fits))

    def _state(self) -> str:
        """What would change, or what can be done next."""
        selection = self._choice.selection
        if self._preview is not None:
            same = self._preview.selection == selection
            return self._preview.text(self._choice.node) if same else self._preview.whose
        if self._pending is not None and self._logic.selection is not None:
            return waits_elsewhere(self._logic.selection)
        if selection is None:
            return _("Select a segment and a source volume.")
        if not self._is_ours():
            return _("Press Start before you redraw.")
        return self._redrawn.text(selection.volume_nodes[0])

    @property
    def _pending(self) -> PendingPropagation | None:
        """The propagation that waits to be applied or discarded, in any editor."""
        return self._logic.propagation.pending if self._logic.propagation is not None else None

    def _watch_session_of_others(self) -> None:
        """The module's panel, or another editor, may have started on what is selected here."""
        ours = self._logic.selection if self._is_ours() else None
        if ours is not None and self._watch.selection != ours and not self._runner.busy:
            self._watch.start(ours)
            self._find_redrawn()

    def _new_writer(self) -> EffectWriter:
        modes, selection = slicer.qSlicerSegmentEditorAbstractEffect, self._logic.selection
        assert selection is not None  # something is about to be written
        add, remove = modes.ModificationModeAdd, modes.ModificationModeRemove
        self._writer = EffectWriter(self._effect, selection.segmentation_node, add, remove)
        return self._writer

    def _is_ours(self) -> bool:
        """Whether the session is that of what is selected, with the chosen model."""
        selection = self._choice.selection
        same = self._logic.propagation is not None and selection is not None and selection == self._logic.selection
        return same and self._choice.model_is_loaded

    def _guarded(self, act: Callable[[], None]) -> Callable[[], None]:
        return guarded(act, self.update)
