"""`predict` and `propagate` from and to structure sets."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import EDITED_SLICE, ball_mask, edited_mask
from context_propagation.files.contour_polygons import traced_polygons
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.rtstruct_reading import read_roi

pydicom = pytest.importorskip("pydicom")
from dicom_files import Roi, write_structure_set  # noqa: E402
from structure_sets import SQUARE, blobs, contour_bytes, plain, read, structure_set, volume_of, write_alone  # noqa: E402

pytestmark = pytest.mark.usefixtures("models_loaded_once")


def test_predict_writes_a_structure_set_of_the_series(run, predict_arguments, ct_of_ball, tmp_path):
    for name in ("out.dcm", "out.nrrd"):
        outcome = run(*predict_arguments(image=ct_of_ball.folder, output=tmp_path / name))
        assert outcome.code == 0, outcome.err

    labelmap = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd")))
    assert np.array_equal(read(tmp_path / "out.dcm", ct_of_ball), labelmap)
    written = plain(tmp_path / "out.dcm")
    assert written.StructureSetROISequence[0].ROIGenerationAlgorithm == "AUTOMATIC"
    assert written.StructureSetLabel == "predicted"


def rois_of(mask: np.ndarray, name: str, color: tuple[int, int, int]) -> Roi:
    return Roi(name, [(k, polygon) for k in range(len(mask)) for polygon in traced_polygons(mask[k])], color)


def test_propagate_reads_and_writes_structure_sets_and_keeps_the_drawn_slice(
    run, propagate_arguments, ct_of_ball, tmp_path
):
    heart = rois_of(np.roll(ball_mask(), 3, axis=2), "Heart", (1, 2, 3))
    paths = {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        paths[name] = tmp_path / f"{name}.dcm"
        write_structure_set(paths[name], ct_of_ball, [heart, rois_of(mask, "GTV", (7, 8, 9))])
    for name in ("out.dcm", "out.nrrd"):
        outcome = run(*propagate_arguments(**paths, output=tmp_path / name), "--allow-loss")
        assert outcome.code == 0, outcome.err
        assert ("loses" in outcome.err) == (name == "out.nrrd")

    labelmap = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd"))).astype(bool)
    assert np.array_equal(read(tmp_path / "out.dcm", ct_of_ball), labelmap)
    written, given = plain(tmp_path / "out.dcm"), plain(paths["edited"])
    assert written.ROIContourSequence[0] == given.ROIContourSequence[0]
    assert list(written.ROIContourSequence[1].ROIDisplayColor) == [7, 8, 9]
    changed = np.flatnonzero((labelmap ^ edited_mask()).any(axis=(1, 2)))
    assert 0 < len(changed) <= 4
    uids = {header.SOPInstanceUID for k, header in enumerate(ct_of_ball.slices) if k not in changed}
    assert ct_of_ball.slices[EDITED_SLICE].SOPInstanceUID in uids
    assert contours_on(written, uids) == contours_on(given, uids)


def test_the_roi_is_named_where_it_has_not_the_label_s_name(run, propagate_arguments, ct_of_ball, tmp_path):
    paths = {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        paths[name] = tmp_path / f"{name}.dcm"
        rois = [rois_of(np.roll(ball_mask(), 3, axis=2), "Heart", (1, 2, 3)), rois_of(mask, "Boost", (7, 8, 9))]
        write_structure_set(paths[name], ct_of_ball, rois)
    unnamed = run(*propagate_arguments(**paths, output=tmp_path / "out.dcm"))
    assert unnamed.code == 2
    assert "Boost" in unnamed.err
    named = run(*propagate_arguments(**paths, output=tmp_path / "out.dcm", segment="Boost"))
    assert named.code == 0, named.err
    written = plain(tmp_path / "out.dcm")
    assert [roi.ROIName for roi in written.StructureSetROISequence] == ["Heart", "Boost"]


def contours_on(dataset: pydicom.Dataset, uids: set[str]) -> list[str]:
    contours = dataset.ROIContourSequence[1].ContourSequence
    return [contour_bytes(c) for c in contours if c.ContourImageSequence[0].ReferencedSOPInstanceUID in uids]


def test_a_labelmap_edit_becomes_a_new_structure_set(run, propagate_arguments, ct_of_ball, tmp_path):
    volume, paths = volume_of(ct_of_ball), {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        paths[name] = tmp_path / f"{name}.nrrd"
        sitk.WriteImage(volume.mask_to_sitk(mask), str(paths[name]))

    assert run(*propagate_arguments(**paths, output=tmp_path / "out.dcm")).code == 0

    assert np.array_equal(read(tmp_path / "out.dcm", ct_of_ball)[EDITED_SLICE], edited_mask()[EDITED_SLICE])
    assert [roi.ROIName for roi in plain(tmp_path / "out.dcm").StructureSetROISequence] == ["GTV"]


def test_a_structure_set_without_dicom_series_is_refused_with_the_way_out(refused, predict_arguments, tmp_path):
    error = refused(*predict_arguments(output=tmp_path / "out.dcm"))

    assert "give that series' folder as --image, or use .seg.nrrd or .nii.gz" in error


def test_an_edited_structure_set_without_dicom_series_is_refused(refused, propagate_arguments, series):
    path = structure_set(series, Roi("GTV", [(2, SQUARE)]))

    assert "give that series' folder as --image" in refused(*propagate_arguments(edited=path))


def test_a_slice_of_the_image_is_not_overwritten(refused, predict_arguments, ct_of_ball):
    error = refused(*predict_arguments(image=ct_of_ball.folder, output=ct_of_ball.folder / "004.dcm"))

    assert "004.dcm' is a slice of the image; choose another name" in error


def test_the_edited_structure_set_is_not_overwritten(refused, propagate_arguments, ct_of_ball, tmp_path):
    path = write_structure_set(tmp_path / "rs.dcm", ct_of_ball, [rois_of(edited_mask(), "GTV", (7, 8, 9))])

    error = refused(*propagate_arguments(image=ct_of_ball.folder, initial=path, edited=path, output=path))

    assert "rs.dcm' is also another file of this run" in error


@pytest.mark.long
def test_contours_on_a_real_ct_come_back(ct_dicom, tmp_path):
    shutil.copytree(ct_dicom, tmp_path / "ct")
    volume = read_source_volume([tmp_path / "ct"])
    mask = np.zeros(volume.shape_kji, bool)
    mask[5:12, 200:240, 180:230] = blobs((7, 40, 50))
    path = tmp_path / "out.dcm"
    images = [tmp_path / "ct"]

    write_alone(path, mask, "GTV", volume, tmp_path / "ct")

    assert np.array_equal(read_roi(path, "GTV", volume, images).mask, mask)
    header = plain(sorted(ct_dicom.iterdir())[0])
    assert plain(path).FrameOfReferenceUID == header.FrameOfReferenceUID
    assert plain(path).PatientID == header.PatientID
