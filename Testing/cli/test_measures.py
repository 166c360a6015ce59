"""Accuracy measures on hand-worked masks, and against SimpleITK."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.cli.measures import measure, near_slices


def test_dice_of_hand_worked_masks():
    truth = np.zeros((3, 3, 3), bool)
    predicted = np.zeros((3, 3, 3), bool)
    truth[1, 1, :] = True
    predicted[1, 1, 1:] = predicted[1, 2, 1:] = True
    assert measure(predicted, truth, (1, 1, 1)).dsc == pytest.approx(2 * 2 / (3 + 4))


def test_hausdorff_distance_is_in_millimetres_along_each_axis():
    truth = np.zeros((5, 5, 5), bool)
    truth[1, 1, 1] = True
    for axis, mm in enumerate((3.0, 2.0, 0.5)):
        assert measure(np.roll(truth, 2, axis), truth, (3.0, 2.0, 0.5)).hd95_mm == pytest.approx(2 * mm)


def test_empty_masks():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert measure(empty, empty, (1, 1, 1)).dsc == 1
    assert measure(empty, empty, (1, 1, 1)).hd95_mm == 0
    assert measure(empty, full, (1, 1, 1)).dsc == 0
    assert measure(full, empty, (1, 1, 1)).hd95_mm == math.inf


def test_dice_equals_simpleitks():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 6, 7, 8)) > 0.5
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)))
    assert measure(a, b, (1, 1, 1)).dsc == pytest.approx(overlap.GetDiceCoefficient())


def test_near_slices_stop_at_the_border():
    mask = np.arange(6).reshape(6, 1, 1)
    assert near_slices(mask, 0, 1, 2).ravel().tolist() == [0, 1, 2, 3]
