"""The even-slices command on DICOM folders."""

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.cli.commands import parsed
from context_propagation.core.errors import UserInputError
from context_propagation.files.image_files import read_image

pydicom = pytest.importorskip("pydicom")
from dicom_files import GEOMETRIES, save, write_ct_series  # noqa: E402

POSITIONS_MM = np.array([0, 3, 6, 9, 14, 19, 24])
"""Evenly, nine of 3 mm: at 0, 3, ..., 24; acquired are those at 0, 3, 6, 9 and 24."""
SLOPE = np.array([2.0, -1.0, 3.0])


def write_uneven(folder, geometry, sideways_mm=0.0):
    """A CT whose voxels are a linear function of their place (LPS); its corner and axes."""
    rows, columns = np.array(geometry.rows), np.array(geometry.columns)
    normal = np.cross(rows, columns)
    k, j, i = np.indices((7, 5, 4))
    steps = POSITIONS_MM[k][..., None] * normal
    in_plane = i[..., None] * geometry.spacing_ji[1] * rows + j[..., None] * geometry.spacing_ji[0] * columns
    places = np.array(geometry.origin) + steps + in_plane
    voxels = np.round(1000 * places @ SLOPE / 100).astype(np.int16)
    for slice_k, dataset in enumerate(write_ct_series(folder, voxels, geometry).slices):
        corner = np.array(geometry.origin) + POSITIONS_MM[slice_k] * normal + slice_k * sideways_mm * rows
        dataset.ImagePositionPatient = corner.round(9).tolist()
        save(folder / f"{dataset.InstanceNumber:03d}.dcm", dataset, pydicom.uid.ExplicitVRLittleEndian)
    return voxels


def run(folder, output, *more):
    command, fields = parsed(["even-slices", "--image", str(folder), "--output", str(output), *map(str, more)])
    return command.run(fields)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_each_voxel_has_the_value_of_its_place_and_acquired_slices_stay(tmp_path, geometry):
    folder = tmp_path / "ct"
    voxels = write_uneven(folder, geometry)

    line = run(folder, tmp_path / "ct.nrrd")

    image = sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    array = sitk.GetArrayFromImage(image)
    assert (array[[0, 1, 2, 3, 8]] == voxels[[0, 1, 2, 3, 6]]).all()
    for kji in np.ndindex(9, 5, 4):
        place = image.TransformIndexToPhysicalPoint(kji[::-1])
        assert array[kji] == pytest.approx(10 * np.dot(place, SLOPE), abs=0.51)  # whole numbers in the files
    assert line.endswith(
        "has slices 3 mm apart (slices 0 to 3) and 5 mm apart (slices 3 to 6); written are 9 slices 3 mm apart in "
        "place of 7: 5 as they were acquired, 4 computed from the two beside them"
    )


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_contours_drawn_on_the_volume_go_back_on_the_slices_of_the_series(tmp_path, geometry):
    folder = tmp_path / "ct"
    write_uneven(folder, geometry)
    run(folder, tmp_path / "ct.nrrd")
    mask = np.zeros((9, 5, 4), np.uint8)
    for k in range(1, 8):
        mask[k, 1 : 2 + k % 3, 1:3] = 1
    drawn = sitk.GetImageFromArray(mask)
    drawn.CopyInformation(sitk.ReadImage(str(tmp_path / "ct.nrrd")))
    sitk.WriteImage(drawn, str(tmp_path / "drawn.nrrd"))

    line = run(folder, tmp_path / "out.dcm", "--segmentation", tmp_path / "drawn.nrrd", "--segment", "Tumour")

    assert "'Tumour' on 5 slices of" in line
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    assert dataset.StructureSetROISequence[0].ROIName == "Tumour"
    files = [pydicom.dcmread(file) for file in folder.glob("*.dcm")]
    headers = {file.SOPInstanceUID: file for file in files}
    rows, columns = np.array(geometry.rows), np.array(geometry.columns)
    found = {}
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        header = headers[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        steps = np.reshape(np.array(contour.ContourData, float), (-1, 3)) - np.array(header.ImagePositionPatient, float)
        assert steps @ np.cross(rows, columns) == pytest.approx(0, abs=1e-5)  # on the slice that it names
        j, i = steps @ columns / geometry.spacing_ji[0], steps @ rows / geometry.spacing_ji[1]
        along = (np.array(header.ImagePositionPatient, float) - geometry.origin) @ np.cross(rows, columns)
        found[round(float(along))] = [round(float(x), 3) for x in (j.min(), j.max(), i.min(), i.max())]
    # acquired at 3, 6, 9, 14, 19 mm: of the even slices 1, 2, 3, 5, 6, with 2, 3, 1, 3 and 1 rows
    assert found == {
        3: [0.5, 2.5, 0.5, 2.5],
        6: [0.5, 3.5, 0.5, 2.5],
        9: [0.5, 1.5, 0.5, 2.5],
        14: [0.5, 3.5, 0.5, 2.5],
        19: [0.5, 1.5, 0.5, 2.5],
    }


def test_an_even_series_keeps_all_its_voxels(tmp_path):
    voxels = np.random.default_rng(1).integers(-1000, 2000, (6, 5, 4)).astype(np.int16)
    folder = write_ct_series(tmp_path / "ct", voxels).folder

    assert "6 slices 2.5 mm apart, all as they were acquired" in run(folder, tmp_path / "ct.nii.gz")
    made, read = sitk.ReadImage(str(tmp_path / "ct.nii.gz")), read_image(folder)
    assert (sitk.GetArrayFromImage(made) == voxels).all()
    assert made.GetOrigin() == pytest.approx(read.GetOrigin(), abs=1e-4)


def test_an_uneven_series_is_refused_as_an_image_with_the_command_that_helps(tmp_path):
    write_uneven(tmp_path / "ct", GEOMETRIES["axial"])

    with pytest.raises(UserInputError, match=r"resample to even spacing \(context-propagation even-slices\)"):
        read_image(tmp_path / "ct")


@pytest.mark.parametrize(
    ("image", "output", "more", "said"),
    [
        ("no", "out.nrrd", (), "does not exist"),
        ("ct/001.dcm", "out.nrrd", (), "is no DICOM folder"),
        ("ct", "out.png", (), "has no known ending"),
        ("ct", "out.nrrd", ("--segment", "GTV"), "'GTV' is of a --segmentation; give that too"),
        ("ct", "out.nrrd", ("--segmentation", "no.nrrd"), "is no RT Structure Set; end its name in .dcm"),
        ("ct", "out.dcm", ("--segmentation", "no.nrrd"), "Segmentation 'no.nrrd' does not exist"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, image, output, more, said):
    write_uneven(tmp_path / "ct", GEOMETRIES["axial"])

    with pytest.raises(UserInputError, match=said):
        run(tmp_path / image, tmp_path / output, *more)
    assert not (tmp_path / output).exists()


def test_a_tilted_gantry_is_refused(tmp_path):
    write_uneven(tmp_path / "ct", GEOMETRIES["axial"], sideways_mm=0.5)

    with pytest.raises(UserInputError, match=r"gantry tilt\?"):
        run(tmp_path / "ct", tmp_path / "out.nrrd")
