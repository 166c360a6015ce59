"""What fusion networks make of f alone is computed with the image, and edits give what they gave without it."""

import gc

import numpy as np
import pytest
import torch

from context_propagation.core.errors import Cancelled
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.kept_of_f import forget_of_f, keep_of_f
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (24, 22, 40)
ROOMY = SessionSettings(update=UpdateSettings(iterations=2), memory_budget_bytes=2**30)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    folder = write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8), folds=(0, 1))
    return NnunetModel.load(folder, device="cpu")


def volume():
    return SourceVolume(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)[None], np.eye(4))


def target():
    mask = np.zeros(SHAPE, bool)
    mask[8:14, 6:15, 5:14] = True
    return mask


def started(model, fusion, settings=ROOMY):
    session = Session(model, settings, fusion)
    session.set_image(volume(), target())
    return session


def edit(column=6):
    mask = np.zeros(SHAPE[1:], bool)
    mask[7:15, column : column + 9] = True
    return SliceEdit(0, 11, mask)


def kept(cache):
    """Of how many folds it is kept, for each window."""
    return [sum(map(len, window.kept.values())) for window in cache.windows]


def test_every_fold_s_share_of_f_is_computed_with_the_image_and_not_again_by_an_edit(model, monkeypatch):
    fusion = random_fusion(model)
    session = started(model, fusion)
    (window,) = session.cache.windows
    for fold, network in enumerate(fusion.networks):
        with torch.no_grad():
            assert torch.equal(window.of_f(network, fold), network.of_f(window.features[fold].f))
        monkeypatch.setattr(network, "of_f", lambda f: pytest.fail("computed again"))

    with_it = session.preview([edit()])
    monkeypatch.undo()
    forget_of_f(session.cache)
    without = session.preview([edit()])

    assert with_it.record.far is not None
    assert np.allclose(with_it.record.far.values, without.record.far.values, atol=2e-3, equal_nan=True)
    assert np.array_equal(with_it.segmentation, without.segmentation)


@pytest.mark.parametrize(("room", "folds"), [(1.0, 2), (0.99, 1), (0.49, 0)])
def test_its_memory_is_counted_and_stays_within_what_may_be_used(model, room, folds):
    fusion, cache = random_fusion(model), started(model, None).cache
    plain = cache.cached_bytes()
    needed = sum(4 * 8 * features.f[0, 0].numel() for features in cache.windows[0].features)  # float32, 8 channels
    settings = SessionSettings(memory_budget_bytes=plain + int(room * needed))

    keep_of_f(cache, settings, fusion, lambda done: None, lambda: False)

    assert kept(cache) == [folds]
    assert cache.cached_bytes() == plain + folds * needed // 2


def test_before_another_window_is_cached_it_is_given_back_and_then_made_anew(model):
    session = started(model, random_fusion(model))

    session.propagate([edit(column=28)])

    assert kept(session.cache) == [2, 2]


def test_it_lives_as_long_as_its_network(model):
    fusion = random_fusion(model)
    session = started(model, fusion)
    session.fusion = None

    del fusion
    gc.collect()

    assert kept(session.cache) == [0]


def test_cancelled_while_it_is_computed_the_session_is_as_before(model, monkeypatch):
    fusion, asked = random_fusion(model), []
    session = started(model, fusion)
    before = session.cache
    forget_of_f(before)
    second = fusion.networks[1]
    monkeypatch.setattr(second, "of_f", lambda f: pytest.fail("cancelled before"))
    monkeypatch.setattr(fusion.networks[0], "of_f", lambda f: asked.append(1))

    with pytest.raises(Cancelled):
        session.set_image(volume(), target(), cancelled=lambda: bool(asked))

    assert session.cache is before
