"""Out of Slicer: DICOM files, and the page for the record."""

from __future__ import annotations

from functools import partial

import numpy as np

from holds.large_case import SPACING_IJK_MM, large_blobs
from holds.user import User

ORGANS = 2


class Export(User):
    """A clinic's case: a DICOM series, and a segmentation of a GTV and two large organs."""

    def work(self) -> None:
        """All steps, in their order."""
        self.load_the_case()
        self.export()
        self.summarise()

    def load_the_case(self) -> None:
        """A CT as its DICOM files are, and a segmentation."""
        from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation
        from dicom_files import Geometry, write_ct_series

        self.load_ct()
        spacing = SPACING_IJK_MM
        lies = Geometry((spacing[1], spacing[0]), spacing[2], origin=(0.0, 0.0, 0.0))
        self._series = write_ct_series(self.folder / "series", self.voxels, lies)
        self._node = add_segmentation(self.application.scene, self.ct, "Clinic")
        self._gtv = add_segment_from_mask(self._node, np.roll(self.truth, 3, axis=2), self.ct, "GTV")
        for number, blob in enumerate(large_blobs(self.shape_kji, ORGANS)):
            add_segment_from_mask(self._node, blob, self.ct, f"Organ {number}")
        self.open_editor()
        self.open_module()
        self.ui.firstVolumeSelector.setCurrentNode(self.ct)
        self.ui.segmentSelector.setCurrentNode(self._node)
        self.ui.segmentSelector.setCurrentSegmentID(self._gtv)

    def export(self) -> None:
        """Each format twice, as the first one imports what it needs; then all segments."""
        ui, step = self.ui, self.step
        self.module.panel.exports.ask_path = lambda suggested, kinds: str(self.folder / suggested.name)
        step("panel: open Export", partial(setattr, ui.exportSection, "collapsed", False))
        ui.seriesFolder.currentPath = str(self._series.folder)
        for number, name in enumerate(("RT Structure Set", "DICOM segmentation")):
            ui.exportFormatSelector.setCurrentIndex(number)
            ui.exportSegmentsSelector.setCurrentIndex(0)
            for time in ("the first time", "again"):
                step(f"panel: Export, {name}, {time}", ui.exportButton.click)
                assert "written to" in ui.exportedLabel.text, ui.exportedLabel.text
            ui.exportSegmentsSelector.setCurrentIndex(1)
            step(f"panel: Export, {name}, {ORGANS + 1} segments", ui.exportButton.click)
            assert "Organ 1" in ui.exportedLabel.text, ui.exportedLabel.text

    def summarise(self) -> None:
        """Of one propagated edit."""
        import qt

        ui = self.ui
        self.not_timed(ui.predictButton.click)
        self.edit(self._node, self._gtv)
        self.not_timed(partial(self.stroke, 0))
        self.not_timed(ui.propagateButton.click)
        ui.measureSection.collapsed = False
        qt.QFileDialog.getSaveFileName = lambda *_: str(self.folder / "case.html")
        for time in ("the first time", "again"):
            self.step(f"panel: Case summary, {time}", ui.summaryButton.click)
            assert "case.html" in ui.summaryLabel.text
