"""Drawn slices as fractions of f's cells, worked by hand."""

import tracemalloc

import numpy as np
import pytest
import torch

from context_propagation.core.image.boxes import whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.propagation.fusion_inputs import edit_map

SHAPE = (4, 6, 8)
CELLS = (2, 3, 4)
"""Cells of 2 x 2 x 2 voxels."""


def plain_grid(shape=SHAPE):
    return GridMap(whole(shape), shape)


def drawn_corner(index=1):
    """j 0 to 1 and i 0 to 2 of one slice along k."""
    drawn = np.zeros(SHAPE, bool)
    drawn[index, :2, :3] = True
    return drawn


def test_cells_hold_the_fractions_that_drawing_and_slice_fill():
    target, edited = edit_map(plain_grid(), whole(SHAPE), CELLS, drawn_corner(), 0, [1])[0]

    expected = torch.zeros(CELLS)
    expected[0, 0, 0] = 4 / 8  # two rows of two voxels, on one of the cell's two slices
    expected[0, 0, 1] = 2 / 8
    assert torch.allclose(target, expected)
    assert torch.allclose(edited[0], torch.full((3, 4), 0.5))
    assert not edited[1].any()


def test_it_is_one_float32_map_of_two_channels():
    found = edit_map(plain_grid(), whole(SHAPE), CELLS, drawn_corner(), 0, [1])
    assert found.shape == (1, 2, *CELLS)
    assert found.dtype == torch.float32


def test_what_is_drawn_on_other_slices_does_not_count():
    found = edit_map(plain_grid(), whole(SHAPE), CELLS, drawn_corner(1) | drawn_corner(3), 0, [1])
    assert torch.equal(found, edit_map(plain_grid(), whole(SHAPE), CELLS, drawn_corner(1), 0, [1]))


def test_two_slices_fill_a_cell_together():
    drawn = drawn_corner(0) | drawn_corner(1)
    target, edited = edit_map(plain_grid(), whole(SHAPE), CELLS, drawn, 0, [0, 1])[0]
    assert target[0, 0].tolist() == [1, 0.5, 0, 0]
    assert edited[0].min() == 1
    assert not edited[1].any()


def test_a_slice_erased_by_the_user_is_edited_but_holds_no_target():
    target, edited = edit_map(plain_grid(), whole(SHAPE), CELLS, np.zeros(SHAPE, bool), 0, [2])[0]
    assert not target.any()
    assert (edited[1] == 0.5).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_perpendicular_to_their_axis(axis):
    drawn = np.zeros(SHAPE, bool)
    np.moveaxis(drawn, axis, 0)[1] = True
    target, edited = edit_map(plain_grid(), whole(SHAPE), CELLS, drawn, axis, [1])[0]
    expected = torch.zeros(CELLS)
    expected.movedim(axis, 0)[0] = 0.5
    assert torch.allclose(edited, expected)
    assert torch.allclose(target, expected)


def test_a_transposed_network_sees_the_same_map_transposed():
    """Network axes 0, 1, 2 show image axes 2, 0, 1."""
    straight = edit_map(plain_grid(), whole(SHAPE), CELLS, drawn_corner(), 0, [1])
    grid = GridMap(whole((8, 4, 6)), (8, 4, 6))
    seen = edit_map(grid, whole((8, 4, 6)), (4, 2, 3), drawn_corner().transpose(2, 0, 1), 1, [1])
    assert torch.allclose(seen, straight.permute(0, 1, 4, 2, 3))


def test_a_cropped_network_starts_at_its_crop():
    """The network sees k 2 to 5 of 8; its first cell holds k 2 and 3."""
    grid = GridMap(((2, 6), (0, 6), (0, 8)), SHAPE)
    drawn = np.zeros((8, 6, 8), bool)
    drawn[3, :2, :2] = True
    target, edited = edit_map(grid, whole(SHAPE), CELLS, drawn, 0, [3])[0]
    assert edited[:, 0, 0].tolist() == [0.5, 0]
    assert target[0, 0].tolist() == [0.5, 0, 0, 0]


def test_on_a_resampled_grid_a_slice_is_shared_between_the_cells_it_lies_in():
    """5 image slices, 8 network slices, 4 cells of 1.25 image slices each: slice 2 lies half in cell 1, half in 2."""
    grid = GridMap(whole((5, 6, 8)), (8, 6, 8))
    drawn = np.ones((5, 6, 8), bool)
    _, edited = edit_map(grid, whole((8, 6, 8)), (4, 3, 4), drawn, 0, [2])[0]
    assert edited[:, 0, 0].tolist() == pytest.approx([0, 0.5 / 1.25, 0.5 / 1.25, 0])


@pytest.mark.parametrize("network_shape", [(8, 4, 12), (4, 8, 4), (12, 12, 20)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_resampling_loses_nothing_of_the_drawing(network_shape, axis):
    image_shape = (7, 9, 11)
    drawn = np.random.default_rng(0).random(image_shape) > 0.5
    cells = tuple(n // 4 for n in network_shape)
    grid = GridMap(whole(image_shape), network_shape)
    target, edited = edit_map(grid, whole(network_shape), cells, drawn, axis, [2, 5])[0]
    cell_voxels = np.prod(image_shape) / np.prod(cells)
    assert target.sum() * cell_voxels == pytest.approx(drawn.take([2, 5], axis).sum(), rel=1e-5)
    assert edited.sum() * cell_voxels == pytest.approx(2 * np.prod(image_shape) / image_shape[axis], rel=1e-5)
    assert (target <= edited + 1e-6).all()


def test_a_window_padded_beyond_the_image_is_empty_there():
    """Network slices -2 to 5 of an image with 4: cells 1 and 2 hold the image, 0 and 3 the padding."""
    _, edited = edit_map(plain_grid(), ((-2, 6), (0, 6), (0, 8)), (4, 3, 4), np.ones(SHAPE, bool), 0, [0, 3])[0]
    assert edited[:, 0, 0].tolist() == [0, 0.5, 0.5, 0]
    _, across = edit_map(plain_grid(), ((-2, 6), (0, 6), (0, 8)), (4, 3, 4), np.ones(SHAPE, bool), 1, [0])[0]
    assert across[:, 0, 0].tolist() == [0, 0.5, 0.5, 0]


def test_a_window_in_which_no_edited_slice_lies_is_empty():
    found = edit_map(plain_grid(), ((2, 4), (0, 6), (0, 8)), (1, 3, 4), drawn_corner(), 0, [1])
    assert not found.any()


def test_a_window_sees_its_part_of_the_whole_map():
    whole_map = edit_map(plain_grid(), whole(SHAPE), CELLS, drawn_corner(), 0, [1])
    part = edit_map(plain_grid(), ((0, 2), (0, 4), (2, 8)), (1, 2, 3), drawn_corner(), 0, [1])
    assert torch.allclose(part, whole_map[:, :, :1, :2, 1:])
    assert part[0, 0].any()


def dense_edit_map(grid, network_box, f_shape, drawn, axis, indices):
    """The map from a float image of the whole volume, each image voxel shared among the cells that it lies in."""
    occupied = np.zeros((2, *drawn.shape))
    for index in indices:
        np.moveaxis(occupied[0], axis, 0)[index] = drawn.take(index, axis)
        np.moveaxis(occupied[1], axis, 0)[index] = 1
    shares = []
    for a in range(3):
        start, stop = grid.crop[a]
        edges = start + np.linspace(*network_box[a], f_shape[a] + 1) * (stop - start) / grid.network_shape[a]
        voxels = np.arange(drawn.shape[a])
        shared = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
        shares.append(np.clip(shared, 0, None) / np.diff(edges)[:, None])
    return torch.from_numpy(np.einsum("ckji,dk,hj,wi->cdhw", occupied, *shares))[None]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("indices", [[7], [9, 4, 5]])
def test_it_equals_the_map_of_the_whole_image_on_a_transposed_cropped_resampled_grid(axis, indices):
    grid = GridMap(((1, 12), (3, 16), (2, 11)), (16, 8, 12))
    box = ((4, 16), (0, 8), (-4, 12))
    drawn = (np.random.default_rng(0).random((17, 12, 13)) > 0.5).transpose(2, 0, 1)

    found = edit_map(grid, box, (3, 2, 4), drawn, axis, indices)

    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert torch.allclose(found.double(), dense_edit_map(grid, box, (3, 2, 4), drawn, axis, indices), atol=1e-6)
    assert found[0, 0].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_it_takes_memory_for_the_drawn_slices_and_not_for_the_image(axis):
    shape = (64, 64, 64)
    drawn = np.ones(shape, bool)
    tracemalloc.start()
    edit_map(plain_grid(shape), whole(shape), (16, 16, 16), drawn, axis, [3])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < drawn.nbytes / 2
