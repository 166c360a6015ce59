"""The split of a PSNN and of its chain against the plain networks."""

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import contains, slices_of
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.psnn import Psnn, PsnnSettings, chain_of
from context_propagation.core.network.psnn_split import ChainSplit, PsnnSplit

POOLINGS = {"isotropic": ((2, 2, 2), (2, 2, 2), (2, 2, 2)), "anisotropic": ((1, 2, 2), (1, 4, 2), (2, 2, 4))}
SHAPES = [(16, 24, 16), (13, 19, 11)]
ROUNDING = 5e-5
"""The package's convolutions of one sample add up in another order than the plain network's; values are 1 to 10."""


@pytest.fixture(scope="module", params=[(kind, poolings) for kind in ("one", "chain") for poolings in POOLINGS])
def split(request):
    """Random networks, norm weights too, so that nothing cancels."""
    kind, poolings = request.param
    torch.manual_seed(3)
    settings = PsnnSettings(2, 3, (4, 5, 6, 7), POOLINGS[poolings])
    network = (Psnn(settings) if kind == "one" else chain_of(settings)).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.InstanceNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    made = PsnnSplit(network) if kind == "one" else ChainSplit(network)
    made.plain = network
    return made


def image(shape=(16, 24, 16)):
    return torch.randn((1, 2, *shape), generator=torch.Generator().manual_seed(1))


def moved(f):
    return f + 0.3 * torch.randn(f.shape, generator=torch.Generator().manual_seed(2))


def cut(tensor, box):
    return tensor[(slice(None), slice(None), *slices_of(box))]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_decode_of_encode_equals_the_plain_forward(split, level, shape):
    x = image(shape)
    plain = split.plain(x)
    features = split.encode(x, level)
    assert features.level == level
    assert features.f.shape[1] == split.f_channels(level)
    assert (len(features.skips), features.norm_statistics) == (level, ())
    assert float((features.logits - plain).abs().max()) <= ROUNDING
    for frozen in (True, False):
        assert float((split.decode(features, features.f, frozen) - plain).abs().max()) <= ROUNDING


@pytest.mark.parametrize("level", [1, 2, 3])
def test_f_is_the_stage_s_feature_map_before_its_collapse(split, level):
    x = image()
    network = split.network
    with DirectConvolution():
        read = x if split.plain is network else split.plain.late_input(x)
        for number in range(level):
            read = network.stages[number](network.poolings[number - 1](read) if number else read)
    assert torch.equal(split.encode(x, level).f, read)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_decode_of_another_f_is_the_sum_with_that_stage_s_logits_replaced(split, level):
    """Independently: the plain sum, told another feature map at one stage and the same at all others."""
    x = image()
    features = split.encode(x, level)
    network = split.network
    read = x if split.plain is network else split.plain.late_input(x)
    stages = network.features(read)
    stages[level - 1] = moved(stages[level - 1])
    expected = network.sums(network.collapse(stages))[0]
    assert float((split.decode(features, moved(features.f)) - expected).abs().max()) <= ROUNDING
    assert float((expected - features.logits).abs().max()) > 1e-2


BOXES = [((7, 9), (3, 9), (6, 8)), ((0, 2), (0, 1), (5, 6)), ((12, 13), (17, 19), (9, 11)), ((5, 6), (6, 7), (10, 11))]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_slab_decodes_its_box_as_the_whole_window_does(split, level, shape):
    features = split.encode(image(shape), level)
    f = moved(features.f)
    whole = split.decode(features, f)
    for box in BOXES:
        slab = split.slab(features, box)
        assert contains(slab.output_box, box)
        assert torch.equal(slab.features.f, cut(features.f, slab.f_box))
        assert torch.equal(slab.features.logits, cut(features.logits, slab.output_box))
        part = split.decode(slab.features, cut(f, slab.f_box))
        assert part.shape == slab.features.logits.shape
        inner = [(a - o, b - o) for (a, b), (o, _) in zip(box, slab.output_box, strict=True)]
        assert float((cut(part, inner) - cut(whole, box)).abs().max()) <= 1e-6
        if level < 3:
            assert slab.features.f.numel() < features.f.numel()


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_smaller_cut_than_the_slab_s_would_be_wrong(split, level):
    """The slab is as small as it can be: whatever plane of f is left out, the box changes."""
    features = split.encode(image((16, 24, 16)), level)
    box = ((8, 9), (9, 12), (7, 9))
    f_box = split.slab(features, box).f_box
    for axis in range(3):
        for index in (f_box[axis][0], f_box[axis][1] - 1):
            f = features.f.clone()
            f.narrow(axis + 2, index, 1).add_(5.0)
            assert (cut(split.decode(features, f), box) - cut(features.logits, box)).abs().max() > 1e-3


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_of_f_reaches_the_affected_box_and_nothing_outside_it(split, level, shape):
    features = split.encode(image(shape), level)
    for place in ((features.f.shape[2] // 2, 1, 1), (0, 0, 0), tuple(n - 1 for n in features.f.shape[2:])):
        f = features.f.clone()
        f_box = tuple((n, n + 1) for n in place)
        cut(f, f_box).add_(3.0)
        changed = (split.decode(features, f) - split.decode(features, features.f)).abs().amax(dim=(0, 1)) > 0
        touched = [np.flatnonzero(changed.numpy().any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
        assert [(int(t[0]), int(t[-1]) + 1) for t in touched] == [*split.affected_box(features, f_box)]


def test_decode_is_differentiable_in_f_alone(split):
    features = split.encode(image(), 2)
    f = features.f.clone().requires_grad_(True)
    split.decode(features, f).square().sum().backward()
    assert f.grad.abs().sum() > 0
    assert all(p.grad is None for p in split.plain.parameters())
    assert not any(skip.requires_grad for skip in features.skips)


def test_the_loss_and_gradient_on_a_slab_are_those_on_the_whole_window(split):
    features = split.encode(image(), 2)
    box = ((7, 8), (4, 20), (2, 14))
    slab = split.slab(features, box)
    inner = [(a - o, b - o) for (a, b), (o, _) in zip(box, slab.output_box, strict=True)]
    f = moved(features.f).requires_grad_(True)
    cut(split.decode(features, f), box).square().sum().backward()
    part = cut(f.detach(), slab.f_box).clone().requires_grad_(True)
    cut(split.decode(slab.features, part), inner).square().sum().backward()
    assert torch.allclose(cut(f.grad, slab.f_box), part.grad, atol=1e-4)
    outside = f.grad.clone()
    cut(outside, slab.f_box).zero_()
    assert outside.abs().max() == 0


def test_the_streams_run_once_in_encode_and_not_in_decode():
    split = ChainSplit(chain_of(PsnnSettings(2, 2, (2, 3), ((2, 2, 2),))).eval())
    calls = []
    for stream in (split.chain.ct, split.chain.early):
        stream.stages[0].register_forward_hook(lambda *_: calls.append(1))
    features = split.encode(image(), 2)
    assert len(calls) == 2
    split.decode(features, moved(features.f))
    assert len(calls) == 2


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_cached_bytes_are_those_of_the_cached_tensors(split, level):
    features = split.encode(image(), level)
    found = sum(4 * tensor.numel() for tensor in (features.f, features.logits, *features.skips))
    assert split.cached_bytes((16, 24, 16), level) == found
    assert split.peak_bytes((16, 24, 16), level) > found


@pytest.mark.parametrize("level", [0, 5])
def test_a_level_beyond_the_stages_is_refused_by_number(split, level):
    with pytest.raises(UserInputError, match=f"level {level} .* 4 stages"):
        split.encode(image(), level)
    with pytest.raises(UserInputError, match=f"level {level} .* 4 stages"):
        split.f_channels(level)
