"""The whole-window update: it uses nothing of the engine, and the engine must agree with it."""

import numpy as np
import pytest
import torch

from context_propagation import Session, SessionSettings, SliceEdit, SourceVolume, load_model
from context_propagation.benchmark.literal import BORDER, LiteralWindow, loss_box
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from nnunet_folders import write_nnunet_folder

EDGE, INDEX = 16, 7


def drawing() -> np.ndarray:
    drawn = np.zeros((EDGE, EDGE), bool)
    drawn[5:11, 4:9] = True
    return drawn


class Both:
    """The engine and the oracle on one image."""

    def __init__(self, folder, level: int) -> None:
        rng = np.random.default_rng(0)
        volume = SourceVolume(rng.normal(100, 80, (1, EDGE, EDGE, EDGE)).astype(np.float32), np.eye(4))
        initial = np.zeros((EDGE,) * 3, bool)
        initial[4:12, 4:12, 4:12] = True
        self.session = Session(load_model(folder, device="cpu").model, SessionSettings(level=level))
        self.session.set_image(volume, initial)
        self.split, self.features = self.session.model.splits[0], self.session.cache.windows[0].features[0]
        x = self.session.cache.prepared.network_input[None]
        self.literal = LiteralWindow(load_nnunet_folder(folder).networks[0], x, level)

    def engine_loss(self, logits: torch.Tensor, index: int) -> torch.Tensor:
        """Eq. 7 as the paper has it, of the engine's logits on a slice."""
        place = loss_box(drawing() | self.session.window_prediction[INDEX])
        z = (logits[0, 1, index] - logits[0, 0, index])[place]
        y = torch.from_numpy(drawing()[place]).float()
        p = torch.sigmoid(z)
        cross_entropy = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
        return cross_entropy + 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)

    def literal_gradient(self) -> torch.Tensor:
        f = self.literal.f.clone().requires_grad_(True)
        self.literal.loss(f, INDEX, drawing()).backward()
        return f.grad


CASES = [
    ("PlainConvUNet", 2),
    ("ResidualEncoderUNet", 1),
    *(pytest.param(case, marks=pytest.mark.long) for case in (("PlainConvUNet", 1), ("ResidualEncoderUNet", 2))),
]


@pytest.fixture(scope="module", params=CASES, ids=str)
def both(request, tmp_path_factory):
    architecture, level = request.param
    folder = write_nnunet_folder(tmp_path_factory.mktemp("model"), architecture=architecture, channel_name="CT")
    return Both(folder, level)


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 1e-5 * wanted.abs().max())


def test_the_untouched_features_decode_to_the_same_logits(both):
    assert close(both.literal.f, both.features.f)
    assert close(both.literal.logits, both.features.logits)


def test_frozen_statistics_give_back_what_the_first_pass_gave(both):
    assert close(both.literal.decode(both.literal.f), both.literal.logits)


def test_the_loss_is_the_engines(both):
    result = both.session.propagate([SliceEdit(0, INDEX, drawing())])
    both.session.undo()

    loss = float(both.literal.loss(both.literal.f, INDEX, drawing()))

    assert result.updates[0].loss_before == pytest.approx(loss, rel=1e-5)


def test_the_gradient_is_the_engines_on_the_whole_window(both):
    f = both.features.f.clone().requires_grad_(True)
    both.engine_loss(both.split.decode(both.features, f, frozen_statistics=True), INDEX).backward()

    assert float(f.grad.abs().max()) > 0
    assert close(f.grad, both.literal_gradient())


def test_the_gradient_is_the_engines_on_the_slab_and_0_beyond_it(both):
    place = loss_box(drawing() | both.session.window_prediction[INDEX])
    wanted = ((INDEX, INDEX + 1), *((span.start, span.stop) for span in place))
    slab = both.split.slab(both.features, wanted)
    cut = (slice(None), slice(None), *slices_of(slab.f_box))
    f = both.features.f[cut].clone().requires_grad_(True)
    logits = both.split.decode(slab.features, f, frozen_statistics=True)
    whole = torch.zeros_like(both.features.logits)
    whole[(slice(None), slice(None), *slices_of(slab.output_box))] = logits
    both.engine_loss(whole, INDEX).backward()

    literal = both.literal_gradient()

    assert close(f.grad, literal[cut])
    beyond = literal.clone()
    beyond[cut] = 0
    assert float(beyond.abs().max()) == 0


def test_an_update_lowers_the_loss_and_moves_no_weight(both):
    before = [p.clone() for p in both.literal._head.parameters()]

    done = both.literal.update(INDEX, drawing())

    assert done.losses[-1] < done.losses[0]
    assert 1 < len(done.losses) <= 20
    assert len(done.seconds) == len(done.losses)
    assert all(torch.equal(a, b) for a, b in zip(before, both.literal._head.parameters(), strict=True))
    assert all(p.grad is None for p in both.literal._head.parameters())


def test_an_update_ends_as_soon_as_the_loss_is_low_enough(both):
    whole = both.literal.update(INDEX, drawing())

    done = both.literal.update(INDEX, drawing(), enough=whole.losses[3])

    assert len(done.losses) == next(n for n, loss in enumerate(whole.losses, 1) if loss <= whole.losses[3])


def test_the_loss_is_counted_around_the_mask():
    mask = np.zeros((40, 40), bool)
    mask[20, 3] = True

    assert loss_box(mask) == (slice(20 - BORDER, 21 + BORDER), slice(0, 4 + BORDER))
