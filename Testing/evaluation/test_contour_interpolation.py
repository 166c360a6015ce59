"""Interpolation between key frames on shapes whose middle slices are known."""

import sys
from itertools import pairwise

import numpy as np
import pytest

from context_propagation.core.errors import MissingDependencyError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.evaluation.contour_interpolation import interpolated_between, interpolated_through

pytestmark = pytest.mark.long  # the filter's first run on a machine compiles it, about eight seconds
pytest.importorskip("itkwasm_morphological_contour_interpolation")

SLICES, SIDE, S = 23, 41, 11


def disc(radius: float, centre: tuple[float, float] = (20, 20)) -> np.ndarray:
    j, i = np.ogrid[:SIDE, :SIDE]
    return (j - centre[0]) ** 2 + (i - centre[1]) ** 2 <= radius**2


def stack(radii) -> np.ndarray:
    return np.array([disc(r) if r else np.zeros((SIDE, SIDE), bool) for r in radii])


def radius_of(mask: np.ndarray) -> float:
    return float(np.sqrt(mask.sum() / np.pi))


def interpolated(baseline: np.ndarray, drawn: np.ndarray, step: int, index: int = S) -> np.ndarray:
    return interpolated_between(baseline, SliceEdit(0, index, drawn), step)


def test_a_cylinder_stays_a_cylinder_and_repairs_the_slices_between():
    truth = stack([10] * SLICES)
    baseline = truth.copy()
    baseline[7:16] = disc(4)  # wrong between the key frames 6 and 16

    assert np.array_equal(interpolated(baseline, truth[S], 5), truth)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_between_widen_and_the_key_frames_and_all_beyond_stay(axis):
    baseline = stack([6] * SLICES)
    turned = np.moveaxis(baseline, 0, axis)

    result = np.moveaxis(interpolated_between(turned, SliceEdit(axis, S, disc(14)), 5), axis, 0)

    assert np.array_equal(result[S], disc(14))
    assert np.array_equal(result[:7], baseline[:7])
    assert np.array_equal(result[16:], baseline[16:])
    radii = [radius_of(mask) for mask in result[6:12]]
    assert radii == sorted(radii)
    assert np.all(np.diff(radii) > 0.5)
    for inner, outer in pairwise(result[6:12]):
        assert not (inner & ~outer).any()


def test_the_slices_of_a_cone_lie_between_its_ends():
    # the filter steps by whole voxels of distance between nested contours, so a radius is right to about half a voxel
    truth = stack([4 + 0.6 * k for k in range(SLICES)])
    baseline = truth.copy()
    baseline[S - 4 : S] = baseline[S + 1 : S + 5] = disc(2)

    result = interpolated(baseline, truth[S], 5)

    assert [radius_of(mask) for mask in result] == pytest.approx([radius_of(mask) for mask in truth], abs=0.75)
    dsc = 2 * (result & truth).sum() / (result.sum() + truth.sum())
    assert dsc > 0.98 > 2 * (baseline & truth).sum() / (baseline.sum() + truth.sum())


def test_the_middle_slice_of_a_widening_tube_has_the_mean_radius():
    result = interpolated(stack([6] * SLICES), disc(14), 10)

    assert radius_of(result[S - 5]) == pytest.approx(10, abs=0.5)
    assert radius_of(result[S + 5]) == pytest.approx(10, abs=0.5)


def test_a_shifted_disc_is_half_way_in_the_middle():
    baseline = np.array([disc(7, (20, 16))] * SLICES)

    result = interpolated(baseline, disc(7, (20, 24)), 10)

    rows, columns = np.nonzero(result[S - 5])
    assert rows.mean() == pytest.approx(20, abs=0.5)
    assert columns.mean() == pytest.approx(20, abs=0.7)


def test_the_larger_step_reaches_farther():
    baseline = stack([6] * SLICES)
    changed = [np.flatnonzero((interpolated(baseline, disc(14), step) ^ baseline).any(axis=(1, 2))) for step in (5, 10)]

    assert (changed[0].min(), changed[0].max()) == (S - 4, S + 4)
    assert changed[1].min() == S - 9
    assert S + 8 <= changed[1].max() <= S + 9  # the filter may repeat an end slice


def test_beyond_the_volume_the_farthest_slice_is_the_key_frame():
    baseline = stack([6] * SLICES)

    result = interpolated(baseline, disc(14), 5, index=3)

    assert np.array_equal(result[0], baseline[0])
    assert 6 < radius_of(result[1]) < radius_of(result[2]) < 14


def test_where_the_key_frame_is_empty_the_farthest_slice_with_content_takes_its_place():
    baseline = stack([0] * 8 + [6] * 6 + [0] * 9)  # slices 8 to 13

    result = interpolated(baseline, disc(14), 5)

    assert not result[:8].any()
    assert np.array_equal(result[8], disc(6))
    assert 6 < radius_of(result[9]) < radius_of(result[10]) < 14
    assert np.array_equal(result[13], disc(6))
    assert not result[14:].any()


def test_a_side_without_content_stays_baseline():
    baseline = stack([6] * SLICES)
    baseline[S + 1 :] = False

    result = interpolated(baseline, disc(14), 5)

    assert not result[S + 1 :].any()
    assert radius_of(result[S - 1]) > 6.5


def test_content_beyond_the_step_is_no_key_frame():
    baseline = stack([6] * 3 + [0] * 20)
    result = interpolated(baseline, disc(14), 5)
    assert np.array_equal(result[:S], baseline[:S])


def test_a_drawing_at_the_end_of_the_volume_has_one_side():
    baseline = stack([6] * SLICES)
    result = interpolated(baseline, disc(14), 5, index=SLICES - 1)
    assert np.array_equal(result[-1], disc(14))
    assert np.array_equal(result[:-5], baseline[:-5])


def test_an_empty_drawing_empties_its_slice_and_nothing_else():
    baseline = stack([6] * SLICES)
    result = interpolated(baseline, np.zeros((SIDE, SIDE), bool), 5)
    assert not result[S].any()
    assert np.array_equal(np.delete(result, S, 0), np.delete(baseline, S, 0))


def test_a_step_of_one_only_pastes_the_drawing():
    baseline = stack([6] * SLICES)
    result = interpolated(baseline, disc(14), 1)
    assert np.array_equal(np.delete(result, S, 0), np.delete(baseline, S, 0))
    assert np.array_equal(result[S], disc(14))


def test_contours_that_touch_the_picture_s_border_are_interpolated():
    baseline = np.zeros((SLICES, SIDE, SIDE), bool)
    baseline[:, :10] = True
    drawn = np.zeros((SIDE, SIDE), bool)
    drawn[:20] = True

    result = interpolated(baseline, drawn, 5)

    heights = [int(result[k].any(axis=1).sum()) for k in range(6, 12)]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (10, 20)
    assert 10 < heights[2] < 20


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_drawn_slices_the_contours_are_interpolated_and_beyond_them_the_baseline_stays(axis):
    """Drawn in any order; an axis of another length than the picture's sides."""
    baseline = stack([6] * SLICES)
    edits = [SliceEdit(axis, index, disc(radius)) for index, radius in ((16, 6), (6, 6), (11, 14))]

    result = np.moveaxis(interpolated_through(np.moveaxis(baseline, 0, axis), edits), axis, 0)

    one = interpolated_between(baseline, SliceEdit(0, 11, disc(14)), 5)  # its key frames are the other two drawings
    assert np.array_equal(result, one)
    assert np.array_equal(baseline, stack([6] * SLICES))


def test_beside_an_empty_drawing_the_baseline_stays():
    baseline = stack([6] * SLICES)
    edits = [SliceEdit(0, 6, disc(10)), SliceEdit(0, 11, np.zeros((SIDE, SIDE), bool)), SliceEdit(0, 16, disc(10))]

    result = interpolated_through(baseline, edits)

    drawn = [6, 11, 16]
    assert [int(result[index].sum()) for index in drawn] == [int(edit.mask.sum()) for edit in edits]
    assert np.array_equal(np.delete(result, drawn, 0), np.delete(baseline, drawn, 0))


def test_the_baseline_is_left_as_it_was():
    baseline = stack([6] * SLICES)
    interpolated(baseline, disc(14), 5)
    assert np.array_equal(baseline, stack([6] * SLICES))


def test_slices_between_are_those_of_itk_s_own_package():
    """Between 5 x 5 and two blocks; in the middle what itk-morphologicalcontourinterpolation 2.1.2 gives by default."""
    drawn, middle, key_frame = (
        np.array([[voxel == "#" for voxel in row] for row in rows.split()])
        for rows in (
            "......... #####.... #####.... #####.... #####.... #####.... ......... .........",
            "......... #.####... #.####... #.####... .#####... .#####... ......... .........",
            "##....... ##.#####. ##.#####. ##.#####. ...#####. ...#####. ......... .........",
        )
    )
    baseline = np.array([drawn, drawn & False, key_frame])

    result = interpolated(baseline, drawn, 5, index=0)

    assert np.array_equal(result, [drawn, middle, key_frame])


@pytest.mark.parametrize("package", ["wasmtime", "itkwasm_morphological_contour_interpolation_wasi"])
def test_a_part_of_the_filter_that_is_missing_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingDependencyError, match=rf"'{package}' is not installed; run: pip install .*evaluation"):
        interpolated(stack([6] * SLICES), disc(14), 5)
