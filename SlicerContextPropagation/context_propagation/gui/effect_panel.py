"""The options frame of "Propagate Edit": start, propagate, preview, apply or discard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.core.worker import Job
from context_propagation.gui.effect_widgets import EffectWidgets
from context_propagation.gui.messages import confirmed, show_error
from context_propagation.gui.model_list import ListedModel, ModelList
from context_propagation.gui.segmentation_watch import SegmentationWatch
from context_propagation.gui.shared import shared
from context_propagation.mrml.effect_writer import EffectWriter
from context_propagation.mrml.overlaps import lost_by_others
from context_propagation.mrml.preview_node import PropagationPreview
from context_propagation.mrml.propagation_logic import PendingPropagation
from context_propagation.mrml.segments import convert_to_binary_labelmap, is_binary_labelmap

AUTO_PARAMETER = "AutoPropagate"
AUTO_DELAY_MS = 1000
SHORTCUT = "Ctrl+Shift+P"


class EffectPanel:
    """What the effect shows and does, on the logic that it shares with the module's panel.

    It goes on watching the segment while the user draws with another effect, as Slicer's own auto-complete effects do.

    Args:
        scripted_effect: Slicer's `qSlicerSegmentEditorScriptedEffect`.
    """

    def __init__(self, scripted_effect: Any) -> None:
        self._effect = scripted_effect
        self._logic, self._runner = shared().logic, shared().runner
        self._models: list[ListedModel] = []
        self._preview: PropagationPreview | None = None
        self._pending: PendingPropagation | None = None
        self._message = ""
        self._again = False
        self._watch = SegmentationWatch(self._segment_changed, self._nodes_gone)
        self.widgets = EffectWidgets(scripted_effect)
        self._connect()
        self._auto_timer = qt.QTimer()
        self._auto_timer.singleShot = True
        self._auto_timer.interval = AUTO_DELAY_MS
        self._auto_timer.connect("timeout()", self._auto_propagate)
        self._shortcut: Any = None
        self._runner.listeners.append(self._job_changed)
        self.fill_models()

    def _connect(self) -> None:
        widgets = self.widgets
        for button, act in (
            (widgets.start, self.start),
            (widgets.propagate, self.propagate),
            (widgets.apply, self.apply),
            (widgets.discard, self.discard),
        ):
            button.connect("clicked()", self._guarded(act))
        widgets.cancel.connect("clicked()", self._cancel)
        widgets.show.connect("toggled(bool)", self._show_preview)
        widgets.auto.connect("toggled(bool)", self._auto_toggled)
        widgets.model.connect("currentIndexChanged(int)", lambda index: self.update())

    # -- the effect's life

    def activate(self) -> None:
        """The effect was selected."""
        self.fill_models()
        if self._shortcut is None and slicer.util.mainWindow() is not None:
            self._shortcut = qt.QShortcut(qt.QKeySequence(SHORTCUT), slicer.util.mainWindow())
            self._shortcut.connect("activated()", self._guarded(self.propagate_or_apply))
        self.update()

    def deactivate(self) -> None:
        """Another effect was selected, as it is to draw; session and preview stay."""
        if self._shortcut is not None:
            self._shortcut.enabled = False
            self._shortcut.deleteLater()
            self._shortcut = None

    def cleanup(self) -> None:
        """The editor ends: nothing stays behind."""
        self.deactivate()
        self._auto_timer.stop()
        self._watch.stop()
        if self._job_changed in self._runner.listeners:
            self._runner.listeners.remove(self._job_changed)
        if self._pending is not None or self._is_ours():
            self._runner.cancel()
        self._forget_pending()

    def fill_models(self) -> None:
        """List the models again, as the user may have added some in the module."""
        chosen = self.model.path if self.model else None
        self._models = ModelList().models()
        box = self.widgets.model
        blocked = box.blockSignals(True)
        box.clear()
        box.addItems([model.name for model in self._models])
        loaded = self._logic.loaded.description.path if self._logic.loaded else None
        paths = [model.path for model in self._models]
        wanted = next((path for path in (chosen, loaded) if path in paths), paths[0] if paths else None)
        box.setCurrentIndex(paths.index(wanted) if wanted else -1)
        box.blockSignals(blocked)

    @property
    def model(self) -> ListedModel | None:
        """The chosen model."""
        index = self.widgets.model.currentIndex
        return self._models[index] if 0 <= index < len(self._models) else None

    # -- actions

    def start(self) -> None:
        """Load the model if need be, and cache the image around the segment as it is now."""
        loaded, model = self._logic.loaded, self.model
        if model is None:
            raise UserInputError("No model is chosen; add one in the module Context Propagation")
        if loaded is None or loaded.description.path != model.path:
            self._runner.start(self._logic.load_operation(model.path), lambda loaded: self._guarded(self._set_image)())
            return
        self._set_image()

    def _set_image(self) -> None:
        node = self._node()
        segmentation, volume = node.GetSegmentationNode(), node.GetSourceVolumeNode()
        if segmentation is None or volume is None or not node.GetSelectedSegmentID():
            raise UserInputError("The Segment Editor has no segment or no source volume; select both first")
        question = _("'{name}' is stored as contours or surface; to be edited it is converted to voxels. Convert it?")
        if not is_binary_labelmap(segmentation):
            if not confirmed(question.format(name=segmentation.GetName())):
                return
            convert_to_binary_labelmap(segmentation, volume)
        self._logic.select(self._volumes(volume), segmentation, node.GetSelectedSegmentID())
        warnings = self._logic.warnings()
        question = _("Something looks wrong with the volume for this model:\n\n{warnings}\n\nGo on all the same?")
        if warnings and not confirmed(question.format(warnings="\n".join(warnings))):
            return
        saved, fresh = self._logic.saved_session(), self._logic.propagation is None
        question = _("The scene holds {count} propagated edit(s) of this segment. Replay them, to go on from there?")
        if fresh and saved and saved.propagations and confirmed(question.format(count=len(saved.propagations))):
            operation: Any = self._logic.restore_operation(self._writer())
        else:
            operation = self._logic.predict_operation(self._writer())
        self._runner.start(operation, self._started, self.update)

    def _started(self, result: Any) -> None:
        selection = self._logic.selection
        assert selection is not None  # the operation has just used it
        self._watch.start(selection.segmentation_node)
        self._say(_("Ready. Redraw a slice with any tool; it is found by itself."))

    def propagate(self) -> None:
        """Propagate what was redrawn, and show it as a preview."""
        self._require_session()
        self._forget_pending()
        self._logic.use_writer(self._writer())
        self._runner.start(self._logic.propagate_operation(), self._propagated, self._run_ended)

    def apply(self) -> None:
        """Write the preview as one undo step; the first Undo takes it back and keeps the drawing."""
        pending = self._pending
        if pending is None:
            raise UserInputError("There is no preview to apply; propagate first")
        self._pending = None
        self._close_preview()
        with self._watch.paused():
            self._logic.use_writer(self._writer())
            done = self._logic.apply(pending)
        self._say("\n".join([done.report.message, *done.result.messages]))

    def discard(self) -> None:
        """Drop the preview; what was drawn stays."""
        self._forget_pending()
        self._say(_("Discarded; what was drawn stays."))

    def propagate_or_apply(self) -> None:
        """The shortcut: apply the preview if there is one, else propagate."""
        if self._pending is not None:
            self.apply()
        elif not self._runner.busy:
            self.propagate()

    def _cancel(self) -> None:
        self._again = False
        self._runner.cancel()

    def _propagated(self, pending: PendingPropagation) -> None:
        selection = self._logic.selection
        assert selection is not None  # the operation has just used it
        result, volume = pending.result, selection.volume_nodes[0]
        if volume.GetScene() is None or selection.segmentation_node.GetScene() is None:
            self._logic.discard(pending)
            self._nodes_gone()
            return
        added, removed = result.changed & result.segmentation, result.changed & ~result.segmentation
        self._pending = pending
        self._preview = PropagationPreview(self._logic.scene, volume, added, removed)
        blocked = self.widgets.show.blockSignals(True)
        self.widgets.show.checked = True
        self.widgets.show.blockSignals(blocked)
        mode = self._node().GetOverwriteMode()
        lost = lost_by_others(selection.segmentation_node, selection.segment_id, volume, added, mode)
        self._say(_what_changes(pending, int(added.sum()), int(removed.sum()), lost))
        self._run_ended()

    def _run_ended(self) -> None:
        """After a run, cancelled or not: the segment may have been drawn in meanwhile."""
        if self._again:
            self._again = False
            self._segment_changed()
        self.update()

    # -- what happens around it

    def _segment_changed(self) -> None:
        """Voxels were drawn or undone: a preview of before is worth nothing any more."""
        if self._runner.busy:
            if self._is_ours():
                self._again = True
                self._runner.cancel()
            return
        if self._pending is not None:
            self._forget_pending()
            self._message = _("The segment was changed, so the preview was dropped.")
        if self.widgets.auto.checked and self._is_ours():
            self._auto_timer.start()
        self.update()

    def _auto_propagate(self) -> None:
        if self._runner.busy or self._pending is not None or not self._is_ours():
            return
        try:
            self.propagate()
        except UserInputError as error:
            self._say(str(error))  # nobody pressed a button: no dialog

    def _auto_toggled(self, on: bool) -> None:
        self._effect.setParameter(AUTO_PARAMETER, int(on))
        if on:
            self._segment_changed()
        else:
            self._auto_timer.stop()

    def _nodes_gone(self) -> None:
        """Segment, segmentation, volume or scene were removed: the session is closed and its memory freed."""
        self._auto_timer.stop()
        self._again = False
        self._runner.cancel()
        self._watch.stop()
        self._pending = None
        self._close_preview()
        if not self._runner.busy:
            self._logic.close_session()
        self._say(_("What was worked on is gone from the scene."))

    def _job_changed(self, job: Job | None) -> None:
        if job is not None:
            stage, fraction = job.stage
            self.widgets.progress.value = int(100 * fraction)
            words = (_(job.operation.title), stage, _("stopping") if job.cancelled else "")
            self.widgets.status.text = ": ".join(word for word in words if word)
        elif not self._watch.alive and self._logic.propagation is not None and not self._selection_lives():
            self._logic.close_session()
        self.update_buttons()

    # -- widgets

    def update(self) -> None:
        """Bring the options frame in step."""
        if self._effect.parameterSetNode() is None:
            return
        auto = bool(self._effect.integerParameter(AUTO_PARAMETER))
        if self.widgets.auto.checked != auto:
            self.widgets.auto.checked = auto
        model = self.model
        channels = model.description.channels if model and model.description else ()
        self.widgets.show_second_volume(channels[1] if len(channels) > 1 else "")
        if not self._runner.busy:
            self.widgets.status.text = self._message or _("Press Start before you redraw.")
        self.update_buttons()

    def update_buttons(self) -> None:
        """Enable what can be done now."""
        widgets, busy, ours = self.widgets, self._runner.busy, self._is_ours()
        widgets.start.enabled = not busy and self._pending is None
        widgets.start.text = _("Start again") if ours else _("Start")
        widgets.propagate.enabled = ours and not busy and self._pending is None
        widgets.apply.enabled = widgets.discard.enabled = widgets.show.enabled = self._pending is not None and not busy
        widgets.cancel.visible = widgets.progress.visible = busy

    def _say(self, message: str) -> None:
        self._message = message
        self.update()

    def _show_preview(self, on: bool) -> None:
        if self._preview is not None:
            self._preview.shown = on

    # -- parts

    def _node(self) -> slicer.vtkMRMLSegmentEditorNode:
        return self._effect.parameterSetNode()

    def _writer(self) -> EffectWriter:
        modes = slicer.qSlicerSegmentEditorAbstractEffect
        return EffectWriter(self._effect, modes.ModificationModeAdd, modes.ModificationModeRemove)

    def _volumes(self, first: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLScalarVolumeNode]:
        second = self.widgets.second_volume()
        return [first] if second is None else [first, second]

    def _is_ours(self) -> bool:
        """Whether the session is that of the editor's selected segment."""
        selection, node = self._logic.selection, self._node()
        return bool(
            node is not None
            and self._logic.propagation is not None
            and selection is not None
            and selection.segmentation_node is node.GetSegmentationNode()
            and selection.segment_id == node.GetSelectedSegmentID()
            and selection.volume_nodes[0] is node.GetSourceVolumeNode()
        )

    def _selection_lives(self) -> bool:
        selection = self._logic.selection
        nodes = (selection.segmentation_node, *selection.volume_nodes) if selection else ()
        return bool(nodes) and all(node.GetScene() is not None for node in nodes)

    def _require_session(self) -> None:
        if not self._is_ours():
            raise UserInputError("This segment was not started on; press Start, then redraw a slice")
        if not self._watch.alive:
            self._watch.start(self._node().GetSegmentationNode())

    def _forget_pending(self) -> None:
        pending, self._pending = self._pending, None
        self._close_preview()
        if pending is not None and self._logic.propagation is not None:
            self._logic.discard(pending)

    def _close_preview(self) -> None:
        if self._preview is not None:
            self._preview.close()
            self._preview = None

    def _guarded(self, act: Callable[[], None]) -> Callable[[], None]:
        """An action of a button: what it raises is told to the user."""

        def guarded() -> None:
            try:
                act()
            except Exception as error:  # whatever it is, the user must see it
                show_error(error)
            self.update()

        return guarded


def _what_changes(pending: PendingPropagation, added: int, removed: int, lost: dict[str, int]) -> str:
    """What Apply would do, in a few lines."""
    result = pending.result
    drawn = ", ".join(str(edit.index) for edit in pending.edits)
    lines = [_("Redrawn: slice {slices}; kept exactly.").format(slices=drawn)]
    if result.changed_per_slice:
        first, last = min(result.changed_per_slice), max(result.changed_per_slice)
        lines.append(
            _("Changes {count} slices ({first} to {last}): {added} voxels more, {removed} less; {scope}.").format(
                count=len(result.changed_per_slice),
                first=first,
                last=last,
                added=added,
                removed=removed,
                scope=result.scope,
            )
        )
    else:
        lines.append(_("Changes nothing else."))
    lines += [_("'{name}' would lose {count} voxels.").format(name=name, count=count) for name, count in lost.items()]
    return "\n".join([*lines, *result.messages])
