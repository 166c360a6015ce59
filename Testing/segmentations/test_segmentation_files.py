"""Which voxels of a labelmap are meant, and where they lie on the image's grid."""

import logging

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import Drawing
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.labelmap_files import write_labelmap
from context_propagation.files.segmentation import Propagated, Wanted
from context_propagation.segmentations.segmentation_files import (
    read_mask,
    read_together,
    write_propagated,
)

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


@pytest.mark.parametrize(("values", "slices"), [((2,), [1]), ((2, 3), [1, 2]), ((3, 7), [2])])
def test_the_wanted_values_are_taken(tmp_path, labels, values, slices):
    mask = read_mask(save(tmp_path / "labels.nrrd", labels), Wanted("GTV", values), VOLUME)

    assert mask.dtype == bool
    assert np.flatnonzero(mask.all(axis=(1, 2))).tolist() == slices
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == slices


@pytest.mark.parametrize("value", [1, 5])
def test_masks_of_one_other_value_stand_for_the_label_and_that_is_said(tmp_path, labels, caplog, value):
    initial = save(tmp_path / "initial.nrrd", (labels == 1).astype(np.uint8) * value)
    edited = save(tmp_path / "edited.nrrd", (labels > 1).astype(np.uint8) * value)

    with caplog.at_level(logging.WARNING):
        read = read_together([initial, edited], Wanted("Heart", (2,)), VOLUME)

    assert np.array_equal(read[0].mask, labels == 1)
    assert np.array_equal(read[1].mask, labels > 1)
    assert [each.labels for each in read] == [None, None]
    (message,) = caplog.messages
    assert f"hold the value {value} only; it is taken as a mask of Heart" in message


def test_an_empty_file_does_not_change_how_the_other_is_read(tmp_path, labels, caplog):
    empty = save(tmp_path / "empty.nrrd", np.zeros(SHAPE, np.uint8))
    mask = save(tmp_path / "mask.nrrd", (labels == 1).astype(np.uint8) * 2)

    read = read_together([empty, mask], Wanted("Heart", (2,)), VOLUME)

    assert not read[0].mask.any()
    assert np.array_equal(read[1].mask, labels == 1)
    assert not caplog.messages


def test_where_the_label_was_erased_the_other_organ_is_not_taken_for_it(tmp_path, labels, caplog):
    initial = save(tmp_path / "initial.nrrd", np.where(labels <= 2, labels, 0))
    edited = save(tmp_path / "edited.nrrd", np.where(labels == 1, labels, 0))

    read = read_together([initial, edited], Wanted("Heart", (2,)), VOLUME)

    assert np.array_equal(read[0].mask, labels == 2)
    assert not read[1].mask.any()
    (message,) = caplog.messages
    assert message == f"Segmentation '{edited}' holds the labels 1, not 2 (Heart); it is taken as empty"


def test_files_without_the_label_are_refused_with_the_values_they_hold(tmp_path, labels):
    initial = save(tmp_path / "initial.nrrd", np.where(labels == 1, labels, 0))
    edited = save(tmp_path / "edited.nrrd", np.where(labels == 3, labels, 0))

    with pytest.raises(UserInputError, match=r"hold the labels 1, 3, not 2 \(Heart\); choose another label"):
        read_together([initial, edited], Wanted("Heart", (2,)), VOLUME)


def all_of(read, result):
    """A result of which everything may be written."""
    return Propagated(result, read.mask ^ result, Drawing((), ()), BoxedMask.of(np.zeros((0, 0, 0), bool)))


def propagated(tmp_path, edited, result, wanted, name="out.nrrd"):
    """Write a result beside an edited labelmap; its path and the refused voxels."""
    read = read_together([save(tmp_path / "edited.nrrd", edited)], wanted, VOLUME)[0]
    refused = write_propagated(tmp_path / name, read, all_of(read, result), VOLUME)
    return tmp_path / name, refused


def test_other_labels_are_kept_and_not_written_over(tmp_path, labels, caplog):
    labels = np.where(labels == 3, np.int16(300), labels)
    result = np.zeros(SHAPE, bool)
    result[0, 0] = result[1, 0] = result[3, 0] = True  # on label 1, on the target, on background

    path, refused = propagated(tmp_path, labels, result, Wanted("Heart", (2,)))

    expected = labels.astype(int)
    expected[1, 1:] = 0
    expected[3, 0] = 2
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), expected)
    assert refused == SHAPE[2]
    (message,) = caplog.messages
    assert message.startswith("6 voxels are not given to Heart: the labels 1, 300 of '")


def test_a_region_keeps_its_values_and_grows_by_its_first(tmp_path, labels, caplog):
    labels[labels == 3] = 0
    path, refused = propagated(tmp_path, labels, np.ones(SHAPE, bool), Wanted("Tumour", (2, 1)))

    expected = np.where(labels == 0, 2, labels)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), expected)
    assert (refused, caplog.messages) == (0, [])


@pytest.mark.parametrize("origin", [0.0, 0.5], ids=["the image's grid", "a grid of its own"])
def test_what_leaves_a_nested_region_is_the_outer_one_s_and_it_grows_into_that(tmp_path, origin, caplog):
    # whole is 1, 2 and 3, core 2 and 3, enhancing 3; an organ is 7
    row = np.array([0, 1, 2, 3, 2, 7], np.uint8)
    labels = np.broadcast_to(row, SHAPE).copy()
    read = read_together(
        [save(tmp_path / "e.nrrd", labels, origin=(origin, 0, 0))], Wanted("core", (2, 3), (1,)), VOLUME
    )[0]
    core = np.broadcast_to(np.array([1, 1, 0, 0, 1, 1], bool), SHAPE)

    refused = write_propagated(tmp_path / "out.nrrd", read, all_of(read, core), VOLUME)

    # added to the background and to the ring of whole; 2 and 3 become whole's; the organ's voxels are refused
    expected = np.broadcast_to([2, 2, 1, 1, 2, 7], SHAPE)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd"))), expected)
    assert refused == SHAPE[0] * SHAPE[1]
    assert "the labels 7 of '" in caplog.text


def test_what_leaves_the_innermost_region_is_the_one_s_around_it(tmp_path):
    labels = np.broadcast_to(np.array([0, 1, 2, 3, 3, 2], np.uint8), SHAPE).copy()
    enhancing = np.broadcast_to(np.array([0, 1, 1, 1, 0, 0], bool), SHAPE)

    wanted = Wanted("enhancing", (3,), (2, 1))
    read = read_together([save(tmp_path / "e.nrrd", labels)], wanted, VOLUME)[0]
    write_propagated(tmp_path / "out.nrrd", read, all_of(read, enhancing), VOLUME)

    expected = np.broadcast_to([0, 3, 3, 3, 2, 2], SHAPE)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd"))), expected)


def test_a_plain_mask_becomes_zeros_and_ones(tmp_path, labels):
    path, refused = propagated(tmp_path, (labels == 1) * np.uint8(5), labels == 2, Wanted("Heart", (2,)))

    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), labels == 2)
    assert refused == 0


def test_other_labels_on_another_grid_land_on_the_image_s(tmp_path, labels):
    padded = save(tmp_path / "padded.nrrd", np.pad(labels, 1), origin=(-2.0, -2.0, -2.0))

    read = read_together([padded], Wanted("Heart", (2,)), VOLUME)[0]

    assert np.array_equal(read.labels, labels)
    assert np.array_equal(read.mask, labels == 2)
    assert read.other_labels == [1, 3]


def test_a_label_that_is_not_there_is_named_with_those_that_are(tmp_path, labels):
    path = save(tmp_path / "labels.nrrd", labels)

    with pytest.raises(UserInputError, match=r"holds the labels 1, 2, 3, not 7 \(Heart\)"):
        read_mask(path, Wanted("Heart", (7,)), VOLUME)


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf, 1e30])
def test_values_that_are_no_labels_are_refused(tmp_path, labels, value):
    broken = labels.astype(np.float32)
    broken[0, 0, 0] = value

    with pytest.raises(UserInputError, match="which are not labels"):
        read_mask(save(tmp_path / "labels.nrrd", broken), Wanted("GTV", (1,)), VOLUME)


def test_a_ground_truth_of_one_other_label_is_not_taken_for_the_target(tmp_path, labels):
    path = save(tmp_path / "liver.nrrd", 2 * (labels == 2).astype(np.uint8))

    with pytest.raises(UserInputError, match=r"holds the labels 2, not 1 \(GTV\); give the target that value"):
        read_mask(path, Wanted("GTV", (1,)), VOLUME)


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

    mask = read_mask(path, Wanted("GTV", (1,)), VOLUME)

    assert np.flatnonzero(mask.any(axis=(0, 1))).tolist() == [2]


def test_a_flipped_segmentation_lands_on_the_same_anatomy(tmp_path, labels):
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(sitk.DICOMOrient(image, "RAI"), str(tmp_path / "flipped.nrrd"))

    assert np.array_equal(read_mask(tmp_path / "flipped.nrrd", Wanted("GTV", (1,)), VOLUME), labels == 1)


def test_a_segmentation_beside_the_image_is_refused_with_both_places(tmp_path, labels):
    path = save(tmp_path / "far.nrrd", labels, origin=(100.0, 0.0, 0.0))

    with pytest.raises(UserInputError, match=r"around \(105\.0, 4\.0, 3\.0\), the image around \(5\.0, 4\.0, 3\.0\)"):
        read_mask(path, Wanted("GTV", (1,)), VOLUME)


def test_a_target_beside_the_image_is_refused_though_the_grids_overlap(tmp_path):
    wide = np.zeros((4, 5, 60), np.uint8)
    wide[:, :, 50:] = 1

    with pytest.raises(UserInputError, match="does not overlap the image"):
        read_mask(save(tmp_path / "wide.nrrd", wide), Wanted("GTV", (1,)), VOLUME)


def test_what_is_written_is_read_back(tmp_path, labels):
    write_labelmap(tmp_path / "out.nii.gz", labels == 2, VOLUME)

    assert np.array_equal(read_mask(tmp_path / "out.nii.gz", Wanted("GTV", (1,)), VOLUME), labels == 2)


# ---- labelmaps that lie elsewhere


def test_a_labelmap_without_geometry_is_refused_though_it_overlaps_the_image(tmp_path, labels):
    path = save(tmp_path / "bare.nrrd", labels, spacing=(1, 1, 1))

    with pytest.raises(UserInputError, match="has the image's size and no geometry in its header"):
        read_mask(path, Wanted("GTV", (1,)), VOLUME)


def test_a_labelmap_of_the_image_s_size_beside_it_is_placed_by_its_header_and_that_is_said(tmp_path, labels, caplog):
    mask = read_mask(save(tmp_path / "moved.nrrd", labels, origin=(0, 0, 2)), Wanted("GTV", (2,)), VOLUME)

    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [2]
    assert "has the image's size and lies up to 2 mm beside it" in caplog.text


@pytest.mark.parametrize(("beyond", "left_out"), [(1, 20), (2, 40)])
def test_labelled_voxels_beside_the_image_are_counted(tmp_path, caplog, beyond, left_out):
    long = np.zeros((12, 5, 4), np.uint8)
    long[4 - 3 : 4 + beyond] = 1  # slices 1 to 3 lie on the image

    mask = read_mask(save(tmp_path / "long.nrrd", long), Wanted("GTV", (1,)), VOLUME)

    assert mask.sum() == 60
    assert f"{left_out} of {60 + left_out} voxels of the label in " in caplog.text


def test_a_label_that_lies_beside_the_image_for_the_most_part_is_refused(tmp_path):
    long = np.zeros((12, 5, 4), np.uint8)
    long[3:6] = 1

    with pytest.raises(
        UserInputError, match=r"does not overlap the image \(40 of 60 voxels of the label lie beside it\)"
    ):
        read_mask(save(tmp_path / "long.nrrd", long), Wanted("GTV", (1,)), VOLUME)


def test_a_labelmap_with_the_trainings_values_is_refused_where_they_are_others(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2, 3, 4], labels[2, 3, 5] = 1, 4
    core = Wanted("Core", (1, 3), (2,), training=(4,))

    with pytest.raises(
        UserInputError, match=r"holds the value 4, which labelmaps of the model's training have in Core; .*are 1, 3"
    ):
        read_mask(save(tmp_path / "training.nrrd", labels), core, VOLUME)
    labels[labels == 4] = 3
    assert read_mask(save(tmp_path / "changed.nrrd", labels), core, VOLUME).sum() == 2
