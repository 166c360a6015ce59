"""The segment leaves Slicer as an RT Structure Set and as a DICOM segmentation, and belongs to its series."""

import numpy as np
import slicer

from app_dicom import heights_of, slices_of, write_case
from app_panel import PanelTestCase, wait
from app_user import choose_node, click, process_events
from app_volumes import add_segmentation


class AppExportTest(PanelTestCase):
    def setUp(self):
        super().setUp()
        self.needs_packages("pydicom", "highdicom", "skimage")
        from context_propagation.files.image_files import read_source_volume
        from context_propagation.mrml.nodes.volume_nodes import add_volume

        self.folder, truth = write_case()
        self.volume = add_volume(slicer.mrmlScene, read_source_volume([self.folder / "CT"]), "CT")
        self.drawn = truth.copy()
        self.drawn[int(np.flatnonzero(truth.any(axis=(1, 2)))[0])] = False  # one slice was erased
        self.node = add_segmentation(self.volume, "Clinic", GTV=self.drawn, CTV=truth)
        choose_node(self.ui.firstVolumeSelector, self.volume)
        choose_node(self.ui.segmentSelector, self.node)
        self.ui.segmentSelector.setCurrentSegmentID("GTV")
        self.ui.exportSection.collapsed = False
        for selector in (self.ui.exportFormatSelector, self.ui.exportSegmentsSelector):  # the panel stays open
            selector.setCurrentIndex(0)
        process_events(0.1)

    def export_to(self, name):
        """Press Export... and name a file of the case's folder."""
        path = self.folder / name
        self.widget.panel.exports.ask_path = lambda suggested, file_filter: str(path)
        click(self.ui.exportButton)
        wait()
        return path

    def test_a_structure_set_keeps_the_other_rois_of_the_one_that_came_in(self):
        with self.step("without a series nothing can be exported"):
            self.assertFalse(self.ui.exportButton.enabled)
        with self.step("export all segments into the structure set that came in"):
            self.ui.seriesFolder.currentPath = str(self.folder / "CT")
            self.ui.structureSetPath.currentPath = str(self.folder / "RTSTRUCT.dcm")
            self.ui.exportSegmentsSelector.setCurrentIndex(1)
            process_events(0.1)
            path = self.export_to("out.dcm")
            self.eventually_in("'GTV', 'CTV' written to", lambda: self.ui.exportedLabel.text)
            self.assertEqual(slices_of(path, "GTV"), heights_of(self.folder / "CT", self.drawn))
            self.assertEqual(slices_of(path, "CTV")[1:], slices_of(path, "GTV"))
        with self.step("the one that came in is never replaced"):
            self.dialogs.answer("is a file that this is made from")
            self.export_to("RTSTRUCT.dcm")

    def test_a_dicom_segmentation_holds_the_chosen_segment(self):
        with self.step("export the chosen segment"):
            import pydicom

            self.ui.seriesFolder.currentPath = str(self.folder / "CT")
            self.ui.exportFormatSelector.setCurrentIndex(1)
            process_events(0.1)
            path = self.export_to("out.seg.dcm")
            self.eventually_in("'GTV' written to", lambda: self.ui.exportedLabel.text)
            written = pydicom.dcmread(path)
            self.assertEqual([segment.SegmentLabel for segment in written.SegmentSequence], ["GTV"])
            self.assertEqual(int(written.pixel_array.sum()), int(self.drawn.sum()))
