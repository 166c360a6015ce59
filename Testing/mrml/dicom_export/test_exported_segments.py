"""A segment leaves on the slices that it was drawn on, with its name, colour and type, and what is lost is said."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError

pydicom = pytest.importorskip("pydicom")
from dicom_exports import ENDINGS, SHAPE, Exporting, ball  # noqa: E402

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


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_segment_is_refused(exporting, ending):
    exporting.add(np.zeros(SHAPE, bool))

    with pytest.raises(UserInputError, match="Nothing is drawn in 'GTV'; predict or draw first"):
        exporting.export("out" + ending)


def test_nothing_in_the_scene_is_changed(exporting):
    segment = exporting.segmentation.GetSegmentation().GetSegment(exporting.add(ball()))
    exporting.logic.select([exporting.volume], exporting.segmentation, "GTV")
    before = [thing.GetMTime() for thing in (segment, exporting.segmentation, exporting.volume, exporting.case.scene)]

    exporting.logic.export(exporting.folder / "out.dcm", exporting.series.folder)

    after = [thing.GetMTime() for thing in (segment, exporting.segmentation, exporting.volume, exporting.case.scene)]
    assert before == after


def test_segments_are_read_one_at_a_time(exporting):
    for name in ("GTV", "CTV", "PTV"):
        exporting.add(ball(), name)
    exporting.logic.select([exporting.case.volume], exporting.case.segmentation, "GTV")

    operation = exporting.logic.export_operation(exporting.folder / "all.dcm", exporting.series.folder, None, True)

    assert sum(1 for _ in operation.read()) == 3
    assert operation.run().names == ("GTV", "CTV", "PTV")


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
