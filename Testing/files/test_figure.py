"""The figure's content in radiological convention; expectations worked by hand."""

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.figure import check_figure_ending, figure_content, write_figure

SIZE_IJK = (60, 50, 40)
SPACING = (1.0, 2.0, 3.0)


def case(orientation: str) -> tuple[SourceVolume, np.ndarray, np.ndarray, int]:
    """An image that knows its own place, a mask in the patient's left anterior part, and the slice k = 12 of LPS."""
    k, j, i = np.indices(SIZE_IJK[::-1])
    image = sitk.GetImageFromArray((i + 100 * j + 10000 * k).astype(np.float32))
    image.SetSpacing(SPACING)
    mask = np.zeros(SIZE_IJK[::-1], np.uint8)
    mask[10:16, 5:15, 40:50] = 1
    turned_mask = sitk.GetImageFromArray(mask)
    turned_mask.CopyInformation(image)
    edited_slice = sitk.GetImageFromArray((k == 12).astype(np.uint8))
    edited_slice.CopyInformation(image)
    image, turned_mask, edited_slice = (sitk.DICOMOrient(x, orientation) for x in (image, turned_mask, edited_slice))
    volume = SourceVolume.from_sitk([image])
    axis = volume.axis_of_plane("axial")
    index = int(np.flatnonzero(sitk.GetArrayFromImage(edited_slice).any(axis=tuple({0, 1, 2} - {axis})))[0])
    return volume, sitk.GetArrayFromImage(turned_mask).astype(bool), np.array(axis), index


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SAL", "RPI"])
def test_the_same_patient_gives_the_same_picture_however_the_array_lies(orientation):
    volume, mask, axis, index = case(orientation)
    after = mask.copy()
    np.moveaxis(after, int(axis), 0)[index] = False

    edit = SliceEdit(int(axis), index, after.take(index, int(axis)))
    content = figure_content(volume, mask, after, [edit], truth=after)

    # margins of 20 mm: 7, 10 and 20 voxels along k, j and i
    assert content.image.shape == (16 + 7 - 3, 15 + 10, 60 - 20)
    assert content.image[0, 0, 0] == 20 + 100 * 0 + 10000 * 3
    assert content.spacing_kji_mm == pytest.approx((3.0, 2.0, 1.0))
    assert (content.edit_axis, content.edited, content.shown) == (0, (9,), index)
    assert content.centre[0] == 9
    assert content.before[9, 5:15, 20:30].all()
    assert not content.after[9].any()
    assert np.array_equal(content.truth, content.after)


@pytest.mark.quick(orientation="SAL")
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SAL"])
def test_the_patient_s_left_is_on_the_right_and_anterior_is_up_in_the_axial_picture(tmp_path, orientation):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    volume, mask, axis, index = case(orientation)
    bright = SourceVolume(mask[None] * np.float32(1000), volume.ijk_to_lps)
    edit = SliceEdit(int(axis), index, mask.take(index, int(axis)))

    write_figure(tmp_path / "figure.png", bright, mask, mask, [edit])

    picture = matplotlib_image.imread(tmp_path / "figure.png")[..., :3]
    assert picture.shape == (864, 1260, 3)
    white = (picture[40:432, 40:380] > 0.99).all(axis=2)  # of the first picture, without its title and letters
    rows = np.flatnonzero(white.sum(axis=1) > 30)  # more than a letter
    columns = np.flatnonzero(white.sum(axis=0) > 30)
    assert columns.mean() + 40 > 420 / 2 + 20
    assert rows.mean() + 40 < 432 / 2
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(2.0, abs=0.15)  # 10 x 2 mm high, 10 x 1 mm wide


@pytest.mark.quick(ending="pdf")
@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "jpg"])
def test_the_ending_chooses_the_format(tmp_path, ending):
    volume, mask, axis, index = case("LPS")
    path = tmp_path / f"figure.{ending}"

    check_figure_ending(path)
    write_figure(path, volume, mask, np.zeros_like(mask), [SliceEdit(int(axis), index, mask[index])])

    assert path.stat().st_size > 10000


def test_an_unknown_ending_is_named(tmp_path):
    with pytest.raises(UserInputError, match=r"figure\.bmp' has an unknown format; end its name in \.png"):
        check_figure_ending(tmp_path / "figure.bmp")
