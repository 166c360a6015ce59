"""DICOM segmentations: a segment read on its own grid, written on the series, all others kept; read back by pydicom."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import EDITED_SLICE, ball_mask, edited_mask
from context_propagation.core.errors import UserInputError
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.losses import losses
from context_propagation.segmentations.segmentation_files import read_together, write_predicted

pydicom = pytest.importorskip("pydicom")
hd = pytest.importorskip("highdicom")
from pydicom.sr.codedict import codes  # noqa: E402

from dicom_files import GEOMETRIES, Series, write_ct_series, write_structure_set  # noqa: E402

pytestmark = pytest.mark.usefixtures("models_loaded_once")

SHAPE = (6, 20, 26)


@pytest.fixture
def series(tmp_path) -> Series:
    return write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16))


def box(k, j, i, shape=SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return mask


GTV, HEART = box((2, 4), (5, 9), (6, 12)), box((3, 5), (7, 12), (8, 14))
"""They overlap."""


def described(number: int, name: str, rgb=(10, 200, 30)):
    return hd.seg.SegmentDescription(
        *(number, name, codes.SCT.Tissue, codes.SCT.Heart, "MANUAL"), display_color=hd.color.CIELabColor.from_rgb(*rgb)
    )


def write_seg(path, series: Series, voxels, names=("GTV", "Heart"), kind="BINARY", **about):
    """As another program writes it; `voxels` `[K, J, I, S]` on the series' slices, or a volume."""
    about = {"series_instance_uid": hd.UID(), "sop_instance_uid": hd.UID(), "series_number": 7, **about}
    described_all = [described(n + 1, name) for n, name in enumerate(names)]
    written = hd.seg.Segmentation(
        *(series.slices, voxels, kind, described_all),
        **about,
        instance_number=1,
        manufacturer="Planner",
        manufacturer_model_name="P",
        software_versions="1",
        device_serial_number="1",
    )
    written.save_as(path)
    return path


@pytest.fixture
def two_segments(series, tmp_path):
    return write_seg(tmp_path / "two.dcm", series, np.stack([GTV, HEART], -1).astype(np.uint8))


def by_pydicom(path, series: Series, number: int) -> np.ndarray:
    """A segment on the series' slices, found by the positions of frames; nothing but pydicom and numpy."""
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    origins = np.array([header.ImagePositionPatient for header in series.slices], float)
    found = np.zeros((len(origins), dataset.Rows, dataset.Columns), bool)
    for frame, about in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        segment = about if "SegmentIdentificationSequence" in about else dataset.SharedFunctionalGroupsSequence[0]
        if segment.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            position = np.array(about.PlanePositionSequence[0].ImagePositionPatient, float)
            apart = np.linalg.norm(origins - position, axis=1)
            assert apart.min() < 1e-3
            found[apart.argmin()] = frame
            if "DerivationImageSequence" in about and about.DerivationImageSequence:
                source = about.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
                assert source == series.slices[apart.argmin()].SOPInstanceUID
    return found


def read(path, series: Series, name="GTV"):
    volume = read_source_volume([series.folder])
    return read_together([path], Wanted(name, (1,)), volume, [series.folder])[0]


@pytest.mark.parametrize(("name", "mask"), [("GTV", GTV), ("heart", HEART), ("2", HEART)])
def test_a_segment_is_found_by_name_then_in_other_case_then_by_number(two_segments, series, name, mask):
    found = read(two_segments, series, name)

    assert np.array_equal(found.mask, mask)
    assert found.name == {"2": "Heart"}.get(name, name)


def test_an_unknown_segment_is_refused_with_those_that_are_there(two_segments, series):
    with pytest.raises(
        UserInputError, match=r"has 0 segments named 'Cord'; its segments are 'GTV' \(1\), 'Heart' \(2\)"
    ):
        read(two_segments, series, "Cord")


def test_the_only_segment_is_taken_and_that_is_said(series, tmp_path, caplog):
    path = write_seg(tmp_path / "one.dcm", series, GTV.astype(np.uint8), names=("Tumour",))

    assert np.array_equal(read(path, series).mask, GTV)
    assert "holds the segment 'Tumour' only; it is taken as GTV" in caplog.text


@pytest.mark.quick(name=("thick slices from the top", "sagittal", "oblique"))
@pytest.mark.parametrize("name", GEOMETRIES)
def test_what_is_written_lies_on_the_series_slices_and_refers_to_them(tmp_path, name):
    series = write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16), GEOMETRIES[name])
    volume = read_source_volume([series.folder])
    image_s = (
        GTV if np.allclose(volume.ijk_to_lps[:3, 3], series.slices[0].ImagePositionPatient, atol=1e-3) else GTV[::-1]
    )

    write_predicted(tmp_path / "out.seg.dcm", image_s, "GTV", volume, [series.folder])

    assert np.array_equal(by_pydicom(tmp_path / "out.seg.dcm", series, 1), GTV)
    dataset, (segment,) = (written := pydicom.dcmread(tmp_path / "out.seg.dcm")), written.SegmentSequence
    assert dataset.Modality == "SEG"
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("GTV", "AUTOMATIC")
    assert dataset.FrameOfReferenceUID == series.slices[0].FrameOfReferenceUID
    assert dataset.StudyInstanceUID == series.slices[0].StudyInstanceUID
    assert dataset.PatientName == series.slices[0].PatientName
    assert all(about.DerivationImageSequence for about in dataset.PerFrameFunctionalGroupsSequence)
    assert np.array_equal(read(tmp_path / "out.seg.dcm", series).mask, image_s)


@pytest.fixture
def ct_of_ball(tmp_path) -> Series:
    noise = np.random.default_rng(0).normal(size=ball_mask().shape)
    return write_ct_series(tmp_path / "ct", (20 * noise + 100 * ball_mask()).round().astype(np.int16))


def test_propagate_keeps_the_other_segment_and_the_drawn_slice(run, refused, propagate_arguments, ct_of_ball, tmp_path):
    heart = np.roll(ball_mask(), 3, axis=2)
    paths = {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        voxels = np.stack([heart, mask], -1).astype(np.uint8)
        paths[name] = write_seg(tmp_path / f"{name}.dcm", ct_of_ball, voxels, names=("Heart", "GTV"))

    lost = refused(*propagate_arguments(**paths, output=tmp_path / "out.nrrd"))
    assert f"the segment 'Heart' ({heart.sum()} voxels, {2.5 * heart.sum():.5g} mm3); end its name in .seg.dcm" in lost
    for name, options in (("out.nrrd", ("--allow-loss",)), ("out.seg.dcm", ())):
        outcome = run(*propagate_arguments(**paths, output=tmp_path / name), *options)
        assert outcome.code == 0, outcome.err

    found = by_pydicom(tmp_path / "out.seg.dcm", ct_of_ball, 2)
    assert np.array_equal(found[EDITED_SLICE], edited_mask()[EDITED_SLICE])
    assert (found != edited_mask()).any()
    assert np.array_equal(found, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd"))).astype(bool))
    assert np.array_equal(by_pydicom(tmp_path / "out.seg.dcm", ct_of_ball, 1), heart)
    given, written = (pydicom.dcmread(path).SegmentSequence for path in (paths["edited"], tmp_path / "out.seg.dcm"))
    assert given[0] == written[0]
    assert written[1].RecommendedDisplayCIELabValue == given[1].RecommendedDisplayCIELabValue
    assert written[1].SegmentedPropertyTypeCodeSequence == given[1].SegmentedPropertyTypeCodeSequence
    assert (given[1].SegmentAlgorithmType, written[1].SegmentAlgorithmType) == ("MANUAL", "SEMIAUTOMATIC")


def test_a_segmentation_on_a_finer_grid_is_read_and_written_there(run, propagate_arguments, ct_of_ball, tmp_path):
    volume = read_source_volume([ct_of_ball.folder])
    fine = volume.ijk_to_lps @ np.diag([0.5, 0.5, 1, 1])
    fine[:3, 3] -= fine[:3, :2].sum(axis=1) / 2  # of two voxels the middle is the image voxel's
    paths = {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        voxels = mask.repeat(2, axis=1).repeat(2, axis=2).astype(np.uint8)
        voxels[EDITED_SLICE, 20, 25] ^= name == "edited"  # a detail that the image has no voxel for
        frame = ct_of_ball.slices[0].FrameOfReferenceUID
        placed = hd.Volume(
            *(voxels[..., None], fine[:, [2, 1, 0, 3]], "PATIENT", frame), channels={"SegmentNumber": [1]}
        )
        paths[name] = write_seg(tmp_path / f"{name}.seg.dcm", ct_of_ball, placed, names=("GTV",))
        drawn = voxels[EDITED_SLICE] > 0

    assert run(*propagate_arguments(**paths, output=tmp_path / "out.seg.dcm")).code == 0

    written = pydicom.dcmread(tmp_path / "out.seg.dcm")
    assert (written.Rows, written.Columns) == (2 * 24, 2 * 28)
    found = by_pydicom_at(written, fine, EDITED_SLICE)
    assert np.array_equal(found, drawn)


def by_pydicom_at(dataset, ijk_to_lps, k) -> np.ndarray:
    """The frame whose first voxel lies at (0, 0, k)."""
    place = (ijk_to_lps @ [0, 0, k, 1])[:3]
    for frame, about in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if np.allclose(about.PlanePositionSequence[0].ImagePositionPatient, place, atol=1e-3):
            return frame > 0
    raise AssertionError(k)


def test_half_of_a_fractional_voxel_and_more_is_inside(series, tmp_path, caplog):
    shares = np.zeros((*SHAPE, 1), np.float32)
    shares[3, 5, 6:10, 0] = (0.2, 0.49, 0.51, 1.0)
    path = write_seg(tmp_path / "shares.dcm", series, shares, names=("GTV",), kind="FRACTIONAL")

    assert np.array_equal(read(path, series).mask, box((3, 4), (5, 6), (8, 10)))
    assert "is fractional; voxels of 0.5 or more belong to its segments" in caplog.text


def test_other_segments_are_lost_in_any_other_kind_of_file(two_segments, series):
    edited = read(two_segments, series)
    volume = read_source_volume([series.folder])

    lost = [f"the segment 'Heart' ({HEART.sum()} voxels, {HEART.sum() * 2.5:.5g} mm3)"]
    for name, expected in (("out.nrrd", lost), ("out.dcm", lost), ("out.seg.nrrd", lost), ("out.seg.dcm", [])):
        assert list(losses(two_segments.with_name(name), edited, volume)) == expected


def test_another_series_and_other_objects_are_refused(two_segments, series, tmp_path):
    other = write_ct_series(tmp_path / "other", np.zeros(SHAPE, np.int16))
    with pytest.raises(UserInputError, match="belongs to another series: its frame of reference is"):
        read(two_segments, other)
    structures = write_structure_set(tmp_path / "rs.seg.dcm", series, [])
    with pytest.raises(UserInputError, match="is not a DICOM segmentation but 'RT Structure Set Storage'"):
        read(structures, series)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_off_file_is_refused(two_segments, series, share):
    content = two_segments.read_bytes()
    cut = two_segments.with_name("cut.seg.dcm")
    cut.write_bytes(content[: int(share * len(content))])

    with pytest.raises(UserInputError, match=r"cut\.seg\.dcm"):
        read(cut, series)


def test_an_output_that_cannot_be_tied_to_slices_is_refused(refused, predict_arguments, series, two_segments, tmp_path):
    error = refused(*predict_arguments(output=tmp_path / "out.seg.dcm"))
    assert (
        "is a DICOM segmentation, whose frames lie on the slices of a DICOM series: give that series' folder" in error
    )
    (tmp_path / "rs.seg.dcm").write_bytes((series.folder / "001.dcm").read_bytes())
    error = refused(*predict_arguments(image=series.folder, output=tmp_path / "rs.seg.dcm"))
    assert "exists and is no DICOM segmentation" in error
