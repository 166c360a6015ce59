"""The widgets in the options frame of "Propagate Edit"."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


class EffectWidgets:
    """Made once, when the editor sets the effect up.

    Args:
        scripted_effect: Slicer's `qSlicerSegmentEditorScriptedEffect`.
    """

    def __init__(self, scripted_effect: Any) -> None:
        self.model = qt.QComboBox()
        self.model.toolTip = _("The frozen network. Models are added in the module Context Propagation.")
        scripted_effect.addLabeledOptionsWidget(_("Model:"), self.model)
        self._second = slicer.qMRMLNodeComboBox()
        self._second.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self._second.noneEnabled = True
        self._second.addEnabled = self._second.removeEnabled = False
        self._second.setMRMLScene(slicer.mrmlScene)
        self._second.toolTip = _("The model's second channel, on the grid of the source volume: the PET.")
        self._second_label = scripted_effect.addLabeledOptionsWidget(_("Second volume:"), self._second)
        self.start = _button(_("Start"), _("Cache the image around the segment as it is now. Then redraw a slice."))
        self.propagate = _button(_("Propagate"), _("Carry the redrawn slices through the volume, as a preview first."))
        self.apply = _button(_("Apply"), _("Write the preview. One Undo takes it back and keeps the drawing."))
        self.discard = _button(_("Discard"), _("Drop the preview. What was drawn stays."))
        self.cancel = _button(_("Cancel"), _("Stop within one evaluation of the network. Nothing is changed."))
        self.show = qt.QCheckBox(_("Show result"))
        self.show.checked = True
        self.show.toolTip = _("Preview on: green would be added, red removed. Off: the segment as it was drawn.")
        self.auto = qt.QCheckBox(_("Propagate by itself"))
        self.auto.toolTip = _("One second after the last stroke, with any tool. The result is a preview all the same.")
        self.progress = qt.QProgressBar()
        self.progress.maximum = 100
        self.status = qt.QLabel()
        self.status.wordWrap = True
        for row in (
            (self.start, self.propagate),
            (self.apply, self.discard, self.show),
            (self.progress, self.cancel),
            (self.auto,),
        ):
            layout = qt.QHBoxLayout()
            for widget in row:
                layout.addWidget(widget)
            scripted_effect.addOptionsWidget(layout)
        scripted_effect.addOptionsWidget(self.status)

    def show_second_volume(self, channel: str) -> None:
        """Offer a second volume under this name, or hide it where the name is empty."""
        self._second.visible = self._second_label.visible = bool(channel)
        if channel:
            self._second_label.text = _("Volume ({name}):").format(name=channel)

    def second_volume(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The second volume, where the model reads one."""
        return None if self._second.isHidden() else self._second.currentNode()


def _button(text: str, tool_tip: str) -> Any:
    button = qt.QPushButton(text)
    button.toolTip = tool_tip
    return button
