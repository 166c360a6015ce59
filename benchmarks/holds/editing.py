"""The first steps: start, predict, redraw, propagate, undo, in effect and panel."""

from __future__ import annotations

from functools import partial

import numpy as np

from holds.large_case import add_whole_grid_segment
from holds.user import EFFECT, User, at_once, nothing


class Editing(User):
    """A segment that fills the whole grid, as after an import, in the effect; a predicted one in the panel."""

    def work(self) -> None:
        """All steps, in their order."""
        self.choose_the_effect()
        self.load_the_case()
        self.use_the_effect()
        self.use_the_panel()

    def choose_the_effect(self) -> None:
        """For the first time in this process."""
        self.turns.step("open the Segment Editor", self.open_editor, at_once)
        self.turns.step("choose the effect", lambda: self.editor.setActiveEffect(EFFECT), self.idle, 0.5)
        self.editor.setActiveEffect(None)

    def load_the_case(self) -> None:
        """A CT, and a segmentation on it."""
        from context_propagation.mrml.nodes.segments import add_segmentation

        self.load_ct()
        self._segmentation = add_segmentation(self.application.scene, self.ct, "Segmentation")
        first = np.roll(self.truth, 3, axis=2)
        self.edit(self._segmentation, add_whole_grid_segment(self._segmentation, first, self.ct, "GTV"))

    def use_the_effect(self) -> None:
        """Start, redraw, propagate, look, apply, undo, redo, discard, cancel."""
        step, editor = partial(self.turns.step, until=self.idle), self.editor
        step("choose the effect again", lambda: editor.setActiveEffect(EFFECT))
        panel, widgets = self.effect, self.effect.widgets
        step("effect: Start", widgets.start.click)
        self.stroke(0)
        step("effect: after a stroke", nothing)
        step("effect: Propagate", widgets.propagate.click)
        assert panel._preview is not None, widgets.status.text
        step("effect: hide the preview", lambda: setattr(widgets.show, "checked", False))
        step("effect: show the preview", lambda: setattr(widgets.show, "checked", True))
        step("effect: Apply", widgets.apply.click)
        step("effect: the editor's Undo", editor.undo)
        step("effect: the editor's Redo", editor.redo)
        self.stroke(2)
        step("effect: after a second stroke", nothing)
        step("effect: Propagate again", widgets.propagate.click)
        step("effect: Discard", widgets.discard.click)
        step("effect: Propagate, cancelled", lambda: (widgets.propagate.click(), widgets.cancel.click()))

    def use_the_panel(self) -> None:
        """Predict into a new segmentation, redraw, propagate, undo, redo, go to the other lesion and back, leave, come
        back, close the scene.
        """
        step = self.step
        step("open the module", self.open_module)
        ui = self.ui
        ui.firstVolumeSelector.setCurrentNode(self.ct)
        ui.segmentSelector.setCurrentNode(None)
        step("panel: Predict", ui.predictButton.click)
        selection = self.logic.selection
        self.editor.setActiveEffect(None)
        self.edit(selection.segmentation_node, selection.segment_id)
        self.stroke(0)
        step("panel: after a stroke", nothing)
        step("panel: Propagate", ui.propagateButton.click)
        assert self.logic.propagation.done_count == 1, ui.stateLabel.text
        step("panel: Undo", ui.undoButton.click)
        step("panel: Redo", ui.redoButton.click)
        for node in (self._segmentation, selection.segmentation_node):
            step("panel: choose another lesion", partial(ui.segmentSelector.setCurrentNode, node))
            assert self.logic.selection.segmentation_node is node, ui.stateLabel.text
        step("panel: nothing for two looks", nothing)
        self.turns.step("leave the module", self.module.exit, self.idle)
        step("enter the module", self.module.enter)
        step("panel: Predict again", ui.predictButton.click)
        self.turns.step("close the scene", lambda: self.application.scene.Clear(False), self.idle)
