"""Which windows are cached: placement against nnU-Net's padding, memory against real tensors, tiles by property."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.window import encode_window, plan_windows
from nnunet_folders import write_nnunet_folder

PATCH = (16, 12, 8)
STRIDE = (4, 4, 2)
LARGE = 10**12
FOLDER = {"patch_size": PATCH, "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 1))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("model"), folds=(0, 1), **FOLDER)


@pytest.fixture(scope="module")
def model(folder):
    return NnunetModel.load(folder, device="cpu")


def sizes(box):
    return tuple(stop - start for start, stop in box)


def covered_voxels(boxes, shape):
    covered = np.zeros(shape, bool)
    for box in boxes:
        covered[tuple(slice(max(0, start), stop) for start, stop in box)] = True
    return covered


def is_covered(target, boxes, shape):
    return covered_voxels(boxes, shape)[tuple(slice(*span) for span in target)].all()


def test_a_small_target_gets_one_window_of_patch_size_around_it(model):
    plan = plan_windows(model, ((30, 34), (30, 34), (30, 34)), (64, 64, 64), 0, 2, LARGE)

    assert plan.boxes == (((24, 40), (26, 38), (28, 36)),)
    assert plan.messages == ()


def test_a_window_is_as_large_as_target_and_border_rounded_up_to_the_strides(model):
    plan = plan_windows(model, ((20, 41), (20, 41), (20, 41)), (80, 80, 80), 5, 2, LARGE)

    # 21 + 2 * 5 = 31 voxels: 32 divides by 4 and by 2
    assert [sizes(box) for box in plan.boxes] == [(32, 32, 32)]
    assert is_covered(((15, 46), (15, 46), (15, 46)), plan.boxes, (80, 80, 80))


def test_a_window_at_the_border_is_moved_inside(model):
    plan = plan_windows(model, ((0, 2), (60, 64), (31, 33)), (64, 64, 64), 0, 2, LARGE)

    assert plan.boxes == (((0, 16), (52, 64), (28, 36)),)


def a_prepared_image(model, shape, seed=0):
    values = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return model.prepare(SourceVolume(values, np.eye(4)))


@pytest.mark.parametrize("shape", [(9, 7, 5), (16, 12, 3), (11, 30, 8), (18, 12, 8)])
def test_an_image_smaller_than_the_patch_is_padded_as_nnunet_pads(model, folder, shape):
    prepared = a_prepared_image(model, shape)
    whole = tuple((0, n) for n in shape)
    plan = plan_windows(model, whole, shape, 0, 2, LARGE)

    window = encode_window(model, prepared, plan.boxes[0], 2)

    # 18 and 30 are no multiples of 4: the window grows to the next one
    wanted = [max(p, -(-n // s) * s) for n, p, s in zip(shape, PATCH, STRIDE, strict=True)]
    padded, kept = pad_nd_image(prepared.network_input, wanted, "constant", {"value": 0}, True)
    assert [(-start, n - start) for (start, _), n in zip(plan.boxes[0], shape, strict=True)] == [
        (part.start, part.stop) for part in kept[1:]
    ]
    for network, features in zip(load_nnunet_folder(folder).networks, window.features, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(features.logits, network(padded[None]), atol=1e-5, rtol=1e-5)
    assert window.image_box == whole


def test_a_window_inside_the_image_sees_what_lies_there(model, folder):
    prepared = a_prepared_image(model, (20, 20, 20))
    box = ((2, 18), (5, 17), (4, 12))

    window = encode_window(model, prepared, box, 1)

    with torch.no_grad():
        expected = load_nnunet_folder(folder).networks[0](prepared.network_input[None, :, 2:18, 5:17, 4:12])
    torch.testing.assert_close(window.features[0].logits, expected, atol=1e-5, rtol=1e-5)
    assert window.image_box == box


@pytest.fixture(scope="module", params=["PlainConvUNet", "ResidualEncoderUNet"])
def two_channels(request, tmp_path_factory):
    """Two channels, two folds, three labels, strides that differ by axis."""
    labels = {"background": 0, "GTV": 1, "node": 2}
    folder = write_nnunet_folder(
        tmp_path_factory.mktemp("m"),
        architecture=request.param,
        labels=labels,
        channels=2,
        folds=(0, 1),
        features=(3, 5, 6, 7),
        patch_size=PATCH,
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 1), (2, 1, 2)),
    )
    return NnunetModel.load(folder, label="node", device="cpu")


@pytest.mark.parametrize("level", [1, 2, 3])
def test_planned_bytes_are_those_of_the_cached_tensors(two_channels, level):
    model = two_channels
    values = np.random.default_rng(0).normal(size=(2, 20, 16, 12)).astype(np.float32)
    prepared = model.prepare(SourceVolume(values, np.eye(4)))
    plan = plan_windows(model, ((0, 20), (0, 16), (0, 12)), (20, 16, 12), 0, level, LARGE)

    windows = [encode_window(model, prepared, box, level) for box in plan.boxes]

    tensors = [t for window in windows for c in window.features for t in (c.f, c.logits, *c.skips)]
    assert plan.cached_bytes == sum(t.numel() * t.element_size() for t in tensors)
    assert sum(t.untyped_storage().nbytes() for t in tensors) == plan.cached_bytes  # no view keeps more alive
    assert plan.peak_bytes > plan.cached_bytes


TARGET = ((20, 52), (20, 52), (20, 52))
GRID = (72, 72, 72)


def test_the_border_shrinks_before_anything_is_tiled(model):
    half = plan_windows(model, TARGET, GRID, 8, 2, LARGE)
    budget = half.peak_bytes

    plan = plan_windows(model, TARGET, GRID, 16, 2, budget)

    assert plan.boxes == half.boxes
    assert plan.peak_bytes <= budget
    assert plan.messages == ("The border around the target was shrunk from 16 to 8 voxels, because memory is short",)


def test_the_border_is_given_up_before_anything_is_tiled(model):
    none = plan_windows(model, TARGET, GRID, 0, 2, LARGE)

    plan = plan_windows(model, TARGET, GRID, 16, 2, none.peak_bytes)

    assert plan.boxes == none.boxes
    assert plan.messages == ("The border around the target was shrunk from 16 to 0 voxels, because memory is short",)


def test_a_target_too_large_for_one_window_is_tiled_and_the_user_told(model):
    whole = plan_windows(model, TARGET, GRID, 0, 2, LARGE)

    plan = plan_windows(model, TARGET, GRID, 16, 2, whole.peak_bytes - 1)

    assert len(plan.boxes) > 1
    assert plan.peak_bytes < whole.peak_bytes
    assert is_covered(TARGET, plan.boxes, GRID)
    shape = sizes(plan.boxes[0])
    assert plan.messages == (f"The target is cached in {len(plan.boxes)} tiles of {shape} voxels, "
                             "because memory is short",)  # fmt: skip


def test_nothing_fits_and_the_message_says_how_much_is_needed(model):
    with pytest.raises(UserInputError, match=r"needs \d+ MiB and 2 MiB may be used; .*choose another device"):
        plan_windows(model, TARGET, GRID, 16, 2, 2 * 2**20)


def spans(size):
    return st.tuples(st.integers(0, size - 1), st.integers(1, size)).map(lambda p: (p[0], min(size, p[0] + p[1])))


@pytest.mark.quick(examples=20)
@pytest.mark.parametrize("examples", [20, 100])
def test_windows_and_tiles_cover_every_target_within_the_budget(model, examples):
    @settings(deadline=None, max_examples=examples)
    @given(data=st.data(), border=st.integers(0, 20), share=st.floats(0.2, 1.0))
    def holds(data, border, share):
        shape = data.draw(st.tuples(st.integers(2, 90), st.integers(2, 70), st.integers(2, 50)))
        target = tuple(data.draw(spans(n)) for n in shape)
        budget = int(share * plan_windows(model, target, shape, border, 2, LARGE).peak_bytes)

        try:
            plan = plan_windows(model, target, shape, border, 2, budget)
        except UserInputError as refused:
            needed, granted = (int(figure) for figure in re.findall(r"(\d+) MiB", str(refused)))
            assert granted == round(budget / 2**20)
            budget = (needed + 1) * 2**20  # the figure is rounded: what it asks for must do
            plan = plan_windows(model, target, shape, border, 2, budget)

        assert is_covered(target, plan.boxes, shape)
        assert plan.peak_bytes <= budget
        assert len(set(plan.boxes)) == len(plan.boxes)
        for box in plan.boxes:
            for (start, stop), n, patch, stride in zip(box, shape, PATCH, STRIDE, strict=True):
                assert stop - start >= patch
                assert (stop - start) % stride == 0
                assert 0 <= start < stop <= n or (start <= 0 and stop >= n)

    holds()


@pytest.mark.quick(examples=12)
@pytest.mark.parametrize("examples", [12, 60])
def test_neighbouring_tiles_overlap_by_a_quarter(model, examples):
    @settings(deadline=None, max_examples=examples)
    @given(start=st.integers(0, 20), stop=st.integers(50, 100), spared=st.integers(1, 2 * 2**20))
    def holds(start, stop, spared):
        shape = (100, 72, 60)
        target = ((start, stop), (10, 60), (3, 55))
        whole = plan_windows(model, target, shape, 0, 1, LARGE)
        try:
            plan = plan_windows(model, target, shape, 0, 1, whole.peak_bytes - spared)
        except UserInputError:
            reject()

        assert len(plan.boxes) > 1
        for axis in range(3):
            along = sorted({box[axis] for box in plan.boxes})
            for (first, end), (following, _) in pairwise(along):
                assert end - following >= (end - first) // 4

    holds()
