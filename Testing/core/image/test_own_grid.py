"""Grids beside the image's: one lattice is known again although rounding cut its part on the image otherwise."""

import numpy as np
import pytest

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.own_grid import OwnGrid, OwnMask

IMAGE = (16, 16, 16)


def turned(degrees: float, shift, noise=None) -> np.ndarray:
    angle, matrix = np.radians(degrees), np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    if noise is not None:
        matrix[:3] += noise
    return matrix


def pairs():
    """A grid, and the same rounded so that its part on the image starts or ends elsewhere."""
    rng, found = np.random.default_rng(0), []
    while len(found) < 20:
        degrees, shift = int(rng.integers(5, 85)), rng.uniform(-5, 5, 3).round(1)
        grids = [
            OwnGrid.on_lattice(turned(degrees, shift, noise), IMAGE, (1.0, 1.0, 1.0))
            for noise in (None, rng.uniform(-1e-5, 1e-5, (3, 4)))
        ]
        if grids[0].shape != grids[1].shape:
            found.append(grids)
    return found


@pytest.mark.quick(number=(0, 1, 2, 3, 4))
@pytest.mark.parametrize("number", range(20))
def test_a_mask_lies_at_the_same_places_on_the_rounded_grid(number):
    exact, rounded = pairs()[number]
    middle = tuple(n // 2 for n in rounded.shape)
    voxels = np.zeros(rounded.shape, bool)
    voxels[middle], voxels[middle[0] + 1, middle[1] - 2, middle[2] + 3] = True, True

    moved = OwnMask(rounded, BoxedMask.of(voxels), 3).on(exact)

    places = [
        (grid.image_from_own_ijk[:3] @ np.vstack([np.argwhere(mask)[:, ::-1].T, [1, 1]])).T
        for grid, mask in ((rounded, voxels), (exact, moved.mask.mask))
    ]
    assert np.allclose(places[0], places[1], atol=1e-3)
    assert moved.off_image == 3
    assert moved.grid.is_same(exact)
    lattice = [np.argwhere(mask) + grid.start_kji for grid, mask in ((rounded, voxels), (moved.grid, moved.mask.mask))]
    assert np.array_equal(*lattice)  # the file's own indices


@pytest.mark.parametrize("change", [turned(0, (0.1, 0, 0)), turned(1, (0, 0, 0)), np.diag([1.0, 1.0, 1.01, 1.0])])
def test_a_grid_that_places_voxels_elsewhere_is_another_one(change):
    grid = OwnGrid.on_lattice(turned(30, (1, 2, 3)), IMAGE, (1.0, 1.0, 1.0))
    other = OwnGrid.on_lattice(turned(30, (1, 2, 3)) @ change, IMAGE, (1.0, 1.0, 1.0))

    assert grid.start_in(other) is None
    assert OwnMask(grid, BoxedMask.of(np.zeros(grid.shape, bool))).on(other) is None


def test_a_grid_from_a_saved_session_is_as_oblique_as_it_was():
    spacing_ijk, turn = np.diag([0.8, 1.1, 2.5, 1.0]), np.eye(4)
    angle = np.radians(10)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]  # about i
    shape, matrix = (16, 16, 16), np.linalg.inv(spacing_ijk) @ turn @ spacing_ijk
    grid, saved = OwnGrid(shape, shape, matrix, (2.5, 1.1, 0.8)), OwnGrid(shape, shape, matrix)

    there = OwnMask(grid, BoxedMask.of(np.ones(shape, bool))).on(saved)

    assert there.grid.axis_towards(0) == (0, pytest.approx(10))
