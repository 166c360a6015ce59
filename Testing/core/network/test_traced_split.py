"""The split of traced networks against the plain networks, and against the split made for nnU-Net's."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import contains, slices_of, whole
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.traced_split import TracedSplit
from free_networks import BUILD, LEVELS, free_network, random_image

KINDS_OF_JOINS = ("UNet", "DynUNet", "SegResNet", "AttentionUnet", "BasicUNet", "ResidualEncoderUNet")
"""Networks whose decoders differ: the others are of one of these kinds."""

CASES = [(name, level) for name in BUILD for level in (1, 2, 3) if level <= LEVELS[name]]


@pytest.fixture(scope="module")
def split_of():
    """Each network and its split, made once."""
    made = {}

    def get(name):
        if name not in made:
            network = free_network(name)
            made[name] = network, TracedSplit(network, random_image())
        return made[name]

    return get


def relative_difference(a, b):
    return float((a - b).abs().max() / b.abs().max())


def cut(tensor, box):
    return tensor[(slice(None), slice(None), *slices_of(box))]


@pytest.mark.quick(level=2, name=KINDS_OF_JOINS)
@pytest.mark.parametrize(("name", "level"), CASES)
def test_decode_of_encode_equals_the_plain_forward(split_of, name, level):
    network, split = split_of(name)
    x = random_image((48, 16, 32))  # none of the two sizes that the trace was held against

    with torch.no_grad():
        plain = network(x)
        features = split.encode(x, level)
        decoded = [split.decode(features, features.f, frozen) for frozen in (True, False)]

    assert relative_difference(features.logits, plain) <= 1e-5
    assert all(relative_difference(logits, plain) <= 1e-5 for logits in decoded)
    assert features.f.shape[1] == split.f_channels(level)
    assert [n // m for n, m in zip(x.shape[2:], features.f.shape[2:], strict=True)] == [2**level] * 3


@pytest.mark.quick(name=KINDS_OF_JOINS)
@pytest.mark.parametrize("name", BUILD)
def test_levels_and_strides_are_found_from_the_graph(split_of, name):
    _, split = split_of(name)

    assert split.max_level == LEVELS[name]
    assert split.total_stride == ((2 ** LEVELS[name],) * 3)


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_a_known_network_is_split_alike_without_being_run(split_of, name):
    network, split = split_of(name)
    called = [module.register_forward_hook(lambda *_: pytest.fail("it ran")) for module in network.modules()]

    known = TracedSplit(network, torch.full((1, 1, 32, 16, 16), torch.nan), known=True)

    for hook in called:
        hook.remove()
    x = random_image((32, 16, 32))
    assert (known.max_level, known.total_stride) == (split.max_level, split.total_stride)
    for level in (1, 2, 3):
        mine, theirs = known.encode(x, level), split.encode(x, level)
        assert torch.equal(mine.f, theirs.f)
        assert torch.equal(mine.logits, theirs.logits)
        assert known.cached_bytes((32, 16, 32), level) == split.cached_bytes((32, 16, 32), level)
        assert known.peak_bytes((32, 16, 32), level) == split.peak_bytes((32, 16, 32), level)


@pytest.mark.quick(level=2, name=KINDS_OF_JOINS)
@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_box_decoded_layer_by_layer_and_its_gradient_are_those_of_the_whole_window(split_of, name, level):
    _, split = split_of(name)
    features = split.encode(random_image((48, 32, 32)), level)
    f = features.f + 0.3 * torch.randn(features.f.shape, generator=torch.Generator().manual_seed(2))
    f.requires_grad_(True)

    for box in (((20, 22), (3, 9), (14, 16)), ((47, 48), (0, 2), (31, 32)), ((0, 1), (0, 32), (7, 9))):
        complete = cut(split.decode(features, f), box)
        (expected,) = torch.autograd.grad(complete.square().sum(), f)
        local = split.local(features, box)
        part = cut(f.detach(), local.f_box).requires_grad_(True)
        inner = tuple((a - o, b - o) for (a, b), (o, _) in zip(box, local.output_box, strict=True))

        for _ in range(2):  # the second evaluation uses what the first one kept
            logits = cut(local.run(part), inner)
            (gradient,) = torch.autograd.grad(logits.square().sum(), part)

        assert relative_difference(logits, complete) <= 1e-5
        assert relative_difference(gradient, cut(expected, local.f_box)) <= 1e-5
        expected[(slice(None), slice(None), *slices_of(local.f_box))] = 0
        assert not expected.any()  # nothing else is read


@pytest.mark.quick(level=2, name=("UNet", "DynUNet", "SegResNet", "ResidualEncoderUNet"))
@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_slab_decodes_its_box_as_the_whole_window_does(split_of, name, level):
    _, split = split_of(name)
    features = split.encode(random_image((48, 32, 32)), level)
    f = features.f + 0.3 * torch.randn(features.f.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        complete = split.decode(features, f)

    for box in (((20, 22), (3, 9), (14, 16)), ((47, 48), (0, 2), (31, 32)), ((0, 1), (30, 32), (7, 9))):
        slab = split.slab(features, box)
        with torch.no_grad():
            part = split.decode(slab.features, cut(f, slab.f_box))

        inner = tuple((a - o, b - o) for (a, b), (o, _) in zip(box, slab.output_box, strict=True))
        assert contains(slab.output_box, box)
        assert relative_difference(cut(part, inner), cut(complete, box)) <= 1e-5
        assert torch.equal(slab.features.f, cut(features.f, slab.f_box))
        assert torch.equal(slab.features.logits, cut(features.logits, slab.output_box))
        if level < 3:
            assert slab.features.f.numel() < features.f.numel()


@pytest.mark.quick(level=1, name=("UNet", "DynUNet", "SegResNet", "ResidualEncoderUNet"))
@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_change_of_f_reaches_nothing_outside_the_affected_box(split_of, name, level):
    _, split = split_of(name)
    features = split.encode(random_image((64, 32, 32)), level)
    f = features.f.clone()
    d = features.f.shape[2] // 2
    f_box = ((d, d + 1), (1, 2), (2, 3))
    f[(slice(None), slice(None), *slices_of(f_box))] += 3.0

    with torch.no_grad():
        changed = (split.decode(features, f) - split.decode(features, features.f)).abs().amax(dim=(0, 1)) > 0
    affected = split.affected_box(features, f_box)

    touched = [np.flatnonzero(changed.numpy().any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
    assert contains(affected, tuple((int(t[0]), int(t[-1]) + 1) for t in touched))
    if level == 1:
        assert affected[0][1] - affected[0][0] < 16


@pytest.mark.quick(name=("DynUNet", "SegResNet"))
@pytest.mark.parametrize("name", BUILD)
def test_the_network_stays_as_it_was_and_its_weights_are_shared(name):
    network = free_network(name)
    calls = []
    hook = network.register_forward_hook(lambda *_: calls.append(1))
    state = {key: value.clone() for key, value in network.state_dict().items()}
    flags = [(module.training, getattr(module, "inplace", None)) for module in network.modules()]
    grads = [parameter.requires_grad for parameter in network.parameters()]

    split = TracedSplit(network, random_image())
    features = split.encode(random_image(), 1)
    f = features.f.clone().requires_grad_(True)
    split.decode(features, f).square().sum().backward()

    assert f.grad.abs().sum() > 0
    assert {key: torch.equal(value, state[key]) for key, value in network.state_dict().items()} == dict.fromkeys(
        state, True
    )
    assert [(module.training, getattr(module, "inplace", None)) for module in network.modules()] == flags
    assert [parameter.requires_grad for parameter in network.parameters()] == grads
    assert all(parameter.grad is None for parameter in network.parameters())
    assert calls == []
    assert hook.id in network._forward_hooks
    owned = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    cut_parts = split.cut(1)
    parts = (*cut_parts.head.parameters(), *cut_parts.tail.parameters(), *cut_parts.tail.buffers())
    assert parts
    assert all(tensor.data_ptr() in owned for tensor in parts)


@pytest.mark.quick(name="DynUNet")
@pytest.mark.parametrize("name", ["DynUNet", "SegResNet", "BasicUNet"])
def test_a_network_that_ran_before_and_takes_gradients_can_be_split(name):
    network = free_network(name)
    x = random_image()
    plain = network(x)  # leaves tensors with a history in DynUNet's list of heads

    split = TracedSplit(network, x)

    assert relative_difference(split.encode(x, 1).logits, plain.detach()) <= 1e-5


def test_the_cache_survives_decoding(split_of):
    _, split = split_of("SegResNet")  # whose activations work in place
    features = split.encode(random_image(), 2)
    kept = [t.clone() for t in (features.f, *features.skips)]

    with torch.no_grad():
        first = split.decode(features, features.f)
        second = split.decode(features, features.f)

    assert torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(kept, (features.f, *features.skips), strict=True))


def test_the_largest_windows_memory_is_planned_from_the_graph(split_of):
    for name in ("UNet", "AttentionUnet"):
        _, split = split_of(name)
        for level in (1, 2, 3):
            features = split.encode(random_image((32, 64, 48)), level)
            kept = (features.f, *features.skips, features.logits)

            assert split.cached_bytes((32, 64, 48), level) == sum(t.numel() * 4 for t in kept)
            assert split.peak_bytes((32, 64, 48), level) > split.cached_bytes((32, 64, 48), level)


# ---- a layer by name


def test_a_named_layer_is_where_the_network_is_cut(split_of):
    network, _ = split_of("SegResNet")
    x = random_image()
    seen = []
    hook = network.up_layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    with torch.no_grad(), DirectConvolution():
        plain = network(x)
    hook.remove()

    split = TracedSplit(network, x, layer="up_layers.0")
    features = split.encode(x, 2)

    assert torch.equal(features.f, seen[0])
    assert torch.equal(features.logits, plain)
    assert split.max_level == 3
    assert torch.equal(split.encode(x, 3).f, seen[0])


def test_an_unknown_layer_is_refused_by_name():
    with pytest.raises(UserInputError, match=r"SegResNet has no layer 'up'; it has act_mod"):
        TracedSplit(free_network("SegResNet"), random_image(), layer="up")


# ---- networks that are small enough to see through


class Toy(nn.Module):
    """Down, up, and what a subclass does with it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.down = nn.Conv3d(4, 6, 2, stride=2)
        self.deep = nn.Conv3d(6, 6, 3, padding=1)
        self.up = nn.ConvTranspose3d(6, 4, 2, stride=2)
        self.norm = nn.InstanceNorm3d(4)
        self.join = nn.Conv3d(8, 4, 3, padding=1)
        self.head = nn.Conv3d(4, 2, 1)

    def up_again(self, deep, skip):
        return self.up(deep)

    def forward(self, x):
        skip = F.relu(self.first(x))
        deep = F.relu(self.deep(self.down(skip)))
        up = self.up_again(deep, skip)
        return self.head(F.relu(self.norm(self.join(torch.cat([skip, up], 1)))))


class SizedByTheSkip(Toy):
    def up_again(self, deep, skip):
        return F.interpolate(deep[:, :4], size=skip.shape[2:], mode="trilinear", align_corners=False)


class AlignedCorners(Toy):
    def up_again(self, deep, skip):
        return F.interpolate(self.shrunk(deep), scale_factor=2, mode="trilinear", align_corners=True)

    def __init__(self):
        super().__init__()
        self.shrunk = nn.Conv3d(6, 4, 1)


class GlobalGate(Toy):
    """Squeeze and excitation behind f: every voxel depends on the whole window."""

    def up_again(self, deep, skip):
        up = self.up(deep)
        return up * torch.sigmoid(up.mean(dim=(2, 3, 4), keepdim=True))


class GateFromTheEncoder(Toy):
    """The gate does not depend on f: it crosses the cut as one value per channel."""

    def up_again(self, deep, skip):
        return self.up(deep) * torch.sigmoid(skip.mean(dim=(2, 3, 4), keepdim=True))


class InPlaceMaths(Toy):
    def up_again(self, deep, skip):
        up = self.up(deep)
        up += skip
        up *= 2
        return up.relu_()


class NormTwice(Toy):
    """One norm without weights at two places: each place has statistics of its own."""

    def up_again(self, deep, skip):
        return self.norm(self.up(deep))


class LogitsEnlarged(nn.Module):
    """Decided at half the resolution: behind the last coarse tensor no weight is left."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv3d(1, 6, 2, stride=2)
        self.deep = nn.Conv3d(6, 6, 3, padding=1)
        self.head = nn.Conv3d(6, 2, 1)

    def forward(self, x):
        return F.interpolate(self.head(F.relu(self.deep(self.down(x)))), scale_factor=2, mode="trilinear")


def toy(kind, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind().eval()


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (Toy, True),
        (GateFromTheEncoder, True),
        (InPlaceMaths, True),
        (NormTwice, True),
        (SizedByTheSkip, True),
        (AlignedCorners, False),
        (GlobalGate, False),
    ],
)
def test_a_part_is_decoded_where_each_layer_is_known_and_else_the_whole_window(kind, known):
    network = toy(kind)
    split = TracedSplit(network, random_image((8, 8, 8)))
    x = random_image((32, 16, 16), seed=3)
    features = split.encode(x, 1)
    f = features.f + torch.randn(features.f.shape, generator=torch.Generator().manual_seed(4))
    box = ((15, 16), (3, 5), (8, 9))

    slab, local = split.slab(features, box), split.local(features, box)
    with torch.no_grad():
        complete, part = split.decode(features, f), split.decode(slab.features, cut(f, slab.f_box))
        inner = tuple((a - o, b - o) for (a, b), (o, _) in zip(box, local.output_box, strict=True))
        boxed = cut(local.run(cut(f, local.f_box)), inner)
        assert relative_difference(boxed, cut(complete, box)) <= 1e-5
        assert relative_difference(features.logits, network(x)) <= 1e-5
        frozen = split.decode(features, features.f, True)

    inner = tuple((a - o, b - o) for (a, b), (o, _) in zip(box, slab.output_box, strict=True))
    assert split.max_level == 1
    assert relative_difference(cut(part, inner), cut(complete, box)) <= 1e-5
    assert relative_difference(frozen, features.logits) <= 1e-5
    assert (slab.f_box == whole(features.f.shape[2:])) is not known
    assert (local.f_box == whole(features.f.shape[2:])) is not known
    assert (split.affected_box(features, ((3, 4), (3, 4), (3, 4))) == whole(x.shape[2:])) is not known


def test_logits_are_no_features():
    split = TracedSplit(toy(LogitsEnlarged), random_image((8, 8, 8)))

    assert split.layer_at(1) == "relu"
    assert split.f_channels(1) == 6


class Listed(Toy):
    def forward(self, x):
        return [super().forward(x)]


class Decides(Toy):
    def forward(self, x):
        return super().forward(x if x.mean() > 0 else -x)


class DecidesBySize(Toy):
    def forward(self, x):
        return super().forward(x if x.shape[2] > 8 else -x)


class OneSizeAlone(Toy):
    def forward(self, x):
        return super().forward(x + torch.ones(1, 1, 8, 8, 8))


class Smaller(Toy):
    def forward(self, x):
        return super().forward(x)[:, :, 1:]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Listed, "Listed returns a list, not one tensor of logits; pass two callables"),
        (Decides, "Decides cannot be traced: Decides: .* pass two callables"),
        (DecidesBySize, r"The trace of DecidesBySize computes something else than it at \(1, 1, 16, 8, 8\); pass two"),
        (OneSizeAlone, r"OneSizeAlone does not take an image \(1, 1, 16, 8, 8\)"),
        (Smaller, r"Smaller returns logits of shape \(1, 2, 7, 8, 8\)"),
    ],
)
def test_what_cannot_be_split_is_refused_by_name_with_the_way_out(kind, said):
    with pytest.raises(UserInputError) as refused:
        TracedSplit(toy(kind), random_image((8, 8, 8)).abs())

    assert re.search(said, str(refused.value))


def test_a_network_without_a_coarser_resolution_is_refused():
    flat = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1)).eval()

    with pytest.raises(UserInputError, match="Sequential has no layer behind which it enlarges features; name one"):
        TracedSplit(flat, random_image((8, 8, 8)))
    assert TracedSplit(flat, random_image((8, 8, 8)), layer="1").f_channels(1) == 4


def test_training_mode_is_refused():
    network = free_network("UNet")
    network.train()

    with pytest.raises(UserInputError, match=r"UNet is in training mode; call network.eval\(\) first"):
        TracedSplit(network, random_image())


def test_a_level_beyond_the_decoder_is_refused_by_number(split_of):
    with pytest.raises(UserInputError, match="level 4 .* 3 levels"):
        split_of("SegResNet")[1].encode(random_image(), 4)
