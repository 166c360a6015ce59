"""The widgets in the options frame of "Propagate Edit"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.gui.effect.effect_keys import SHORTCUT
from context_propagation.gui.slice_keys import CONFIRM
from context_propagation.gui.texts import memory_text, plane_choices, progress_words
from context_propagation.gui.work.progress_bar import show_fraction
from context_propagation.gui.work.visibility import set_visible
from context_propagation.gui.work.worker import Job

if TYPE_CHECKING:
    from context_propagation.core.session.forecast import MemoryForecast


NARROWEST = 90
"""Pixels that a list needs at least."""


@dataclass(frozen=True)
class Possible:
    """What can be done now.

    Attributes:
        busy: Something runs.
        started: The segment's image is cached.
        pending: A propagation waits to be applied or discarded, here or in another editor.
        preview: Its preview is open here.
        preview_fits: It is of the segment and volume that are selected.
    """

    busy: bool
    started: bool
    pending: bool
    preview: bool
    preview_fits: bool


class EffectWidgets:
    """Made once, when the editor sets the effect up.

    Args:
        scripted_effect: Slicer's `qSlicerSegmentEditorScriptedEffect`.
    """

    def __init__(self, scripted_effect: Any) -> None:
        self._frame = qt.QWidget()
        self._form = qt.QFormLayout(self._frame)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._add_selectors()
        self._make_buttons()
        self._make_boxes()
        self._make_progress()
        self._add_row(self.start, self.propagate)
        self._add_row(self.apply, self.discard)
        self._add_row(self.confirm)
        self._add_row(self.show, self.auto)
        self._add_row(self.progress, self.enough, self.cancel)
        self._form.addRow(self.status)
        scripted_effect.addOptionsWidget(self._frame)

    def _add_selectors(self) -> None:
        self.model = qt.QComboBox()
        self._add_labeled(
            _("Model:"), self.model, _("The frozen network. Add models in the module Context Propagation.")
        )
        self.second = _second_volume_selector()
        self._second_label = self._add_labeled("", self.second, _("The model's second channel, on the volume's grid."))
        self.plane = qt.QComboBox()
        self.plane.addItems(plane_choices())
        self._add_labeled(
            _("Redrawn in:"), self.plane, _("The plane of redrawn slices. Choose it if it is not found by itself.")
        )
        for selector in (self.model, self.second, self.plane):
            selector.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)  # long names do not widen the panel
            selector.minimumWidth = NARROWEST

    def _make_buttons(self) -> None:
        self.start = _button(
            _("Start"), _("Prepare the image around the segment as it is now. An empty segment is predicted.")
        )
        self.propagate = _button(
            _("Propagate"),
            _("Carry the redrawn slices through the volume, as a preview first ({shortcut}).").format(
                shortcut=SHORTCUT
            ),
        )
        self.apply = _button(
            _("Apply"),
            _("Write the preview ({shortcut}). One Undo takes it back and keeps the drawing.").format(
                shortcut=SHORTCUT
            ),
        )
        self.discard = _button(_("Discard"), _("Drop the preview. What was drawn stays."))
        self.confirm = _button(
            _("Confirm slice"),
            _(
                "The slice in view is right as it is: no propagation changes it ({shortcut}). While a preview is open, "
                "it is left out of it; press again to take it in. Click a colored region to leave out that alone."
            ).format(shortcut=CONFIRM),
        )
        self.cancel = _button(_("Cancel"), _("Stop at the next step of the network. Nothing is changed."))
        self.enough = _button(
            _("Stop here"),
            _("Take the best result so far, where the network needs long. It is a preview, as any other."),
        )

    def _make_boxes(self) -> None:
        self.show = _check_box(
            _("Show result"), _("On: green would be added, red removed. Off: the segment as it was drawn.")
        )
        self.show.checked = True
        self.auto = _check_box(
            _("Propagate by itself"),
            _("Propagate one second after the last stroke of any tool. It is still a preview."),
        )

    def _make_progress(self) -> None:
        self.progress = qt.QProgressBar()
        self.progress.maximum = 100
        self.progress.toolTip = _("How much of this stage is done.")
        self.status = qt.QLabel()
        self.status.wordWrap = True
        self.status.textFormat = qt.Qt.PlainText  # names of segments are shown as they are
        self.status.toolTip = _("What was redrawn, and what would change.")

    def remove(self) -> None:
        """Take all of them out of the options frame."""
        set_visible(False, self._frame)
        self._frame.setParent(None)
        self._frame.deleteLater()

    def list_models(self, names: list[str], chosen: int) -> None:
        """Fill the list of models, and tell no one."""
        blocked = self.model.blockSignals(True)
        self.model.clear()
        self.model.addItems(names)
        self.model.setCurrentIndex(chosen)
        self.model.blockSignals(blocked)

    def ask_for_second_volume(self, channel: str) -> None:
        """Offer a second volume under this name, or hide it where the name is empty."""
        set_visible(bool(channel), self.second, self._second_label)
        self._second_label.text = _("Volume ({name}):").format(name=channel)

    def allow(self, possible: Possible) -> None:
        """Enable what can be done now."""
        idle = not possible.busy
        self.model.enabled = self.second.enabled = self.start.enabled = idle and not possible.pending
        self.start.text = _("Start again") if possible.started else _("Start")
        self.propagate.enabled = idle and possible.started and not possible.pending
        self.apply.enabled = idle and possible.preview and possible.preview_fits
        self.discard.enabled = idle and possible.pending
        self.confirm.enabled = idle and (possible.preview_fits or (possible.started and not possible.pending))
        self.show.enabled = idle and possible.preview
        set_visible(possible.busy, self.progress, self.cancel)
        if not possible.busy:
            set_visible(False, self.enough)

    def show_progress(self, job: Job, memory: MemoryForecast | None) -> None:
        """Show what runs, its stage, how much of that is done, and the memory that caching needs."""
        show_fraction(self.progress, job.stage[1])
        set_visible(job.settles, self.enough)
        lines = [": ".join(progress_words(job))]
        if memory is not None:
            lines.append(_("Memory: {text}.").format(text=memory_text(memory)))
        self.status.text = "\n".join(lines)

    def check(self, box: Any, on: bool) -> None:
        """Set a check box, and tell no one."""
        blocked = box.blockSignals(True)
        box.checked = on
        box.blockSignals(blocked)

    def _add_labeled(self, text: str, widget: Any, tool_tip: str) -> Any:
        label = qt.QLabel(text)
        label.toolTip = widget.toolTip = tool_tip
        self._form.addRow(label, widget)
        return label

    def _add_row(self, *widgets: Any) -> None:
        row = qt.QHBoxLayout()
        for widget in widgets:
            row.addWidget(widget)
        self._form.addRow(row)


def _second_volume_selector() -> Any:
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.addEnabled = selector.removeEnabled = False
    selector.setMRMLScene(slicer.mrmlScene)
    return selector


def _button(text: str, tool_tip: str) -> Any:
    button = qt.QPushButton(text)
    button.toolTip = tool_tip
    return button


def _check_box(text: str, tool_tip: str) -> Any:
    box = qt.QCheckBox(text)
    box.toolTip = tool_tip
    return box
