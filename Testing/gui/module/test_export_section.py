"""The panel's section Export: what can be pressed, what is asked, what is written and said."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from as_a_user import click, process_events, settle

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
from dicom_files import Roi, write_ct_series, write_structure_set  # noqa: E402

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
SHAPE = (6, 12, 14)
GTV = np.zeros(SHAPE, bool)
GTV[2:4, 3:8, 4:10] = True


class Clinic:
    """A case from DICOM in the panel, and what a user sees and does there."""

    def __init__(self, application, folder):
        from context_propagation.files.image_files import read_source_volume
        from context_propagation.gui.work.shared import shared
        from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation
        from context_propagation.mrml.nodes.volume_nodes import add_volume

        self.application, self.folder = application, folder
        voxels = np.random.default_rng(1).integers(0, 500, SHAPE).astype(np.int16)
        self.series = write_ct_series(folder / "ct", voxels)
        self.came_in = write_structure_set(folder / "came in.dcm", self.series, [Roi("Cord"), Roi("GTV")])
        self.volume = add_volume(application.scene, read_source_volume([self.series.folder]), "CT")
        self.node = add_segmentation(application.scene, self.volume, "Clinic")
        self.gtv = add_segment_from_mask(self.node, GTV, self.volume, "GTV/1")
        add_segment_from_mask(self.node, ~GTV, self.volume, "Rest")
        self.widget = application.open_module("ContextPropagation")
        self.ui, self.shared = self.widget.panel.inputs._ui, shared()
        self.asked = []
        self.choose_file("out.dcm")

    def choose_file(self, name):
        def ask(suggested, file_filter):
            self.asked.append((suggested.name, file_filter))
            return str(self.folder / name) if name else ""

        self.widget.panel.exports.ask_path = ask

    def choose(self):
        self.ui.firstVolumeSelector.setCurrentNode(self.volume)
        self.ui.segmentSelector.setCurrentNode(self.node)
        self.ui.segmentSelector.setCurrentSegmentID(self.gtv)
        self.ui.exportSection.collapsed = False
        settle()

    def press(self):
        click(self.ui.exportButton)
        process_events(until=lambda: not self.shared.runner.busy, at_most=60)
        settle()

    @property
    def said(self):
        return self.ui.exportedLabel.text.replace("\u200b", "")


@pytest.fixture
def clinic(application, models_loaded_once, tmp_path):
    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    yield Clinic(application, tmp_path)
    from context_propagation.gui.work.shared import release

    sys.modules["slicer"].modules.contextpropagation.widgetRepresentation().self().cleanup()
    release()


@pytest.fixture
def database(clinic, monkeypatch):
    """Slicer's DICOM database with the series and the structure set."""
    files = {pydicom.dcmread(file).SOPInstanceUID: str(file) for file in clinic.series.folder.iterdir()}
    series = {str(pydicom.dcmread(clinic.came_in).SeriesInstanceUID): [str(clinic.came_in)]}
    database = SimpleNamespace(
        fileForInstance=lambda uid: files.get(uid, ""),
        filesForSeries=lambda uid: series.get(uid, []),
        fileValue=lambda file, tag: "RTSTRUCT" if file == str(clinic.came_in) else "CT",
    )
    slicer = sys.modules["slicer"]
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    clinic.volume.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(clinic.application.scene)
    item = hierarchy.GetItemByDataNode(clinic.node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), clinic.node)
    hierarchy.SetItemUID(item, "DICOM", next(iter(series)))


def test_nothing_can_be_exported_before_the_series_is_known(clinic):
    clinic.choose()
    assert clinic.ui.seriesFolder.isVisible()
    assert not clinic.ui.exportButton.enabled

    clinic.ui.seriesFolder.currentPath = str(clinic.series.folder)

    assert clinic.ui.exportButton.enabled


def test_a_folder_is_forgotten_with_the_volume_that_it_was_chosen_for(clinic):
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    clinic.choose()
    clinic.ui.seriesFolder.currentPath = str(clinic.series.folder)
    clinic.press()

    other = SourceVolume(np.zeros((1, *SHAPE), np.float32), np.eye(4))
    clinic.ui.firstVolumeSelector.setCurrentNode(add_volume(clinic.application.scene, other, "another"))
    settle()

    assert clinic.ui.seriesFolder.currentPath == ""
    assert clinic.said == ""
    assert not clinic.ui.exportButton.enabled


def test_the_chosen_segment_is_written_and_that_is_said_in_one_line(clinic):
    clinic.choose()
    clinic.ui.seriesFolder.currentPath = str(clinic.series.folder)

    clinic.press()

    assert clinic.said == f"'GTV/1' written to '{clinic.folder / 'out.dcm'}'."
    assert clinic.asked == [("GTV_1.dcm", "RT Structure Set (*.dcm)")]
    (roi,) = pydicom.dcmread(clinic.folder / "out.dcm").StructureSetROISequence
    assert roi.ROIName == "GTV/1"
    assert clinic.application.texts("error") == []


def test_of_a_case_from_the_database_nothing_has_to_be_looked_up(clinic, database):
    clinic.choose()
    assert not clinic.ui.seriesFolder.isVisible()
    assert clinic.ui.structureSetPath.currentPath == str(clinic.came_in)

    clinic.press()

    assert clinic.said.endswith("out.dcm', beside 2 other ROIs.")
    names = [roi.ROIName for roi in pydicom.dcmread(clinic.folder / "out.dcm").StructureSetROISequence]
    assert names == ["Cord", "GTV", "GTV/1"]


def test_a_dicom_segmentation_of_all_segments_asks_for_no_structure_set(clinic, database):
    clinic.choose()

    clinic.ui.exportFormatSelector.setCurrentIndex(1)
    clinic.ui.exportSegmentsSelector.setCurrentIndex(1)
    clinic.press()

    assert not clinic.ui.structureSetPath.isVisible()
    assert clinic.asked == [("Clinic.seg.dcm", "DICOM segmentation (*.seg.dcm)")]
    segments = pydicom.dcmread(clinic.folder / "out.seg.dcm").SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == ["GTV/1", "Rest"]


def test_a_file_that_gets_its_ending_from_us_is_asked_about_where_it_exists(clinic, database):
    clinic.choose()
    clinic.press()
    before = (clinic.folder / "out.dcm").read_bytes()

    clinic.choose_file("out")
    clinic.application.answers.append(False)
    clinic.press()

    assert "out.dcm' exists. Replace it?" in clinic.application.texts("question")[-1]
    assert (clinic.folder / "out.dcm").read_bytes() == before


def test_the_format_that_is_chosen_decides_and_not_the_name(clinic, database):
    clinic.choose()
    clinic.choose_file("out.seg.dcm")

    clinic.press()

    assert pydicom.dcmread(clinic.folder / "out.dcm").Modality == "RTSTRUCT"
    assert not (clinic.folder / "out.seg.dcm").exists()


def test_no_file_chosen_writes_nothing(clinic, database):
    clinic.choose()
    clinic.choose_file("")

    clinic.press()

    assert clinic.said == ""
    assert sorted(path.name for path in clinic.folder.iterdir() if path.suffix == ".dcm") == ["came in.dcm"]


def test_what_cannot_be_exported_is_told_and_the_segment_stays(clinic):
    from context_propagation.mrml.nodes.segments import segment_mask

    clinic.choose()
    other = np.random.default_rng(2).integers(0, 500, SHAPE).astype(np.int16)
    clinic.ui.seriesFolder.currentPath = str(write_ct_series(clinic.folder / "other", other).folder)

    clinic.press()

    assert "shows something else than the DICOM series" in clinic.application.texts("error")[-1]
    assert clinic.said == ""
    assert np.array_equal(segment_mask(clinic.node, clinic.gtv, clinic.volume), GTV)
