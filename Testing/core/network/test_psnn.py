"""PSNN and its chain: shapes, the progressive sum worked by hand, deep supervision, and what the chain feeds on."""

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.network.psnn import Psnn, PsnnChain, PsnnSettings, chain_of, upsampled


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_level_has_its_size_in_training_and_the_output_the_input_s():
    network = Psnn(PsnnSettings(2, 3, (4, 6, 8), ((1, 2, 2), (2, 2, 2))))
    x = noise(2, 2, 8, 16, 12)
    assert [tuple(level.shape) for level in network.train()(x)] == [
        (2, 3, 8, 16, 12), (2, 3, 8, 8, 6), (2, 3, 4, 4, 3),
    ]  # fmt: skip
    assert network.eval()(x).shape == (2, 3, 8, 16, 12)
    assert network.settings.total_stride == (2, 4, 4)


def test_the_first_level_in_training_is_the_output_in_evaluation():
    network = Psnn(PsnnSettings(1))
    x = noise(1, 1, 16, 16, 16)
    assert torch.equal(network.train()(x)[0], network.eval()(x))


def test_odd_sizes_keep_their_size_at_every_pooling():
    network = Psnn(PsnnSettings(1, 2, (2, 3, 4), ((2, 2, 2), (1, 4, 2)))).train()
    assert [tuple(level.shape[2:]) for level in network(noise(1, 1, 7, 10, 9))] == [(7, 10, 9), (4, 5, 5), (4, 2, 3)]


def test_the_sum_runs_from_the_deepest_level_to_the_shallowest():
    """Four voxels along W; values by hand: (o + 0.5) / 2 - 0.5 puts fine voxels at -0.25, 0.25, 0.75, 1.25."""
    network = Psnn(PsnnSettings(1, 2, (1, 1), ((1, 1, 2),)))
    own = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]]).reshape(1, 2, 1, 1, 4)
    deep = torch.tensor([[10.0, 20.0], [0.0, -8.0]]).reshape(1, 2, 1, 1, 2)
    shallow, deepest = network.sums([own, deep])
    assert torch.equal(deepest, deep)
    assert shallow.reshape(2, 4).tolist() == [[11.0, 14.5, 20.5, 24.0], [0.0, -2.0, -6.0, -7.0]]


def test_a_tiny_network_with_set_weights_gives_the_sum_worked_by_hand():
    """Norms that pass on what they get, centre-tap convolutions of weight 1: stages repeat their input."""
    network = Psnn(PsnnSettings(1, 2, (1, 1), ((1, 1, 2),))).eval()
    for stage in network.stages:
        for number in (0, 3):
            torch.nn.init.zeros_(stage[number].weight)
            stage[number].weight.data[0, 0, 1, 1, 1] = 1
            stage[number + 1] = torch.nn.Identity()
    for collapse, weights, biases in zip(network.collapses, ([1, -1], [10, 0]), ([0, 0], [0, 5]), strict=True):
        collapse.weight.data = torch.tensor(weights, dtype=torch.float32).reshape(2, 1, 1, 1, 1)
        collapse.bias.data = torch.tensor(biases, dtype=torch.float32)
    x = torch.tensor([-3.0, 1.0, 2.0, 4.0]).reshape(1, 1, 1, 1, 4)
    # shallow: ReLU gives 0 1 2 4; deep: maxima 1 and 4, so 10 and 40, up-sampled 10 17.5 32.5 40
    expected = [[10.0, 18.5, 34.5, 44.0], [5.0, 4.0, 3.0, 1.0]]
    assert network(x).reshape(2, 4).tolist() == expected


def test_upsampling_interpolates_between_voxel_centres_and_repeats_the_border():
    coarse = noise(1, 2, 3, 4, 2)
    fine = upsampled(coarse, (2, 4, 1), (1, 2, 5, 15, 2)).numpy()
    expected = coarse.numpy()
    for axis, factor, size in ((2, 2, 5), (3, 4, 15)):
        n = expected.shape[axis]
        position = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, n - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, n - 1)
        weight = (position - low).reshape([-1 if a == axis else 1 for a in range(5)])
        expected = expected.take(low, axis) * (1 - weight) + expected.take(high, axis) * weight
    assert np.abs(fine - expected).max() < 1e-5


def test_every_stage_learns_from_its_own_level():
    """The deepest level alone trains the deepest collapse, the shallowest level all collapses."""
    network = Psnn(PsnnSettings(1, 2, (2, 3, 4), ((2, 2, 2), (2, 2, 2)))).train()
    x = noise(1, 1, 8, 8, 8)
    network(x)[2].square().sum().backward()
    assert [collapse.weight.grad is not None for collapse in network.collapses] == [False, False, True]
    network(x)[0].square().sum().backward()
    assert all(collapse.weight.grad.abs().sum() > 0 for collapse in network.collapses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "0 channel"),
        ({"in_channels": 1, "classes": 1}, "1 classes"),
        ({"in_channels": 1, "channels": (4,), "poolings": ()}, "give 2 to 8"),
        ({"in_channels": 1, "channels": (4, 8)}, "3 poolings for 2 stages"),
        ({"in_channels": 1, "channels": (4, 8), "poolings": ((1, 3, 2),)}, "each 1, 2 or 4"),
        (
            {"in_channels": 1, "channels": (4, 8), "poolings": ((0, 2, 2),)},
            r"Pooling by \(0, 2, 2\); .* each 1, 2 or 4",
        ),
    ],
)
def test_an_impossible_architecture_is_refused(arguments, message):
    with pytest.raises(UserInputError, match=message):
        PsnnSettings(**arguments)


# ---- the chain


def small_chain(classes=2):
    torch.manual_seed(0)
    return chain_of(PsnnSettings(1, classes, (2, 3, 4), ((1, 2, 2), (2, 2, 2)))).eval()


@pytest.mark.parametrize(("classes", "channels"), [(2, 3), (3, 5)])
def test_the_late_network_reads_the_ct_and_each_stream_s_foreground_probabilities(classes, channels):
    chain, x = small_chain(classes), noise(1, 2, 4, 8, 8)
    read = chain.late_input(x)
    assert read.shape == (1, channels, 4, 8, 8)
    assert torch.equal(read[:, 0], x[:, 0])
    with torch.no_grad():
        ct, early = (torch.exp(z) / torch.exp(z).sum(1, keepdim=True) for z in (chain.ct(x[:, :1]), chain.early(x)))
        assert torch.allclose(read[:, 1:classes], ct[:, 1:], atol=1e-6)
        assert torch.allclose(read[:, classes:], early[:, 1:], atol=1e-6)
        assert torch.equal(chain(x), chain.late(read))


def test_the_pet_reaches_the_output_through_the_early_stream_alone():
    chain, x = small_chain(), noise(1, 2, 4, 8, 8)
    other = torch.cat((x[:, :1], noise(1, 1, 4, 8, 8, seed=5)), 1)
    changed = (chain.late_input(x) - chain.late_input(other)).abs().amax((0, 2, 3, 4))
    assert (changed > 0).tolist() == [False, False, True]
    assert not torch.equal(chain(x), chain(other))


def test_training_the_chain_moves_the_late_network_only():
    chain = small_chain().train()
    sum(level.square().sum() for level in chain(noise(1, 2, 4, 8, 8))).backward()
    assert all(p.grad is None for stream in (chain.ct, chain.early) for p in stream.parameters())
    assert all(p.grad.abs().sum() > 0 for p in chain.late.collapses.parameters())


@pytest.mark.parametrize(
    ("inputs", "classes", "message"),
    [((2, 2, 3), (2, 2, 2), r"read \[2, 2, 3\] .* must read \[1, 2, 3\]"), ((1, 2, 3), (2, 3, 2), "differ in their")],
)
def test_networks_that_do_not_fit_are_not_chained(inputs, classes, message):
    networks = [Psnn(PsnnSettings(n, c, (2, 2), ((2, 2, 2),))) for n, c in zip(inputs, classes, strict=True)]
    with pytest.raises(UserInputError, match=message):
        PsnnChain(*networks)
