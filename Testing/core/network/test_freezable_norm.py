"""Norms that keep an earlier pass's statistics, against the plain norms and against sums by hand."""

import pytest
import torch
from torch import nn

from context_propagation.core.network.freezable_norm import freezable, replace_norms, seen_statistics, use_statistics

NORMS = [
    nn.InstanceNorm3d(4, affine=True),
    nn.InstanceNorm3d(4),
    nn.GroupNorm(2, 4),
    nn.GroupNorm(4, 4, affine=False),
    nn.BatchNorm3d(4, track_running_stats=False),
]


def random_affine(norm):
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5, generator=torch.Generator().manual_seed(3))
    return norm.eval()


def features(seed=0, batch=1):
    return 2 + 3 * torch.randn((batch, 4, 3, 5, 4), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("plain", NORMS, ids=lambda norm: f"{type(norm).__name__} {len(list(norm.parameters()))}")
def test_with_its_own_statistics_frozen_a_norm_gives_what_the_plain_norm_gives(plain):
    norm = freezable(random_affine(plain))
    x = features()

    live = norm(x)
    norm.statistics = norm.seen
    frozen = norm(x)

    assert torch.equal(live, plain(x))
    torch.testing.assert_close(frozen, plain(x), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("plain", NORMS, ids=lambda norm: f"{type(norm).__name__} {len(list(norm.parameters()))}")
def test_frozen_statistics_make_each_voxel_independent_of_the_others(plain):
    norm = freezable(random_affine(plain))
    x = features()
    norm(x)
    norm.statistics = norm.seen
    moved = x.clone()
    moved[:, :, 0] += 7

    assert torch.equal(norm(moved)[:, :, 1:], norm(x)[:, :, 1:])
    assert not torch.allclose(plain(moved)[:, :, 1:], plain(x)[:, :, 1:], atol=1e-3)


def test_the_channels_of_a_group_share_mean_and_variance():
    norm = freezable(nn.GroupNorm(2, 4))
    x = torch.zeros(1, 4, 1, 1, 2)
    x[0, :, 0, 0] = torch.tensor([[1.0, 3.0], [5.0, 7.0], [0.0, 0.0], [0.0, 2.0]])

    norm(x)
    mean, variance = norm.seen

    # 1, 3, 5, 7: mean 4, squares 9 + 1 + 1 + 9 over 4; 0, 0, 0, 2: mean 0.5, 3 * 0.25 + 2.25 over 4
    assert mean.flatten().tolist() == [4, 4, 0.5, 0.5]
    assert variance.flatten().tolist() == pytest.approx([5, 5, 0.75, 0.75], rel=1e-6)


@pytest.mark.parametrize("plain", NORMS, ids=lambda norm: f"{type(norm).__name__} {len(list(norm.parameters()))}")
def test_the_statistics_kept_are_the_mean_and_variance_of_what_the_norm_pools(plain):
    norm, x = freezable(random_affine(plain)), features()

    norm(x)

    groups = getattr(plain, "num_groups", 4)
    pooled = x.double().reshape(groups, -1).repeat_interleave(4 // groups, 0)
    for seen, expected in zip(norm.seen, (pooled.mean(1), pooled.var(1, correction=0)), strict=True):
        assert seen.shape == (1, 4, 1, 1, 1)
        torch.testing.assert_close(seen.flatten().double(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("plain", NORMS, ids=lambda norm: f"{type(norm).__name__} {len(list(norm.parameters()))}")
def test_several_samples_are_normalised_as_by_the_plain_norm_and_leave_no_statistics(plain):
    norm, x = freezable(random_affine(plain)), features(batch=3)
    norm(x[:1])

    assert torch.equal(norm(x), plain(x))
    assert norm.seen is None


def test_the_gradient_through_its_own_statistics_is_the_plain_norms():
    for plain in map(random_affine, NORMS):
        of_each = []
        for norm in (plain, freezable(plain)):
            x = features().requires_grad_()
            (norm(x) * features(1)).sum().backward()
            of_each.append(x.grad)
        torch.testing.assert_close(*of_each, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("plain", [nn.InstanceNorm3d(4), nn.BatchNorm3d(4, track_running_stats=False)])
def test_a_norm_of_one_voxel_is_refused_as_by_torch(plain):
    with pytest.raises(ValueError, match="more than 1"):
        freezable(plain)(torch.ones(1, 4, 1, 1, 1))


def test_a_group_norm_pools_the_channels_of_one_voxel():
    norm = freezable(nn.GroupNorm(2, 4))

    norm(torch.tensor([1.0, 3.0, 0.0, 4.0]).view(1, 4, 1, 1, 1))

    assert norm.seen[0].flatten().tolist() == [2, 2, 2, 2]
    assert norm.seen[1].flatten().tolist() == pytest.approx([1, 1, 4, 4], rel=1e-6)


def test_statistics_of_one_sample_serve_a_batch():
    norm = freezable(random_affine(nn.GroupNorm(2, 4)))
    x = features(batch=3)
    norm(x[:1])
    norm.statistics = norm.seen

    assert torch.equal(norm(x)[2:], norm(x[2:]))


def test_norms_without_input_statistics_stay():
    network = nn.Sequential(nn.BatchNorm3d(4), nn.InstanceNorm3d(4, track_running_stats=True), nn.LayerNorm(4))

    assert replace_norms(network) == []
    assert [type(m) for m in network] == [nn.BatchNorm3d, nn.InstanceNorm3d, nn.LayerNorm]


def test_a_norm_registered_twice_is_replaced_by_one():
    shared = nn.InstanceNorm3d(4, affine=True)
    network = nn.Sequential(nn.Sequential(shared), shared, nn.GroupNorm(2, 4)).eval()
    x = features()
    expected = network(x)

    norms = replace_norms(network)

    assert len(norms) == 2
    assert network[0][0] is network[1]
    assert torch.equal(network(x), expected)
    seen = seen_statistics(norms)
    use_statistics(norms, seen)
    assert not torch.equal(network(features(1)), expected)
    use_statistics(norms, None)
    assert torch.equal(network(x), expected)
