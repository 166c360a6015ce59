"""Several lesions: confirmed slices, a part of a preview, switching, doubt, a missed lesion, the journal."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from holds.user import EFFECT, User, nothing


class Lesions(User):
    """Three segments of one CT, the last one empty."""

    def work(self) -> None:
        """All steps, in their order."""
        self.load_the_case()
        self.start_two_lesions()
        self.confirm_in_the_panel()
        self.switch()
        self.look_at_doubt()
        self.draw_a_missed_lesion()
        self.take_a_part_of_a_preview()
        self.crash()

    def load_the_case(self) -> None:
        """A CT, and a segmentation on it."""
        from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

        self.load_ct()
        self._node = add_segmentation(self.application.scene, self.ct, "Lesions")
        self._ids = [
            add_segment_from_mask(self._node, np.roll(self.truth, (number, shift), axis=(0, 2)), self.ct, name)
            for number, (name, shift) in enumerate((("A", 3), ("B", -3)))
        ]
        self.open_editor()
        self.open_module()
        self.ui.firstVolumeSelector.setCurrentNode(self.ct)
        self.ui.segmentSelector.setCurrentNode(self._node)

    def choose(self, number: int) -> None:
        """A lesion, at *Segment:*."""
        self.ui.segmentSelector.setCurrentSegmentID(self._ids[number])

    def start_two_lesions(self) -> None:
        """The second one shares the image's features with the first."""
        for number, name in enumerate(("the first lesion", "a second lesion")):
            self.not_timed(partial(self.choose, number))
            self.step(f"panel: Predict on {name}", self.ui.predictButton.click)
        self.not_timed(partial(self.choose, 0))
        self.edit(self._node, self._ids[0])

    def confirm_in_the_panel(self) -> None:
        """Propagate, confirm a slice, take that back, and confirm all that changed."""
        ui, step = self.ui, self.step
        self.not_timed(partial(self.stroke, 0))
        self.not_timed(ui.propagateButton.click)
        assert self.logic.propagation.done_count == 1, ui.stateLabel.text
        self.look_at(4)
        step("panel: Confirm slice", ui.confirmButton.click)
        step("panel: Undo of it", ui.undoButton.click)
        step("panel: Confirm changed", ui.confirmChangedButton.click)
        assert self.logic.propagation.done_count == 2, ui.stateLabel.text

    def switch(self) -> None:
        """From one lesion to the other and back."""
        for number in (1, 0):
            self.step("panel: choose another segment", partial(self.choose, number))
            assert self.logic.selection.segment_id == self._ids[number]
        for number in (1, 0):
            self.step("panel: click a lesion in the table", partial(self.ui.lesionsTable.cellClicked, number, 0))
            assert self.logic.selection.segment_id == self._ids[number]

    # -- doubt

    def look_at_doubt(self) -> None:
        """By keys, over the slice views, as volumes, and along the slices."""
        import slicer

        ui, step = self.ui, self.step
        layout = slicer.app.layoutManager()
        for name in layout.sliceViewNames():
            layout.sliceWidget(name).mrmlSliceCompositeNode().SetBackgroundVolumeID(self.ct.GetID())
        following, previous, _ = self.module.panel.doubt._keys._shortcuts
        for name, key in (("next", following), ("next", following), ("previous", previous)):
            step(f"key: {name} suggested slice", partial(key._qt.activated.emit))
        step("strip: move the slider", partial(ui.stripSlider.setValue, self.index(7)))
        step("strip: scroll in a slice view", partial(self.look_at, 3))
        self.show("panel: show the probability", 1)
        self.not_timed(partial(self.stroke, 3))
        step("panel: Propagate, the probability follows", ui.propagateButton.click, self.is_shown)
        step("panel: another segment, the probability follows", partial(self.choose, 1), self.is_shown)
        self.not_timed(partial(self.choose, 0))
        self.show("panel: show the uncertainty", 2)
        step("panel: show nothing", partial(ui.overlaySelector.setCurrentIndex, 0))
        step("panel: Add as volumes", ui.addVolumesButton.click)

    def show(self, name: str, choice: int) -> None:
        """Over the slice views."""
        self.step(name, partial(self.ui.overlaySelector.setCurrentIndex, choice), self.is_shown)

    def is_shown(self) -> bool:
        """Whether what is shown is up to date."""
        return self.idle() and not self.module.panel.doubt._wanted and self.logic.maps.are_up_to_date

    # -- a missed lesion

    def draw_a_missed_lesion(self) -> None:
        """One slice of an empty segment, propagated."""
        ui, step = self.ui, self.step
        self._ids.append(self._node.GetSegmentation().AddEmptySegment("", "missed"))
        step("panel: choose an empty segment", partial(self.choose, 2))
        self.application.answers.append(True)
        step("panel: Predict, for a missed lesion", ui.predictButton.click)
        assert "Draw one slice of the lesion" in ui.stateLabel.text, ui.stateLabel.text
        self.edit(self._node, self._ids[2])
        self.stroke(0)
        step("panel: after the first slice of it", nothing)
        step("panel: Propagate it", ui.propagateButton.click)
        assert self.logic.propagation.done_count == 1, ui.stateLabel.text

    # -- a part of a preview

    def take_a_part_of_a_preview(self) -> None:
        """A slice and a region are left out, and put back; what is left is applied. Another lesion is selected."""
        step, widgets = self.step, self.effect.widgets
        self.edit(self._node, self._ids[1])
        self.module.exit()
        self.not_timed(lambda: self.editor.setActiveEffect(EFFECT))
        self.look_at(-6)
        step("effect: Confirm slice", widgets.confirm.click)
        self.not_timed(partial(self.stroke, 0))
        self.not_timed(widgets.propagate.click)
        assert self.effect._preview is not None, widgets.status.text
        index, ras = self.a_change()
        self.look_at(index - self.index(0))
        step("effect: leave a slice out of the preview", widgets.confirm.click)
        step("effect: put it back", widgets.confirm.click)
        step("effect: leave a region out of the preview", partial(self.effect.clicked, ras))
        assert "regions: 1" in widgets.status.text, widgets.status.text
        step("effect: put it back, by a click", partial(self.effect.clicked, ras))
        self.not_timed(widgets.confirm.click)
        step("effect: Apply the rest", widgets.apply.click)
        for number in (0, 1):
            step("effect: select another segment", partial(self.editor.selectSegment, self._ids[number]))
            assert self.logic.selection.segment_id == self._ids[number]
        self.editor.setActiveEffect(None)
        self.module.enter()

    def a_change(self) -> tuple[int, Any]:
        """The slice that the preview changes most, but for the drawn one, and where in the world it does, RAS."""
        from context_propagation.mrml.nodes.world_matrices import volume_ijk_to_world

        result = self.effect._preview.pending.result
        per_slice = dict(result.changed_per_slice)
        index = max(per_slice, key=per_slice.get)
        j, i = np.argwhere(result.changed[index])[0]
        return index, (volume_ijk_to_world(self.ct) @ [i, j, index, 1.0])[:3]

    # -- the end of Slicer

    def crash(self) -> None:
        """What a Slicer that died left is offered, brought back, and forgotten."""
        from dead_slicer import leave_behind
        from holds.large_case import add_ct

        ui, step = self.ui, self.step
        step("panel: Copy problem report", ui.problemReportButton.click)
        self.logic.journal.forget()  # of all three; what follows is kept of the one in use
        self.stroke(5)
        step("journal: keep a stroke", self.logic.keep_drawn)
        left = leave_behind(self.logic)
        self.not_timed(lambda: self.application.scene.Clear(False))
        self.ct = add_ct(self.application.scene, self.voxels)
        ui.firstVolumeSelector.setCurrentNode(self.ct)
        ui.segmentSelector.setCurrentNode(None)
        self.application.answers[:] = [True]
        step("panel: Predict, brought back after a crash", ui.predictButton.click)
        assert "Brought back" in ui.stateLabel.text, ui.stateLabel.text
        assert not left.exists()
        leave_behind(self.logic, 1)
        self.module.panel.update()
        self.application.answers[:] = [True]
        step("panel: Forget what was kept", ui.forgetJournalButton.click)
        assert not self.logic.journal.left_behind
