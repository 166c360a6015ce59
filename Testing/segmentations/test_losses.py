"""What an output would lose of the segmentation that it comes from, counted by hand."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.losses import losses, refuse_losses
from context_propagation.segmentations.segmentation_files import read_together

SHAPE = (4, 5, 6)
VOLUME = SourceVolume(np.zeros((1, *SHAPE), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
FINE = (8, 10, 12)
"""Voxels of 1 mm: half those of the image, of which eight lie in one."""


def save(path: Path, labels: np.ndarray, origin=(-0.5, -0.5, -0.5)) -> Path:
    image = sitk.GetImageFromArray(labels)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


def read(path: Path, name: str = "GTV", values: tuple[int, ...] = (1,)):
    return read_together([path], Wanted(name, values), VOLUME)[0]


def of(edited, output: str) -> list[str]:
    return list(losses(Path(output), edited, VOLUME))


@pytest.fixture
def two_organs(tmp_path):
    """The target in one voxel of the image; 7 voxels of 1 mm3 of an organ, finer than the image."""
    labels = np.zeros(FINE, np.uint8)
    labels[2:4, 4:6, 6:8] = 1
    labels[6, 8, 2:9] = 5
    return save(tmp_path / "labels.nrrd", labels)


def test_a_labelmap_from_a_labelmap_loses_nothing(two_organs):
    assert of(read(two_organs), "out.nii.gz") == []


@pytest.mark.parametrize("output", ["out.seg.nrrd", "out.dcm"])
def test_other_labels_are_counted_on_the_grid_that_they_lie_on(two_organs, output):
    assert of(read(two_organs), output) == ["the label 5 (7 voxels, 7 mm3)"]


def test_a_label_of_a_region_is_no_other_label(two_organs):
    assert of(read(two_organs, values=(1, 5)), "out.seg.nrrd") == []


def test_a_thin_part_is_counted_where_the_image_s_slices_cannot_show_it(tmp_path):
    labels = np.zeros((12, 15, 18), np.uint8)  # three voxels in one of the image, which takes the middle one
    labels[3:6, 6:9, 9:12] = 1
    labels[6, 9, 3:5] = 1  # thin, and not in the middle of their voxel
    labels[6:9, 3:6, 3:6] = 1
    labels[6, 3, 3] = 0  # filled by the others of its voxel
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((2 / 3, 2 / 3, 2 / 3))
    image.SetOrigin((-2 / 3, -2 / 3, -2 / 3))
    sitk.WriteImage(image, str(tmp_path / "thin.nrrd"))

    found = of(read(tmp_path / "thin.nrrd"), "out.dcm")

    lost = "2 voxels, 0.59259 mm3 of GTV that the image's slices cannot show"  # 2 * (2 / 3) ** 3
    assert found == [f"{lost}, while 1 is added beside them"]


def test_voxels_outside_the_image_are_counted_where_the_kind_of_file_changes(tmp_path):
    labels = np.zeros((4, 5, 12), np.uint8)
    labels[0, 0, 3:10] = 1  # of 8 mm3; three lie on the image, i 0 to 5, and the last four beside it: i 6 to 9
    labels[1, 0, 0:6] = 1
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / "wide.nrrd"))

    edited = read(tmp_path / "wide.nrrd")

    assert of(edited, "out.seg.nrrd") == ["4 voxels, 32 mm3 of GTV outside the image"]
    assert of(edited, "out.nrrd") == []


def test_other_segments_are_counted(tmp_path):
    storage = pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    masks = np.zeros((2, *SHAPE), bool)
    masks[0, 1, 1, 1], masks[1, 2, 1:3, 1:4] = True, True
    path = tmp_path / "two.seg.nrrd"
    named = [storage.NamedMask(mask, name) for mask, name in zip(masks, ("GTV", "Cord"), strict=True)]
    storage.write_seg_nrrd(path, named, VOLUME)

    assert of(read(path), "out.nii.gz") == ["the segment 'Cord' (6 voxels, 48 mm3)"]
    assert of(read(path), "out.seg.nrrd") == []


def test_rois_and_contours_beside_the_image_are_counted(tmp_path):
    pytest.importorskip("pydicom")
    from context_propagation.files.image_files import read_source_volume
    from dicom_files import Roi, write_ct_series, write_structure_set

    square = np.array([(4.5, 5.5), (4.5, 12.5), (10.5, 12.5), (10.5, 5.5)])
    series = write_ct_series(tmp_path / "ct", np.zeros((6, 20, 26), np.int16))
    rois = [Roi("GTV", [(1, square), (2, square - (8, 0))]), Roi("Cord", [(1, square), (2, square)]), Roi("None", [])]
    path = write_structure_set(tmp_path / "rs.dcm", series, rois)
    volume = read_source_volume([series.folder])
    (edited,) = read_together([path], Wanted("GTV", (1,)), volume, [series.folder])

    assert list(losses(tmp_path / "out.nrrd", edited, volume)) == [
        "the ROI 'Cord' (2 contours)",
        "1 contour of GTV, in whole or part beside the image, by up to 3.00 mm",
    ]
    assert not list(losses(tmp_path / "out.dcm", edited, volume))


def test_a_loss_is_refused_with_the_ending_that_loses_nothing_and_told_where_it_is_allowed(two_organs, caplog):
    edited = read(two_organs)

    with pytest.raises(UserInputError, match=r"7 mm3\); end its name in \.nii\.gz or \.nrrd, or give --allow-loss"):
        refuse_losses(Path("out.seg.nrrd"), edited, VOLUME, allowed=False)
    refuse_losses(Path("out.seg.nrrd"), edited, VOLUME, allowed=True)

    (message,) = caplog.messages
    assert message == f"'out.seg.nrrd' loses of '{two_organs}': the label 5 (7 voxels, 7 mm3)"
