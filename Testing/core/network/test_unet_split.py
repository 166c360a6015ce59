"""The split of nnU-Net's networks against the plain networks."""

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from context_propagation.core.network.unet_split import UNetSplit
from nnunet_folders import write_nnunet_folder

ARCHITECTURES = ["PlainConvUNet", "ResidualEncoderUNet"]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def network(request, tmp_path_factory):
    folder = write_nnunet_folder(
        tmp_path_factory.mktemp(request.param), architecture=request.param, features=(4, 6, 8, 10)
    )
    return load_nnunet_folder(folder).networks[0]


def image(shape=(16, 24, 16), seed=1):
    return torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(seed))


def relative_difference(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("frozen", [True, False])
def test_decode_of_encode_equals_the_plain_forward(network, level, frozen):
    x = image()
    split = UNetSplit(network)
    with torch.no_grad():
        plain = network(x)
        features = split.encode(x, level)
        decoded = split.decode(features, features.f, frozen)
    assert features.level == level
    assert len(features.skips) == level
    assert relative_difference(decoded, plain) <= 1e-5
    assert relative_difference(features.logits, plain) <= 1e-5


def test_the_split_shares_the_weights_and_leaves_the_network_as_it_was(network):
    x = image()
    with torch.no_grad():
        before = network(x)
        split = UNetSplit(network)
        tail = split.tail(2)
        split.encode(x, 2)
        assert torch.equal(network(x), before)
    owned = {p.data_ptr() for p in network.parameters()}
    assert all(p.data_ptr() in owned for p in tail.parameters())
    assert not any(p.requires_grad for p in network.parameters())


def test_frozen_statistics_stay_while_features_change(network):
    split = UNetSplit(network)
    features = split.encode(image(), 2)
    moved = features.f.clone()
    moved[:, :, -1] += 5.0
    frozen = split.decode(features, moved, True)
    live = split.decode(features, moved, False)
    assert torch.allclose(frozen[:, :, 0], features.logits[:, :, 0], atol=1e-5)
    assert not torch.allclose(live[:, :, 0], features.logits[:, :, 0], atol=1e-3)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_slab_decodes_its_box_as_the_whole_window_does(network, level):
    split = UNetSplit(network)
    features = split.encode(image((48, 32, 32)), level)
    f = features.f + 0.3 * torch.randn(features.f.shape, generator=torch.Generator().manual_seed(2))
    box = ((20, 22), (3, 9), (14, 16))
    slab = split.slab(features, box)
    whole = split.decode(features, f)
    part = split.decode(slab.features, f[(slice(None), slice(None), *(slice(*s) for s in slab.f_box))])
    inner = tuple(slice(a - o, b - o) for (a, b), (o, _) in zip(box, slab.output_box, strict=True))
    expected = whole[(slice(None), slice(None), *(slice(*s) for s in box))]
    assert relative_difference(part[(slice(None), slice(None), *inner)], expected) <= 1e-5
    if level < 3:
        assert slab.features.f.numel() < features.f.numel()


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_change_of_f_reaches_the_affected_box_and_nothing_outside_it(network, level):
    split = UNetSplit(network)
    features = split.encode(image((48, 32, 32)), level)
    f = features.f.clone()
    d = features.f.shape[2] // 2
    f[:, :, d : d + 1, 1:2, 2:3] += 3.0
    changed = (split.decode(features, f) - split.decode(features, features.f)).abs().amax(dim=(0, 1)) > 0
    affected = split.affected_box(features, ((d, d + 1), (1, 2), (2, 3)))
    touched = [np.flatnonzero(changed.numpy().any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
    assert [(int(t[0]), int(t[-1]) + 1) for t in touched] == [tuple(span) for span in affected]


def test_decode_is_differentiable_in_f_alone(network):
    split = UNetSplit(network)
    features = split.encode(image(), 2)
    f = features.f.clone().requires_grad_(True)
    split.decode(features, f).sum().backward()
    assert f.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())


def test_a_level_beyond_the_decoder_is_refused_by_number(network):
    with pytest.raises(UserInputError, match="level 4 .* 3 stages"):
        UNetSplit(network).encode(image(), 4)
