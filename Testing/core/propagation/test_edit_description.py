"""The eight numbers that describe an edit, worked by hand."""

import math

import numpy as np
import pytest

from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE, DrawnSlice, describe, no_description

RATIO, THRESHOLD, ON_CONTOUR, DISTANCE, DSC, INSIDE, RING, EDITED = range(DESCRIPTION_SIZE)


def box_mask(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def drawn_slice(drawn, predicted, spacing_mm=(1.0, 1.0), inside=2.0, outside=-3.0):
    return DrawnSlice(drawn, predicted, np.where(predicted, inside, outside), spacing_mm)


def three_in_four():
    """A drawn 3 x 3 square in the corner of a predicted 4 x 4 square."""
    return drawn_slice(box_mask((8, 8), (1, 4), (1, 4)), box_mask((8, 8), (1, 5), (1, 5)))


def pixel(row, column, shape=(11, 41)):
    return box_mask(shape, (row, row + 1), (column, column + 1))


def test_a_square_drawn_smaller_than_predicted():
    described = describe([three_in_four()])

    assert described.dtype == np.float32
    assert described.tolist() == pytest.approx(
        [
            math.log(10 / 17) / 2,  # 9 drawn and 16 predicted pixels, one added to each
            0.2,  # the ninth highest logit is 2, and so is the next
            0.2,  # all of the drawn contour is predicted
            3 / 8 / 5,  # of 8 contour pixels, 3 lie 1 mm inside the predicted outline, 5 on it; in units of 5 mm
            2 * 9 / (9 + 16),
            0.2,
            (6 * 2 - 18 * 3) / 24 / 10,  # 24 pixels within 3 rows or columns of the drawing, 6 of them predicted
            1,
        ]
    )


def test_a_drawing_as_predicted_has_no_distance_no_ratio_and_dsc_1():
    mask = box_mask((9, 9), (2, 6), (3, 8))
    described = describe([drawn_slice(mask, mask)])
    assert described[[RATIO, DISTANCE, DSC]].tolist() == [0, 0, 1]
    assert described[[ON_CONTOUR, INSIDE, RING]].tolist() == pytest.approx([0.2, 0.2, -0.3])


def test_an_edit_that_grows_the_target_has_the_opposite_ratio_of_one_that_shrinks_it():
    small, large = box_mask((9, 9), (3, 5), (3, 5)), box_mask((9, 9), (1, 7), (1, 7))
    grown, shrunk = describe([drawn_slice(large, small)]), describe([drawn_slice(small, large)])
    assert grown[RATIO] == pytest.approx(math.log(37 / 5) / 2)
    assert shrunk[RATIO] == pytest.approx(-math.log(37 / 5) / 2)
    assert grown[DISTANCE] < 0 < shrunk[DISTANCE]


@pytest.mark.parametrize("area", [1, 5, 11])
def test_above_the_threshold_lie_as_many_pixels_as_are_drawn(area):
    logit = np.random.default_rng(0).permutation(np.arange(-12, 12) / 2.0).reshape(4, 6)
    drawn = np.zeros(24, bool)
    drawn[:area] = True
    threshold = 10 * describe([DrawnSlice(drawn.reshape(4, 6), logit > 0, logit, (1.0, 1.0))])[THRESHOLD]
    assert (logit > threshold + 1e-6).sum() == area


def test_where_everything_is_drawn_the_threshold_is_the_lowest_logit():
    logit = np.arange(6.0).reshape(2, 3) - 4
    assert describe([DrawnSlice(np.ones((2, 3), bool), logit > 0, logit, (1.0, 1.0))])[THRESHOLD] == pytest.approx(-0.4)


@pytest.mark.parametrize(
    ("spacing_mm", "distance_mm"),
    [((1.0, 1.0), 1.0), ((2.0, 0.25), 4 * 0.25), ((0.25, 2.0), 1 * 0.25), ((1.5, 2.0), 1.5)],
)
def test_distances_are_millimetres_along_each_axis(spacing_mm, distance_mm):
    """The drawn pixel lies 1 row and 4 columns inside the outline of what is predicted."""
    piece = drawn_slice(pixel(5, 5), box_mask((11, 41), (4, 7), (1, 10)), spacing_mm)
    assert describe([piece])[DISTANCE] == pytest.approx(distance_mm / 5)


def test_a_contour_outside_the_prediction_has_a_negative_distance():
    assert describe([drawn_slice(pixel(5, 8), pixel(5, 5), (3.0, 0.5))])[DISTANCE] == pytest.approx(-3 * 0.5 / 5)


def test_the_distance_ends_at_five_millimetres():
    assert describe([drawn_slice(pixel(5, 40), pixel(5, 5))])[DISTANCE] == -1


def test_an_erased_slice_says_how_sure_the_prediction_was():
    predicted = box_mask((7, 7), (3, 4), (2, 5))
    described = describe([drawn_slice(np.zeros((7, 7), bool), predicted, inside=4.0, outside=-2.0)])
    assert described.tolist() == pytest.approx([math.log(1 / 4) / 2, 0.4, 0, 0, 0, 0, 0, 1])


def test_an_empty_prediction_has_no_outline_and_so_no_distance():
    drawn = box_mask((9, 9), (4, 6), (4, 6))
    described = describe([drawn_slice(drawn, np.zeros((9, 9), bool), outside=-2.0)])
    assert described.tolist() == pytest.approx([math.log(5) / 2, -0.2, -0.2, 0, 0, -0.2, -0.2, 1])


def test_logits_beyond_ten_count_as_ten():
    mask = box_mask((9, 9), (2, 6), (3, 8))
    described = describe([drawn_slice(mask, mask, inside=500.0, outside=-70.0)])
    assert described[[INSIDE, ON_CONTOUR, RING]].tolist() == [1, 1, -1]


def test_several_slices_are_averaged_by_the_pixels_drawn_or_predicted():
    drawn_only = drawn_slice(box_mask((9, 9), (4, 6), (4, 6)), np.zeros((9, 9), bool))  # 4 pixels beside 16
    expected = (16 * describe([three_in_four()]) + 4 * describe([drawn_only])) / 20
    assert np.allclose(describe([three_in_four(), drawn_only]), expected, atol=1e-6)
    assert np.allclose(describe([drawn_only, three_in_four()]), expected, atol=1e-6)


def test_a_slice_with_nothing_on_it_counts_nothing():
    blank = drawn_slice(np.zeros((8, 8), bool), np.zeros((8, 8), bool))
    assert np.array_equal(describe([blank, three_in_four()]), describe([three_in_four()]))
    assert np.array_equal(describe([blank]), np.zeros(8))


def test_no_edit_is_eight_zeros():
    assert no_description().dtype == np.float32
    assert np.array_equal(describe([]), no_description())
    assert no_description().tolist() == [0] * 8


def test_predicted_is_what_the_labels_say_and_not_the_sign_of_the_logit():
    """With three labels the target wins at p .4 against .3 and .3, where its logit against both together is below 0."""
    mask = box_mask((9, 9), (2, 6), (3, 8))
    logit = np.where(mask, math.log(0.4 / 0.6), -3.0)
    described = describe([DrawnSlice(mask, mask, logit, (1.0, 1.0))])
    assert described[[RATIO, DISTANCE, DSC]].tolist() == [0, 0, 1]
    assert described[INSIDE] == pytest.approx(math.log(0.4 / 0.6) / 10)
