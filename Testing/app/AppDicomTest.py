"""From Slicer's own DICOM module to a structure set and back, by SlicerRT where it is installed."""

from contextlib import ExitStack

import slicer

from app_dicom import heights_of, slices_of, write_case
from app_panel import PanelTestCase, wait
from app_user import choose_node, click, process_events
from app_volumes import add_segmentation


class AppDicomTest(PanelTestCase):
    def load(self, path):
        """Import a file or folder into the database and load its series; the nodes."""
        from DICOMLib import DICOMUtils

        before = set(self.series())
        DICOMUtils.importDicom(str(path), slicer.dicomDatabase)
        new = [uid for uid in self.series() if uid not in before]
        return [slicer.mrmlScene.GetNodeByID(node) for node in DICOMUtils.loadSeriesByUID(new)]

    @staticmethod
    def series():
        database = slicer.dicomDatabase
        studies = [study for patient in database.patients() for study in database.studiesForPatient(patient)]
        return [series for study in studies for series in database.seriesForStudy(study)]

    def test_a_case_goes_from_dicom_to_a_structure_set_and_back(self):
        self.needs_packages("pydicom", "skimage")
        with self.step("import a series through Slicer's DICOM module"):
            self.needs("Slicer's DICOM module", hasattr(slicer.modules, "dicom"))
            from DICOMLib import DICOMUtils

            stack = ExitStack()
            self.addCleanup(stack.close)
            stack.enter_context(DICOMUtils.TemporaryDICOMDatabase())
            folder, truth = write_case()
            (volume,) = self.load(folder / "CT")
        with self.step("export; the series is known"):
            node = add_segmentation(volume, "Clinic", GTV=truth)
            choose_node(self.ui.firstVolumeSelector, volume)
            choose_node(self.ui.segmentSelector, node)
            self.ui.exportSection.collapsed = False
            process_events(0.1)
            self.assertFalse(self.ui.seriesFolder.isVisible())
            path = folder / "out.dcm"
            self.widget.panel.exports.ask_path = lambda suggested, file_filter: str(path)
            click(self.ui.exportButton)
            wait()
            self.eventually_in("'GTV' written to", lambda: self.ui.exportedLabel.text)
            self.assertEqual(slices_of(path, "GTV"), heights_of(folder / "CT", truth))
        if not hasattr(slicer.modules, "dicomrtimportexport"):
            return
        with self.step("SlicerRT reads it, and the panel finds the file that it came from"):
            back = next(one for one in self.load(path) if one.IsA("vtkMRMLSegmentationNode"))
            self.assertEqual(back.GetSegmentation().GetNthSegment(0).GetName(), "GTV")
            choose_node(self.ui.segmentSelector, back)
            process_events(0.1)
            self.assertTrue(self.ui.structureSetPath.currentPath.endswith(".dcm"))
