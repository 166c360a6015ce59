"""Any network in a session: an edit of one slice through each of them, and networks given as two functions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import context_propagation
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.free_network import from_network
from context_propagation.core.model.network_model import Output
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from free_networks import BUILD, free_network, random_image

PREPROCESSING = Preprocessing(None, (ChannelNormalisation("MR", "z-score"),))
OUTPUT = Output(("background", "GTV"), "GTV")
PATCH = (32, 32, 32)


def a_volume(shape=(40, 32, 32), seed=0):
    values = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return SourceVolume(values, np.eye(4))


def a_drawing(initial, axis, index):
    """The slice with a disc added and a piece taken away."""
    drawn = initial.take(index, axis).copy()
    a, b = np.ogrid[: drawn.shape[0], : drawn.shape[1]]
    drawn |= (a - 14) ** 2 + (b - 18) ** 2 <= 30
    drawn[:10, :10] = False
    return SliceEdit(axis, index, drawn)


def propagated(model, level=2, axis=0, index=20, volume=None, **settings):
    session = Session(model, SessionSettings(level=level, neighbours=2, **settings))
    volume = volume or a_volume()
    session.set_image(volume)
    before = session.segmentation.copy()
    edit = a_drawing(before, axis, index)
    return before, edit, session.propagate([edit])


@pytest.mark.quick(name=("UNet", "DynUNet"))
@pytest.mark.parametrize("name", BUILD)
def test_an_edit_of_one_slice_goes_through_any_network(name):
    model = from_network(free_network(name), PREPROCESSING, OUTPUT, PATCH, device="cpu")

    before, edit, result = propagated(model, update=UpdateSettings(iterations=5, proximal_weight=1e-3))

    (update,) = result.updates
    assert np.array_equal(result.segmentation[edit.index], edit.mask)
    assert update.loss_after < 0.995 * update.loss_before  # untrained weights move little
    far = [k for k in range(40) if abs(k - edit.index) > 2]
    assert np.array_equal(result.segmentation[far], before[far])
    assert set(result.changed_per_slice) <= {18, 19, 21, 22}
    assert result.scope == "near slices only"


@pytest.mark.quick(name="SegResNet")
@pytest.mark.parametrize("name", ["SegResNet", "BasicUNet"])
def test_slab_and_whole_window_find_the_same_update(name, monkeypatch):
    network = free_network(name)
    settings = {"update": UpdateSettings(iterations=1)}  # more amplify rounding
    model = from_network(network, PREPROCESSING, OUTPUT, PATCH, device="cpu")
    _, _, slab = propagated(model, **settings)

    monkeypatch.setitem(model.splits[0].cut(2).__dict__, "reaches", None)  # no layer is known: the whole window
    _, _, complete = propagated(model, **settings)

    assert slab.updates[0].loss_before == pytest.approx(complete.updates[0].loss_before, rel=1e-5)
    assert slab.updates[0].loss_after == pytest.approx(complete.updates[0].loss_after, rel=1e-4)
    assert (slab.segmentation != complete.segmentation).sum() <= 2


def test_the_loss_is_the_one_the_network_was_trained_with():
    with_ce = from_network(free_network("UNet"), PREPROCESSING, OUTPUT, PATCH, device="cpu")
    dice = from_network(free_network("UNet"), PREPROCESSING, OUTPUT, PATCH, device="cpu", loss="dice")

    def loss_before(model, **settings):
        return propagated(model, update=UpdateSettings(iterations=1, **settings))[2].updates[0].loss_before

    assert loss_before(dice) < loss_before(with_ce)  # the same, and the cross-entropy on top
    assert loss_before(with_ce, loss="dice") == loss_before(dice)
    assert loss_before(dice, loss="dice and cross-entropy") == loss_before(with_ce)


def test_the_grid_may_be_anisotropic_and_transposed():
    preprocessing = Preprocessing((1.0, 1.0, 2.0), PREPROCESSING.channels, transpose=(2, 1, 0))
    model = from_network(free_network("UNet"), preprocessing, OUTPUT, PATCH, device="cpu")
    volume = SourceVolume(a_volume((24, 36, 40)).channels, np.diag([0.8, 0.9, 3.0, 1.0]))

    before, edit, result = propagated(model, axis=1, index=17, volume=volume)

    assert np.array_equal(result.segmentation[:, 17], edit.mask)
    assert result.updates[0].loss_after < result.updates[0].loss_before
    far = [j for j in range(36) if abs(j - 17) > 2]
    assert np.array_equal(result.segmentation[:, far], before[:, far])


def test_a_stored_flip_changes_nothing_where_the_orientation_is_known():
    model = from_network(free_network("UNet"), PREPROCESSING, OUTPUT, PATCH, device="cpu", orientation="LPS")
    volume = a_volume()
    flipped = SourceVolume(volume.channels[:, ::-1].copy(), np.diag([1.0, 1.0, -1.0, 1.0]))

    _, edit, result = propagated(model, volume=volume)
    session = Session(model, SessionSettings(level=2, neighbours=2))
    session.set_image(flipped)
    mirrored = session.propagate([SliceEdit(0, 39 - edit.index, edit.mask)])

    assert np.array_equal(mirrored.segmentation[::-1], result.segmentation)


# ---- two callables


class TakesDecisions(torch.nn.Module):
    """A network that cannot be traced, because it looks at its values."""

    def __init__(self):
        super().__init__()
        self.down = torch.nn.Conv3d(1, 8, 2, stride=2)
        self.up = torch.nn.ConvTranspose3d(8, 2, 2, stride=2)

    def encode(self, x):
        x = x if x.mean() > -100 else -x
        return F.relu(self.down(x)), (x,)

    def decode(self, f, skips):
        return self.up(f) + torch.cat((skips[0], -skips[0]), 1)

    def forward(self, x):
        return self.decode(*self.encode(x))


def untraceable():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TakesDecisions().eval()


def test_a_network_that_cannot_be_traced_is_given_as_two_callables():
    network = untraceable()
    with pytest.raises(UserInputError, match="two callables"):
        from_network(network, PREPROCESSING, OUTPUT, PATCH, device="cpu")

    model = from_network(
        network, PREPROCESSING, OUTPUT, PATCH, device="cpu", callables=(network.encode, network.decode)
    )
    before, edit, result = propagated(model, level=1)

    with torch.no_grad():
        assert torch.equal(model.splits[0].encode(random_image(), 1).logits, network(random_image()))
    assert model.total_stride == (2, 2, 2)
    assert np.array_equal(result.segmentation[20], edit.mask)
    assert result.updates[0].loss_after < result.updates[0].loss_before
    far = [k for k in range(40) if abs(k - 20) > 2]
    assert np.array_equal(result.segmentation[far], before[far])


@pytest.mark.parametrize(
    ("encode", "decode", "said"),
    [
        (lambda x: x, lambda f, skips: f, "encode returns Tensor; return"),
        (lambda x: (x.flatten(), ()), lambda f, skips: f, "something else than feature maps"),
        (lambda x: (x, ()), lambda f, skips: f[:, :, 1:], r"decode returns \(1, 1, 31, 32, 32\) for an image"),
        (lambda x: (x, ()), lambda f, skips: [f], "decode returns list"),
    ],
)
def test_callables_that_do_not_fit_are_refused(encode, decode, said):
    with pytest.raises(UserInputError, match=said):
        from_network(untraceable(), PREPROCESSING, OUTPUT, PATCH, device="cpu", callables=(encode, decode))


# ---- the model


def test_the_hash_tells_weights_and_preprocessing_apart():
    def hashed(network, preprocessing=PREPROCESSING):
        return from_network(network, preprocessing, OUTPUT, (16, 16, 16), device="cpu").content_hash

    same = hashed(free_network("UNet"))

    assert hashed(free_network("UNet")) == same
    assert hashed(free_network("UNet", seed=1)) != same
    assert hashed(free_network("UNet"), Preprocessing((1, 1, 1), PREPROCESSING.channels)) != same


def test_the_way_in_is_exported():
    assert context_propagation.from_network is from_network
    assert {"from_network", "Preprocessing", "ChannelNormalisation", "Output", "load_model"} <= set(
        context_propagation.__all__
    )
