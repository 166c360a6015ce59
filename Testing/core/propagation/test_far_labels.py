"""What a network flips on far slices: worked by hand on slices of 1 x 3 or 1 x 4 voxels."""

import numpy as np
import pytest

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.composition import compose
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.propagation.far_labels import expected_gains, left_alone
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.update_settings import UpdateReport

NAN = float("nan")
SILENT = [0.0, 0.0, 0.0]


def volume(*rows: str) -> np.ndarray:
    """One string per slice k, e.g. "0110", as bool `[K, 1, I]`."""
    return np.array([[[c == "1" for c in row]] for row in rows])


def drawn(index: int, row: str) -> SliceEdit:
    return SliceEdit(0, index, volume(row)[0])


def far(*rows: list[float]) -> Margins:
    """Margins of all slices."""
    values = np.array(rows, np.float16)[:, None]
    return Margins(((0, len(rows)), (0, 1), (0, values.shape[2])), values)


def rows_of(labels: np.ndarray) -> list[str]:
    return ["".join("01"[int(v)] for v in row[0]) for row in labels]


def test_slices_that_the_network_would_change_and_is_not_sure_of_are_left_alone():
    """R_0 is 101; N(0) = 0; thresholds 0.2 and 0.5, whole from slice 6 on.

    Slice 6 agrees, 7 and 11 are in doubt, 8 adds, 9 removes, and in 10 only one voxel is in doubt.
    """
    margins = far(
        [-0.4, 0.1, -0.4],  # drawn
        *[SILENT] * 5,
        [0.9, -0.9, 0.9],
        [-0.4, 0.1, 0.1],
        [-0.4, 0.3, -0.4],
        [-0.6, 0.1, -0.4],
        [-0.4, NAN, NAN],
        [-0.5, 0.2, 0.1],
    )
    record = EditRecord((drawn(0, "101"),), 0, (), far=margins)
    window_prediction = volume(*["101"] * 12)

    found = left_alone(window_prediction, (record,), FarThresholds(0.2, 0.5), least_voxels=2)

    assert found == (7, 11)
    assert rows_of(compose(window_prediction, (record,), FarThresholds(0.2, 0.5)))[7] == "101"


def test_a_twentieth_of_a_large_slice_must_be_in_doubt():
    window_prediction = np.ones((2, 1, 41), bool)
    for doubted, expected in ((2, ()), (3, (1,))):  # a twentieth of 41 is 2.05
        values = np.full((2, 1, 41), 0.9, np.float16)
        values[1, 0, :doubted] = -0.05
        edit = SliceEdit(0, 0, np.ones((1, 41), bool))
        record = EditRecord((edit,), 0, (), far=Margins(((0, 2), (0, 1), (0, 41)), values))
        assert left_alone(window_prediction, (record,), FarThresholds(0.5, 0.5), least_voxels=1) == expected


def test_without_far_margins_no_slice_is_left_alone():
    assert left_alone(volume(*["000"] * 6), (EditRecord((drawn(2, "011"),), 1, ()),)) == ()


@pytest.mark.parametrize(
    ("outside", "gain"),
    [
        (0, 0.8 / 3.7),  # p is .9, .2, .6, 0: D is 2 (.9 + .2) / (1.7 + 2) before and 2 (.9 + .6) / (1.7 + 2) after
        (1, 0.8 / 5.7),  # and one voxel of the target more that is sure to be right
    ],
)
def test_a_slice_is_expected_to_gain_what_the_margins_foretell(outside, gain):
    margins = np.array([[[0.8, -0.6, 0.2, NAN]]])

    found = expected_gains(margins, volume("1100"), volume("0110"), np.array([outside]), 0)

    assert found == pytest.approx([gain])


def test_slices_run_along_any_axis_and_where_nothing_flips_nothing_is_gained():
    margins = np.array([[[0.8, -0.6, 0.2, NAN], [NAN] * 4, [-1.0] * 4]])
    target, flips = volume("1100", "0000", "0000"), volume("0110", "0000", "0000")

    found = expected_gains(margins, target.swapaxes(0, 1), flips.swapaxes(0, 1), np.zeros(3), 1)

    assert found == pytest.approx([0.8 / 3.7, 0.0, 0.0])


def test_to_take_away_all_of_a_slice_that_is_surely_empty_gains_a_whole_dsc():
    assert expected_gains(np.full((1, 1, 3), -1.0), volume("010"), volume("010"), np.zeros(1), 0) == [1.0]


@pytest.mark.parametrize(("least_gain", "changed"), [(0.28, "100"), (0.29, "110")])
def test_a_slice_is_changed_only_where_it_is_expected_to_gain_enough(least_gain, changed):
    """p is .9, .1, 0: D is 2 (.9 + .1) / (1 + 2) before and 2 * .9 / (1 + 1) after, .2333 more.

    A sixth of the thresholds counts next to the drawn slice: there margins of .8 are as good as 1, and it is 1/3 more.
    """
    record = EditRecord((drawn(0, "110"),), 0, (), far=far(SILENT, *[[0.0] * 3] * 5, [0.8, -0.8, -1.0]))
    thresholds = FarThresholds(0.5, 0.5, least_gain=least_gain - 0.05)
    assert rows_of(compose(volume(*["110"] * 7), (record,), thresholds))[6] == changed

    beside = EditRecord((drawn(0, "110"),), 0, (), far=far(SILENT, [0.8, -0.8, -1.0]))
    for least, wanted in ((0.33, "100"), (0.34, "110")):
        thresholds = FarThresholds(0.5, 0.5, least_gain=least)
        assert rows_of(compose(volume("110", "110"), (beside,), thresholds))[1] == wanted


def test_what_lies_outside_of_the_margins_counts_for_the_gain_and_a_part_of_the_image_gives_what_the_whole_gives():
    """With two voxels of the target beyond, D is 2 (2 + .9 + .1) / (3 + 4) before and 2 (2 + .9) / (3 + 3) after."""
    values = np.array([[[0.0] * 3]] * 6 + [[[0.8, -0.8, -1.0]]], np.float16)
    record = EditRecord((drawn(0, "11011"),), 0, (), far=Margins(((0, 7), (0, 1), (0, 3)), values))
    window_prediction = volume(*["11011"] * 7)
    gain = 2 * 2.9 / 6 - 2 * 3 / 7

    for least, wanted in ((gain - 0.001, "10011"), (gain + 0.001, "11011")):
        thresholds = FarThresholds(0.5, 0.5, least_gain=least)
        assert rows_of(compose(window_prediction, (record,), thresholds))[6] == wanted
        part = compose(window_prediction, (record,), thresholds, box=((6, 7), (0, 1), (1, 2)))
        assert part.item() == (wanted[1] == "1")


def test_a_slice_that_gains_too_little_is_left_alone_for_thin_evidence():
    record = EditRecord((drawn(0, "110"),), 0, (), far=far(SILENT, *[SILENT] * 5, [0.8, -0.8, -1.0]))
    window_prediction = volume(*["110"] * 7)

    for least, expected in ((0.2, ()), (0.3, (6,))):
        thresholds = FarThresholds(0.5, 0.5, least_gain=least)
        assert left_alone(window_prediction, (record,), thresholds, least_voxels=1) == expected


def test_a_slice_of_any_plane_in_which_a_network_speaks_may_gain_enough():
    """One voxel of .95: in a row of six others it gains .07, in an empty column .97. A confirmed slice has no say."""
    values = np.full((8, 1, 8), NAN, np.float16)
    values[7, 0, 7] = 0.9
    said = Margins(((0, 8), (0, 1), (0, 8)), values)
    across = SliceEdit(2, 0, np.zeros((8, 1), bool))
    rows, columns = EditRecord((drawn(0, "00000000"),), 0, (), far=said), EditRecord((across,), 0, (), far=said)
    confirmed = EditRecord((across,), 0, (), confirmed=True)
    window_prediction = volume(*["00000000"] * 7, "01111110")
    thresholds = FarThresholds(0.5, 0.5, least_gain=0.5)

    for records, changed in (((rows,), False), ((columns,), True), ((rows, columns), True), ((columns, rows), True)):
        assert compose(window_prediction, records, thresholds)[7, 0, 7] == changed
    assert not compose(window_prediction, (rows, confirmed), thresholds)[7, 0, 7]


@pytest.mark.parametrize("told", [{"confirmed": True}, {"updates": (UpdateReport(0, 0, 0, "already satisfied"),)}])
def test_a_slice_that_is_right_already_changes_nothing_of_those_that_it_crosses(told):
    """Two voxels gain enough together; one of them is confirmed as it has become, and so drawn."""
    values = np.array([[SILENT]] * 6 + [[[0.0, 0.9, 0.9]]], np.float16)
    edit = EditRecord((drawn(0, "100"),), 0, (), far=Margins(((0, 7), (0, 1), (0, 3)), values))
    window_prediction, thresholds = volume(*["100"] * 7), FarThresholds(0.5, 0.5, least_gain=0.25)
    before = compose(window_prediction, (edit,), thresholds)
    assert rows_of(before)[6] == "111"

    column = EditRecord((SliceEdit(2, 2, before[:, :, 2]),), 0, (), **told)

    assert np.array_equal(compose(window_prediction, (edit, column), thresholds), before)
    assert left_alone(window_prediction, (edit, column), thresholds, least_voxels=1) == ()
