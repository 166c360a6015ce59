"""Other contours of a structure are wider or tighter by the same millimetres everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.training.fusion.contour_styles import MOST_MM, contour_styles

SPACING = (2.5, 1.0, 0.5)


def _ball(radius_mm: float) -> np.ndarray:
    k, j, i = np.ogrid[:21, :41, :81]
    mm = np.sqrt(((k - 10) * 2.5) ** 2 + ((j - 20) * 1.0) ** 2 + ((i - 40) * 0.5) ** 2)
    return np.asarray(mm <= radius_mm)


def _radius_mm(mask: np.ndarray) -> float:
    """Of the ball of that volume."""
    return float((mask.sum() * np.prod(SPACING) * 3 / (4 * np.pi)) ** (1 / 3))


def test_each_margin_is_the_same_number_of_millimetres_along_every_axis() -> None:
    for contour in contour_styles(_ball(12), SPACING, 4, seed=1):
        found = sitk.GetImageFromArray(contour.astype(np.uint8))
        stats = sitk.LabelShapeStatisticsImageFilter()
        stats.Execute(found)
        i, j, k = (n * mm for n, mm in zip(stats.GetBoundingBox(1)[3:], SPACING[::-1], strict=True))
        assert i == pytest.approx(j, abs=1.5)
        assert k == pytest.approx(j, abs=3.5)


def test_margins_spread_to_both_sides_within_three_millimetres() -> None:
    radii = [_radius_mm(contour) - 12 for contour in contour_styles(_ball(12), SPACING, 40, seed=0)]
    assert min(radii) < -1.5
    assert max(radii) > 1.5
    assert max(map(abs, radii)) < MOST_MM + 0.6


def test_a_small_structure_never_vanishes() -> None:
    assert all(contour.any() for contour in contour_styles(_ball(2.6), SPACING, 40, seed=0))


def test_the_same_seed_gives_the_same_contours_and_another_one_others() -> None:
    first, again, other = (list(contour_styles(_ball(12), SPACING, 2, seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_of_nothing_and_of_everything_there_is_no_other_contour() -> None:
    assert not list(contour_styles(np.zeros((2, 3, 4), bool), SPACING, 2, 0))
    assert not list(contour_styles(np.ones((2, 3, 4), bool), SPACING, 2, 0))
