"""An export keeps what was there before: the other ROIs of the structure set that came in, and every other file."""

import os
import shutil

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError

pydicom = pytest.importorskip("pydicom")
from dicom_exports import SHAPE, Exporting, ball, came_in  # noqa: E402

# The structure set that came in

INSIDE = np.zeros(SHAPE[1:], bool)
INSIDE[4:10, 5:13] = True
"""Voxels whose centres lie in the square or on its edge."""


def as_it_came():
    mask = np.zeros(SHAPE, bool)
    mask[2:5] = INSIDE
    return mask


def test_the_structure_set_that_came_in_keeps_all_that_was_not_changed(exporting):
    given = came_in(exporting, "Cord", "GTV", "Lung")
    edited = as_it_came()
    edited[3, 6, 8] = False
    exporting.add(edited, color=(1, 1, 0))
    exporting.add(ball(), "CTV")

    exported = exporting.export("out.dcm", structure_set=given, all_segments=True)

    before, after = pydicom.dcmread(given), pydicom.dcmread(exporting.folder / "out.dcm")
    rois = [(int(roi.ROINumber), roi.ROIName) for roi in after.StructureSetROISequence]
    assert rois == [(3, "Cord"), (7, "GTV"), (11, "Lung"), (12, "CTV")]
    assert [seen.RTROIInterpretedType for seen in after.RTROIObservationsSequence] == ["GTV", "GTV", "GTV", "CTV"]
    assert [list(item.ROIDisplayColor) for item in after.ROIContourSequence][:3] == [[9, 8, 7]] * 3
    for number in (0, 2):
        assert after.ROIContourSequence[number] == before.ROIContourSequence[number]
    old, new = (one.ROIContourSequence[1].ContourSequence for one in (before, after))
    assert [contour for contour in new if contour in old] == [old[0], old[2]]  # slices 2 and 4: digit by digit
    assert np.array_equal(exporting.read("out.dcm", "GTV"), edited)
    assert np.array_equal(exporting.read("out.dcm", "CTV"), ball())
    assert exported.message.endswith("out.dcm', beside 2 other ROIs.")
    assert after.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert after.ApprovalStatus == "UNAPPROVED"


def test_a_segment_of_another_name_never_takes_the_place_of_the_only_roi(exporting):
    given = came_in(exporting, "Body")
    exporting.add(ball())

    exporting.export("out.dcm", structure_set=given)

    after = pydicom.dcmread(exporting.folder / "out.dcm")
    assert [roi.ROIName for roi in after.StructureSetROISequence] == ["Body", "GTV"]
    assert after.ROIContourSequence[0] == pydicom.dcmread(given).ROIContourSequence[0]


def test_of_two_rois_of_one_name_the_one_is_changed_that_the_segment_came_from(exporting):
    given = came_in(exporting, "GTV", "GTV")
    segment = exporting.segmentation.GetSegmentation().GetSegment(exporting.add(ball()))
    with pytest.raises(UserInputError, match="has 2 ROIs named 'GTV'; rename the segment"):
        exporting.export("out.dcm", structure_set=given)
    segment.SetTag("DicomRtImport.RoiNumber", "7")

    exporting.export("out.dcm", structure_set=given)

    before, after = pydicom.dcmread(given), pydicom.dcmread(exporting.folder / "out.dcm")
    assert after.ROIContourSequence[0] == before.ROIContourSequence[0]
    assert after.ROIContourSequence[1] != before.ROIContourSequence[1]


def test_a_structure_set_of_another_patient_is_refused_and_an_older_file_stays(make_case, tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here, there = Exporting(make_case, tmp_path / "here"), Exporting(make_case, tmp_path / "there")
    here.add(ball())
    here.export("out.dcm")
    older = (here.folder / "out.dcm").read_bytes()

    with pytest.raises(UserInputError, match="belongs to another series: its frame of reference is"):
        here.export("out.dcm", structure_set=came_in(there, "GTV"))

    assert (here.folder / "out.dcm").read_bytes() == older
    assert sorted(os.listdir(here.folder)) == ["ct", "out.dcm"]


def test_the_structure_set_that_came_in_is_not_replaced(exporting):
    given = came_in(exporting, "GTV")
    exporting.add(ball())

    with pytest.raises(UserInputError, match="is a file that this is made from"):
        exporting.export(given.name, structure_set=given)


def test_a_dicom_segmentation_takes_nothing_from_a_structure_set_and_says_so(exporting):
    exporting.add(ball())

    with pytest.raises(UserInputError, match="takes nothing from the RT Structure Set"):
        exporting.export("out.seg.dcm", structure_set=came_in(exporting, "GTV"))


# Other files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.nrrd", "ends neither in .dcm"),
        ("nowhere/out.dcm", "does not exist; create it"),
        ("ct/001.dcm", "is a file that this is made from"),
        ("note.dcm", "exists and is no RT Structure Set"),
        ("rs.seg.dcm", "exists and is no DICOM segmentation"),
        ("link.dcm", "is a link or no regular file"),
        ("folder.dcm", "is a link or no regular file"),
    ],
)
def test_other_files_are_never_replaced(exporting, name, message):
    exporting.add(ball())
    exporting.export("rs.dcm")
    shutil.copy(exporting.folder / "rs.dcm", exporting.folder / "rs.seg.dcm")
    (exporting.folder / "note.dcm").write_text("mine")
    (exporting.folder / "folder.dcm").mkdir()
    (exporting.folder / "link.dcm").symlink_to(exporting.folder / "rs.dcm")
    before = {file: file.read_bytes() for file in exporting.folder.rglob("*") if file.is_file()}

    with pytest.raises(UserInputError, match=message):
        exporting.export(name)

    assert {file: file.read_bytes() for file in exporting.folder.rglob("*") if file.is_file()} == before


def test_a_cancelled_export_leaves_nothing(exporting):
    exporting.add(ball())
    exporting.logic.select([exporting.volume], exporting.segmentation, "GTV")
    operation = exporting.logic.export_operation(exporting.folder / "out.dcm", exporting.series.folder)

    with pytest.raises(Cancelled):
        operation.run(cancelled=lambda: True)

    assert os.listdir(exporting.folder) == ["ct"]
