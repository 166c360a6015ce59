"""Which voxels of a labelmap are meant, and where they lie on the image's grid."""

import logging

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.cli.segmentation_files import Wanted, read_mask, write_labelmap
from context_propagation.core.errors import UserInputError
from context_propagation.core.source_volume import SourceVolume

SHAPE = (4, 5, 6)
VOLUME = SourceVolume(np.zeros((1, *SHAPE), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


def save(path, labels, spacing=(2.0, 2.0, 2.0), origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(np.asarray(labels))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def labels() -> np.ndarray:
    """1 in the first slice, 2 in the second, 3 in the third."""
    return np.broadcast_to(np.array([1, 2, 3, 0], np.uint8)[:, None, None], SHAPE).copy()


@pytest.mark.parametrize(("values", "slices"), [((), [0, 1, 2]), ((2,), [1]), ((2, 3), [1, 2]), ((3, 7), [2])])
def test_the_wanted_values_are_taken(tmp_path, labels, values, slices):
    mask = read_mask(save(tmp_path / "labels.nrrd", labels), Wanted("GTV", values), VOLUME)

    assert mask.dtype == bool
    assert np.flatnonzero(mask.all(axis=(1, 2))).tolist() == slices
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == slices


def test_a_mask_of_ones_stands_for_a_label_of_another_value_and_that_is_said(tmp_path, labels, caplog):
    path = save(tmp_path / "mask.nrrd", (labels == 1).astype(np.uint8))

    with caplog.at_level(logging.WARNING):
        mask = read_mask(path, Wanted("Heart", (2,)), VOLUME)

    assert mask[0].all()
    assert "holds the value 1 only; it is taken as a mask of Heart" in caplog.text


def test_a_label_that_is_not_there_is_named_with_those_that_are(tmp_path, labels):
    path = save(tmp_path / "labels.nrrd", labels)

    with pytest.raises(UserInputError, match=r"holds the labels 1, 2, 3, not 7 \(Heart\)"):
        read_mask(path, Wanted("Heart", (7,)), VOLUME)


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan])
def test_values_that_are_no_labels_are_refused(tmp_path, labels, value):
    broken = labels.astype(np.float32)
    broken[0, 0, 0] = value

    with pytest.raises(UserInputError, match="which are no labels"):
        read_mask(save(tmp_path / "labels.nrrd", broken), Wanted("GTV"), VOLUME)


def test_labels_stored_as_float_are_read(tmp_path, labels):
    assert read_mask(save(tmp_path / "labels.nii.gz", labels.astype(np.float32)), Wanted("GTV", (2,)), VOLUME)[1].all()


def test_an_empty_segmentation_is_an_empty_mask(tmp_path):
    path = save(tmp_path / "empty.nrrd", np.zeros(SHAPE, np.uint8))

    assert not read_mask(path, Wanted("GTV", (2,)), VOLUME).any()


def test_each_image_voxel_takes_the_segmentation_voxel_nearest_to_its_centre(tmp_path):
    # voxels of 1 mm from x = 3.5: those at 3.5 and 4.5 cover 3 to 5 mm; image voxels lie at 0, 2, 4, ... mm
    fine = np.zeros((10, 10, 10), np.uint8)
    fine[:, :, :2] = 1
    path = save(tmp_path / "fine.nrrd", fine, spacing=(1.0, 1.0, 1.0), origin=(3.5, 0.0, 0.0))

    mask = read_mask(path, Wanted("GTV"), VOLUME)

    assert np.flatnonzero(mask.any(axis=(0, 1))).tolist() == [2]


def test_a_flipped_segmentation_lands_on_the_same_anatomy(tmp_path, labels):
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(sitk.DICOMOrient(image, "RAI"), str(tmp_path / "flipped.nrrd"))

    assert np.array_equal(read_mask(tmp_path / "flipped.nrrd", Wanted("GTV", (1,)), VOLUME), labels == 1)


def test_a_segmentation_beside_the_image_is_refused_with_both_places(tmp_path, labels):
    path = save(tmp_path / "far.nrrd", labels, origin=(100.0, 0.0, 0.0))

    with pytest.raises(UserInputError, match=r"around \(105\.0, 4\.0, 3\.0\), the image around \(5\.0, 4\.0, 3\.0\)"):
        read_mask(path, Wanted("GTV"), VOLUME)


def test_a_target_beside_the_image_is_refused_though_the_grids_overlap(tmp_path):
    wide = np.zeros((4, 5, 60), np.uint8)
    wide[:, :, 50:] = 1

    with pytest.raises(UserInputError, match="does not overlap the image"):
        read_mask(save(tmp_path / "wide.nrrd", wide), Wanted("GTV"), VOLUME)


def test_what_is_written_is_read_back(tmp_path, labels):
    write_labelmap(tmp_path / "out.nii.gz", labels == 2, VOLUME)

    assert np.array_equal(read_mask(tmp_path / "out.nii.gz", Wanted("GTV", (1,)), VOLUME), labels == 2)
