"""The options frame of "Propagate Edit": start, propagate, preview, apply or discard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.core.edited_slices import SliceEdit
from context_propagation.core.errors import UserInputError
from context_propagation.core.operation import Operation
from context_propagation.core.worker import Job
from context_propagation.gui.effect_preview import OpenPreview, slices_text
from context_propagation.gui.effect_widgets import SHORTCUT, EffectWidgets, Possible
from context_propagation.gui.messages import confirmed, show_error
from context_propagation.gui.model_list import ListedModel, ModelList
from context_propagation.gui.segmentation_watch import EditorWatch, SegmentationWatch, is_there
from context_propagation.gui.shared import shared
from context_propagation.mrml.context_propagation_logic import Selection
from context_propagation.mrml.effect_writer import EffectWriter
from context_propagation.mrml.propagation_logic import PendingPropagation
from context_propagation.mrml.segments import convert_to_binary_labelmap, is_binary_labelmap, segment_name

AUTO_PARAMETER = "AutoPropagate"
SECOND_VOLUME = "SecondVolume"
AUTO_DELAY_MS = 1000


class EffectPanel:
    """What the effect shows and does, on the logic that it shares with the module's panel.

    It goes on watching the segment while the user draws with another effect, as Slicer's own auto-complete effects do.

    Args:
        scripted_effect: Slicer's `qSlicerSegmentEditorScriptedEffect`.

    Attributes:
        closed: Whether it has ended; the effect then needs another one.
    """

    def __init__(self, scripted_effect: Any) -> None:
        self._effect = scripted_effect
        self._shared = shared()
        self._logic, self._runner = self._shared.logic, self._shared.runner
        self._models: list[ListedModel] = []
        self._chosen: Selection | None = None
        self._writer: EffectWriter | None = None
        self._preview: OpenPreview | None = None
        self._edits: list[SliceEdit] = []
        self._message = self._trouble = self._why_stopped = ""
        self._running = self._propagating = self._redrawn_meanwhile = False
        self.closed = False
        self._watch = SegmentationWatch(self._segment_changed, self._nodes_gone)
        self._editor_watch = EditorWatch(self.update)
        self.widgets = EffectWidgets(scripted_effect)
        self._connect()
        self._auto_timer = qt.QTimer()
        self._auto_timer.singleShot = True
        self._auto_timer.interval = AUTO_DELAY_MS
        self._auto_timer.connect("timeout()", self._auto_propagate)
        self._shortcut: Any = None
        self._runner.listeners.append(self._job_changed)
        self._shared.users.append(self.let_go)
        self.fill_models()

    def _connect(self) -> None:
        widgets = self.widgets
        for button, act in (
            (widgets.start, self.start),
            (widgets.propagate, self.propagate),
            (widgets.apply, self.apply),
            (widgets.discard, self.discard),
        ):
            button.connect("clicked()", partial(self._guarded, act))
        widgets.cancel.connect("clicked()", lambda: self._stop_run(_("Cancelled; nothing was changed.")))
        widgets.show.connect("toggled(bool)", self._show_preview)
        widgets.auto.connect("toggled(bool)", self._auto_toggled)
        widgets.model.connect("currentIndexChanged(int)", lambda index: self.update())
        widgets.second.connect("currentNodeChanged(vtkMRMLNode*)", self._second_volume_chosen)

    # -- the effect's life

    def activate(self) -> None:
        """The effect was selected."""
        self.fill_models()
        if self._shortcut is None and slicer.util.mainWindow() is not None:
            self._shortcut = qt.QShortcut(qt.QKeySequence(SHORTCUT), slicer.util.mainWindow())
            self._shortcut.connect("activated()", partial(self._guarded, self.propagate_or_apply))
        self.update()

    def deactivate(self) -> None:
        """Another effect was selected, as it is to draw; session and preview stay."""
        if self._shortcut is not None:
            self._shortcut.enabled = False
            self._shortcut.deleteLater()
            self._shortcut = None

    def close(self) -> None:
        """The editor ends: nothing stays behind."""
        if self.closed:
            return
        self.closed = True
        self.deactivate()
        self._auto_timer.stop()
        self._watch.stop()
        self._editor_watch.follow(None)
        self._runner.listeners.remove(self._job_changed) if self._job_changed in self._runner.listeners else None
        self._shared.users.remove(self.let_go)
        if self._running:
            self._runner.cancel()
        self._drop_preview()
        self._end_our_session()

    def let_go(self) -> None:
        """The module is reloaded: end, and leave the options frame empty until the effect is selected again."""
        if self._effect.active():
            self._effect.selectEffect("")
        self.close()
        self.widgets.remove()

    def fill_models(self) -> None:
        """List the models again, as the user may have added some in the module."""
        chosen = self.model.path if self.model else None
        loaded = self._logic.loaded.description.path if self._logic.loaded else None
        self._models = ModelList().models()
        paths = [model.path for model in self._models]
        wanted = (loaded, chosen) if self._logic.propagation is not None else (chosen, loaded)
        found = next((path for path in wanted if path in paths), paths[0] if paths else None)
        self.widgets.list_models([model.name for model in self._models], paths.index(found) if found else -1)

    @property
    def model(self) -> ListedModel | None:
        """The chosen model."""
        index = self.widgets.model.currentIndex
        return self._models[index] if 0 <= index < len(self._models) else None

    # -- start

    def start(self) -> None:
        """Load the model if need be, and cache the image around the segment as it is now."""
        model, chosen = self.model, self._require_choice()
        if not is_binary_labelmap(chosen.segmentation_node):
            question = _(
                "'{name}' is stored as contours or surface; to be edited it is converted to voxels. Convert it?"
            )
            if not confirmed(question.format(name=chosen.segmentation_node.GetName())):
                return
            convert_to_binary_labelmap(chosen.segmentation_node, chosen.volume_nodes[0])
        self._watch.start(chosen)
        if self._is_loaded(model):
            self._check()
        else:
            self._launch(self._logic.load_operation(model.path), lambda loaded: self._check())

    def _check(self) -> None:
        chosen = self._require_choice()
        self._logic.select(chosen.volume_nodes, chosen.segmentation_node, chosen.segment_id)
        self._launch(self._logic.check_operation(), self._cache)

    def _cache(self, warnings: list[str]) -> None:
        question = _("Something looks wrong with the volume for this model:\n\n{warnings}\n\nGo on all the same?")
        if warnings and not confirmed(question.format(warnings="\n".join(warnings))):
            return
        self._writer = self._new_writer()
        if self._wants_replay():
            self._launch(self._logic.restore_operation(self._writer), lambda saved: self._ready())
            return
        self._launch(self._logic.predict_operation(self._writer), lambda report: self._ready(report.written))

    def _wants_replay(self) -> bool:
        if self._logic.propagation is not None:
            return False
        try:
            saved = self._logic.saved_session()
        except UserInputError as error:
            show_error(error)
            return False
        question = _("The scene holds {count} propagated edit(s) of this segment. Replay them, to go on from there?")
        return bool(saved and saved.propagations) and confirmed(question.format(count=len(saved.propagations)))

    def _ready(self, predicted: int = 0) -> None:
        self._message = _("Filled with the prediction ({count} voxels).").format(count=predicted) if predicted else ""
        self._find_edits()

    # -- propagate

    def propagate(self) -> None:
        """Propagate what was redrawn, and show it as a preview."""
        if not self._is_ours():
            raise UserInputError("This segment was not started on; press Start, then redraw a slice")
        self._drop_preview()
        self._watch.start(self._logic.selection)
        self._writer = self._new_writer()
        self._logic.use_writer(self._writer)
        self._launch(self._logic.propagate_operation(), self._propagated)
        self._propagating = True

    def _propagated(self, pending: PendingPropagation) -> None:
        selection = self._logic.selection
        if selection is None or not is_there(selection):
            self._logic.discard(pending)
            return
        try:
            self._preview = OpenPreview(self._logic.scene, selection, pending)
        except BaseException:
            self._logic.discard(pending)
            raise
        self.widgets.check(self.widgets.show, True)

    def apply(self) -> None:
        """Write the preview as one undo step; the first Undo takes it back and keeps the drawing."""
        preview = self._preview
        if preview is None:
            raise UserInputError("There is no preview to apply; propagate first")
        if preview.selection != self._choice():
            raise UserInputError("Another segment or volume is selected; select those of the preview, or discard it")
        preview.close()
        self._preview, self._writer = None, self._new_writer()
        try:
            with self._watch.paused():
                self._logic.use_writer(self._writer)
                done = self._logic.apply(preview.pending)
            self._message = "\n".join([done.report.message, *done.result.messages])
        finally:
            self._find_edits()

    def discard(self) -> None:
        """Drop the preview; what was drawn stays."""
        self._drop_preview()
        self._message = _("Discarded; what was drawn stays.")
        self._find_edits()

    def propagate_or_apply(self) -> None:
        """The shortcut: apply the preview if there is one, else propagate."""
        if self._preview is not None:
            self.apply()
        elif not self._runner.busy:
            self.propagate()

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

    # -- runs

    def _launch(self, operation: Operation[Any], then: Callable[[Any], None]) -> None:
        """Run something; what comes next, and what it raises, is handled as for a button."""

        def finished(result: Any) -> None:
            self._running = self._propagating = False
            if not self.closed:
                self._guarded(lambda: then(result))

        self._message = self._why_stopped = ""
        self._runner.start(operation, finished, self._cancelled, self._failed)
        self._running = True

    def _stop_run(self, why: str) -> None:
        self._auto_timer.stop()
        if self._running:
            self._why_stopped = why
        self._runner.cancel()

    def _cancelled(self) -> None:
        self._running = self._propagating = False
        self._message = self._why_stopped
        self._end_our_session() if self.closed else self.update()

    def _failed(self, error: BaseException) -> None:
        self._running = self._propagating = False
        if isinstance(error, ModuleNotFoundError):
            missing = "The Python package '{name}' is missing; open the module Context Propagation to install it"
            error = UserInputError(missing.format(name=error.name))
        if not self.closed:
            show_error(error)
            self.update()

    def _job_changed(self, job: Job | None) -> None:
        if job is not None:
            stage, fraction = job.stage
            words = (_(job.operation.title), stage, _("stopping") if job.cancelled else "")
            self.widgets.progress.value = int(100 * fraction)
            self.widgets.status.text = ": ".join(word for word in words if word)
            self._allow()
            return
        self._free_dead_session()
        if self._redrawn_meanwhile:
            self._redrawn_meanwhile = False
            self._find_edits(after_stroke=True)
        self.update()

    # -- what happens around it

    def _segment_changed(self) -> None:
        """Voxels of the segment were drawn, erased or undone: a preview of before is worth nothing any more."""
        if self._propagating:
            self._stop_run(_("The segment was changed, so the propagation was stopped."))
        if self._runner.busy:
            self._redrawn_meanwhile = True
            return
        self._message = _("The segment was changed, so the preview was dropped.") if self._preview else ""
        self._drop_preview()
        self._find_edits(after_stroke=True)
        self.update()

    def _find_edits(self, after_stroke: bool = False) -> None:
        """Find the redrawn slices, and propagate in a second where the user wants that."""
        self._edits, self._trouble = [], ""
        propagation = self._logic.propagation
        if not self._is_ours() or propagation is None or propagation.busy:
            return
        steps = propagation.done_count
        try:
            self._edits = self._logic.redrawn()
        except UserInputError as error:
            self._trouble = str(error)
        is_undo = propagation.done_count != steps
        if after_stroke and self._edits and self.widgets.auto.checked and not is_undo:
            self._auto_timer.start()
        elif after_stroke:
            self._auto_timer.stop()

    def _auto_propagate(self) -> None:
        if self._runner.busy or self._preview is not None or not self._is_ours():
            return
        try:
            self.propagate()
        except UserInputError as error:  # nobody pressed a button: no dialog
            self._trouble = str(error)
            self.update()

    def _auto_toggled(self, on: bool) -> None:
        self._effect.setParameter(AUTO_PARAMETER, int(on))
        if on and self._edits and self._preview is None:
            self._auto_timer.start()
        elif not on:
            self._auto_timer.stop()

    def _second_volume_chosen(self, node: slicer.vtkMRMLNode | None) -> None:
        if self._node() is not None:
            self._effect.setNodeReference(SECOND_VOLUME, node)
            self.update()

    def _nodes_gone(self) -> None:
        """Segment, segmentation, volume or scene were removed: the session is closed and its memory freed."""
        self._message = _("What was worked on is gone from the scene.")
        self._stop_run(self._message)
        self._drop_preview()
        self._edits, self._trouble = [], ""
        self._free_dead_session()
        self.update()

    def _free_dead_session(self) -> None:
        selection = self._logic.selection
        if self._runner.busy or self._logic.propagation is None or selection is None or is_there(selection):
            return
        self._logic.close_session()

    def _end_our_session(self) -> None:
        """Close a session that could only write through this effect, which has ended."""
        propagation = self._logic.propagation
        if propagation is not None and propagation.writer is self._writer and not self._runner.busy:
            self._logic.close_session()

    # -- widgets

    def update(self) -> None:
        """Bring the options frame in step."""
        if self.closed:
            return
        self._editor_watch.follow(self._node())
        self._show_parameters()
        self._notice_choice()
        propagation = self._logic.propagation
        if self._preview is not None and (propagation is None or propagation.pending is not self._preview.pending):
            self._drop_preview()  # somebody else closed the session
        if not self._runner.busy:
            self.widgets.status.text = "\n".join(text for text in (self._message, self._state()) if text)
        self._allow()

    def _allow(self) -> None:
        fits = self._preview is not None and self._preview.selection == self._choice()
        busy, started = self._runner.busy, self._is_ours()
        self.widgets.allow(Possible(busy, started, self._preview is not None, fits))

    def _show_parameters(self) -> None:
        channels = self.model.description.channels if self.model and self.model.description else ()
        self.widgets.ask_for_second_volume(channels[1] if len(channels) > 1 else "")
        if self._node() is not None and self._effect.parameterDefined(AUTO_PARAMETER):
            self.widgets.check(self.widgets.auto, bool(self._effect.integerParameter(AUTO_PARAMETER)))
            node = self._effect.nodeReference(SECOND_VOLUME)
            if node is not None and node is not self.widgets.second.currentNode():
                self.widgets.second.setCurrentNode(node)

    def _notice_choice(self) -> None:
        """Another segment or volume was selected: what runs is stopped, a preview waits."""
        chosen = self._choice()
        if chosen == self._chosen:
            return
        self._chosen = chosen
        if self._running:
            self._stop_run(_("Another segment or volume was selected, so it was stopped."))
        else:
            self._auto_timer.stop()
            self._find_edits()

    def _state(self) -> str:
        """What can be done next, in words."""
        chosen = self._choice()
        if self._preview is not None:
            selection = self._preview.selection
            if selection == chosen:
                return self._preview.text(self._node().GetOverwriteMode())
            name = segment_name(selection.segmentation_node, selection.segment_id)
            return _("The preview is of '{name}': select it and its volume to apply, or discard.").format(name=name)
        if chosen is None:
            return _("Select a segment and a source volume.")
        if not self._is_ours():
            return _("Press Start before you redraw.")
        if self._trouble:
            return self._trouble
        if not self._edits:
            return _("Redraw a slice with any tool; it is found by itself.")
        return _("Redrawn: {slices}.").format(slices=slices_text(chosen.volume_nodes[0], self._edits))

    # -- parts

    def _node(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        return self._effect.parameterSetNode()

    def _new_writer(self) -> EffectWriter:
        modes = slicer.qSlicerSegmentEditorAbstractEffect
        return EffectWriter(self._effect, modes.ModificationModeAdd, modes.ModificationModeRemove)

    def _choice(self) -> Selection | None:
        """What is selected in the editor; None where that is not complete."""
        node = self._node()
        segmentation, volume = (node.GetSegmentationNode(), node.GetSourceVolumeNode()) if node else (None, None)
        if segmentation is None or volume is None or not node.GetSelectedSegmentID():
            return None
        second = self.widgets.second.currentNode() if self._channel_count() > 1 else None
        volumes = (volume,) if second is None else (volume, second)
        chosen = Selection(volumes, segmentation, node.GetSelectedSegmentID())
        return chosen if is_there(chosen) else None

    def _require_choice(self) -> Selection:
        chosen, model = self._choice(), self.model
        if model is None:
            raise UserInputError("No model is chosen; add one in the module Context Propagation")
        if model.description is None:
            raise UserInputError(model.trouble)
        if chosen is None:
            raise UserInputError("The Segment Editor has no segment or no source volume; select both first")
        if len(chosen.volume_nodes) != self._channel_count():
            names = ", ".join(model.description.channels)
            raise UserInputError(
                f"The model '{model.name}' reads {self._channel_count()} volumes ({names}) and "
                f"{len(chosen.volume_nodes)} is selected; select one volume per channel"
            )
        return chosen

    def _channel_count(self) -> int:
        return len(self.model.description.channels) if self.model and self.model.description else 1

    def _is_loaded(self, model: ListedModel | None) -> bool:
        loaded = self._logic.loaded
        return loaded is not None and model is not None and loaded.description.path == model.path

    def _is_ours(self) -> bool:
        """Whether the session is that of what is selected, with the chosen model."""
        chosen = self._choice()
        ours = self._logic.propagation is not None and chosen is not None and chosen == self._logic.selection
        return ours and self._is_loaded(self.model)

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do what a button says; what it raises is told to the user."""
        try:
            act()
        except Exception as error:  # whatever it is, the user must see it
            show_error(error)
        self.update()
