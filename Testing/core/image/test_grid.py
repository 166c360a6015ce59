"""Boxes and the map between image and network grid, against skimage's resize and brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from context_propagation.core.image.boxes import bounding_box, dilate, intersection, slices_of, whole
from context_propagation.core.image.grid import GridMap


def a_map(image_shape, network_shape) -> GridMap:
    return GridMap(whole(image_shape), network_shape)


def some_logits(network_shape, channels=2, seed=0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(1, channels, *network_shape))
    return torch.as_tensor(values)


def resized(logits: torch.Tensor, image_shape) -> np.ndarray:
    channels = [resize(c, image_shape, order=1, mode="edge", anti_aliasing=False) for c in logits[0].numpy()]
    return np.stack(channels)[None]


SIZES = [
    ((6, 7, 8), (6, 7, 8)),  # same
    ((9, 14, 11), (3, 7, 5)),  # the network's grid is coarser
    ((4, 5, 6), (12, 9, 13)),  # finer, one axis by exactly 3
    ((3, 16, 10), (15, 8, 10)),  # finer, coarser, same
    ((5, 4, 3), (1, 2, 1)),  # a single network voxel
]
SMALL_SIZES = [  # of the same kinds: every network voxel is moved by itself
    ((3, 4, 2), (3, 4, 2)),
    ((5, 7, 4), (2, 3, 3)),
    ((2, 2, 3), (6, 5, 4)),
    ((2, 6, 3), (5, 3, 3)),
    ((5, 4, 3), (1, 2, 1)),
]


@pytest.mark.parametrize(("image_shape", "network_shape"), SIZES)
def test_whole_logits_are_interpolated_as_skimage_resizes(image_shape, network_shape):
    logits = some_logits(network_shape)

    mapped = a_map(image_shape, network_shape).to_image(logits, (0, 0, 0), whole(image_shape))

    np.testing.assert_allclose(mapped.numpy(), resized(logits, image_shape), atol=1e-12)


@pytest.mark.parametrize(("image_shape", "network_shape"), SIZES)
def test_a_box_is_interpolated_from_its_support_as_the_whole_is(image_shape, network_shape):
    grid = a_map(image_shape, network_shape)
    logits = some_logits(network_shape)
    expected = resized(logits, image_shape)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        box = tuple(tuple(sorted(rng.choice(n + 1, 2, replace=False).tolist())) for n in image_shape)
        support = grid.support(box)
        piece = logits[(..., *slices_of(support))]

        mapped = grid.to_image(piece, tuple(start for start, _ in support), box)

        np.testing.assert_allclose(mapped.numpy(), expected[(..., *slices_of(box))], atol=1e-12)


def test_equal_grids_pass_logits_through_unchanged():
    logits = some_logits((4, 5, 6)).float()
    grid = a_map((4, 5, 6), (4, 5, 6))

    assert torch.equal(grid.to_image(logits, (0, 0, 0), whole((4, 5, 6))), logits)
    assert torch.equal(
        grid.to_image(logits[..., 1:3, 2:5, 3:4], (1, 2, 3), ((1, 3), (2, 5), (3, 4))), logits[..., 1:3, 2:5, 3:4]
    )


def test_a_cropped_image_is_counted_from_the_crop():
    # 4 image voxels from index 10 on 2 network voxels: positions -0.25 (clamped), 0.25, 0.75, 1.25 (clamped)
    grid = GridMap(((10, 14), (0, 1), (0, 1)), (2, 1, 1))
    logits = torch.tensor([8.0, 16.0]).view(1, 1, 2, 1, 1)

    mapped = grid.to_image(logits, (0, 0, 0), ((10, 14), (0, 1), (0, 1)))

    assert mapped.flatten().tolist() == [8.0, 10.0, 14.0, 16.0]


def test_gradients_reach_the_network_voxels_with_their_weights():
    grid = GridMap(((0, 4), (0, 1), (0, 1)), (2, 1, 1))
    logits = torch.zeros(1, 1, 2, 1, 1, requires_grad=True)

    grid.to_image(logits, (0, 0, 0), ((1, 2), (0, 1), (0, 1))).sum().backward()

    assert logits.grad.flatten().tolist() == [0.75, 0.25]  # image voxel 1 lies at network coordinate 0.25


@pytest.mark.parametrize(("image_shape", "network_shape"), SMALL_SIZES)
def test_gradients_are_those_of_finite_differences(image_shape, network_shape):
    grid = a_map(image_shape, network_shape)
    logits = some_logits(network_shape, channels=1).requires_grad_(True)
    box = tuple((0, max(1, n // 2)) for n in image_shape)

    assert torch.autograd.gradcheck(lambda z: grid.to_image(z, (0, 0, 0), box), logits)


def spans_within(size):
    return st.tuples(st.integers(0, size - 1), st.integers(1, size)).map(lambda p: (p[0], min(size, p[0] + p[1])))


@settings(deadline=None, max_examples=150)
@given(data=st.data(), n=st.integers(1, 12), size=st.integers(1, 12), start=st.integers(0, 5))
def test_covered_voxels_are_exactly_those_whose_support_lies_inside(data, n, size, start):
    grid = GridMap(((start, start + n), (0, 1), (0, 1)), (size, 1, 1))
    low, high = data.draw(spans_within(size))
    expected = []
    for index in range(start, start + n):
        (first, stop), _, _ = grid.support(((index, index + 1), (0, 1), (0, 1)))
        if low <= first and stop <= high:
            expected.append(index)

    covered = grid.covered(((low, high), (0, 1), (0, 1)))

    assert (list(range(*covered[0])) if covered else []) == expected


@settings(deadline=None, max_examples=150)
@given(data=st.data(), n=st.integers(1, 12), size=st.integers(1, 12))
def test_what_a_support_covers_holds_the_box_it_was_made_for(data, n, size):
    grid = GridMap(((0, n), (0, 1), (0, 1)), (size, 1, 1))
    span = data.draw(spans_within(n))

    covered = grid.covered(grid.support((span, (0, 1), (0, 1))))

    assert covered is not None
    assert covered[0][0] <= span[0]
    assert covered[0][1] >= span[1]


@settings(deadline=None, max_examples=150)
@given(data=st.data(), n=st.integers(1, 12), size=st.integers(1, 12))
def test_voxels_outside_the_support_have_no_influence(data, n, size):
    grid = GridMap(((0, n), (0, 1), (0, 1)), (size, 1, 1))
    span = data.draw(spans_within(n))
    logits = torch.zeros(1, 1, size, 1, 1, dtype=torch.float64, requires_grad=True)

    grid.to_image(logits, (0, 0, 0), (span, (0, 1), (0, 1))).sum().backward()

    reached = np.flatnonzero(logits.grad.numpy().ravel())
    (first, stop), _, _ = grid.support((span, (0, 1), (0, 1)))
    assert (first, stop) == (reached[0], reached[-1] + 1)


def test_boxes_by_hand():
    a, b = ((0, 4), (2, 6), (0, 9)), ((3, 8), (0, 3), (4, 5))

    assert intersection(a, b) == ((3, 4), (2, 3), (4, 5))
    assert intersection(a, ((4, 8), (2, 6), (0, 9))) is None
    assert dilate(b, (1, 2, 3), whole((8, 8, 8))) == ((2, 8), (0, 5), (1, 8))


def test_the_bounding_box_of_two_voxels_and_of_none():
    mask = np.zeros((4, 5, 6), bool)
    assert bounding_box(mask) is None
    mask[1, 4, 2] = mask[3, 0, 2] = True

    assert bounding_box(mask) == ((1, 4), (0, 5), (2, 3))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.3]), st.booleans())
def test_the_bounding_box_is_that_of_the_listed_voxels(seed, density, is_reversed):
    mask = np.random.default_rng(seed).random((4, 5, 6)) < density
    mask = mask[::-1, ::-1] if is_reversed else mask
    voxels = np.argwhere(mask)

    expected = None if not len(voxels) else tuple(zip(voxels.min(axis=0), voxels.max(axis=0) + 1, strict=True))
    assert bounding_box(mask) == expected


# ---- maps that say themselves where the image lies


@pytest.mark.parametrize(("image_shape", "network_shape"), SIZES)
def test_a_map_that_says_what_coincident_voxels_mean_is_the_same_map(image_shape, network_shape):
    plain = GridMap(tuple((3, 3 + n) for n in image_shape), network_shape)
    steps = [size / n for n, size in zip(image_shape, network_shape, strict=True)]
    lines = tuple(((0.5 - 3) * step - 0.5, step) for step in steps)
    said = GridMap(plain.crop, network_shape, lines)
    logits = some_logits(network_shape)

    assert said.support(plain.crop) == plain.support(plain.crop)
    torch.testing.assert_close(
        said.to_image(logits, (0, 0, 0), plain.crop), plain.to_image(logits, (0, 0, 0), plain.crop)
    )
    for axis in range(3):
        edges = np.linspace(-1, network_shape[axis] + 1, 7)
        np.testing.assert_allclose(said.image_edges(axis, edges), plain.image_edges(axis, edges), atol=1e-9)


def test_voxel_centres_may_coincide_instead_of_voxel_volumes():
    # 5 image voxels of 2 mm on network voxels of 4 mm, the first centres in the same place
    grid = GridMap(((0, 5), (0, 1), (0, 1)), (3, 1, 1), ((0.0, 0.5), (0.0, 1.0), (0.0, 1.0)))
    logits = torch.tensor([8.0, 16.0, 32.0]).view(1, 1, 3, 1, 1)

    assert grid.to_image(logits, (0, 0, 0), grid.crop).flatten().tolist() == [8, 12, 16, 24, 32]
    assert grid.support(((1, 2), (0, 1), (0, 1)))[0] == (0, 2)
    assert grid.covered(((0, 2), (0, 1), (0, 1)))[0] == (0, 3)
    # network voxel 1 is centred on image voxel 2, whose volume is 2 to 3, and is twice as wide
    assert grid.image_edges(0, np.array([1, 2])).tolist() == [1.5, 3.5]
