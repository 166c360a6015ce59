"""Prototypes of the drawn slices against sums over the cached features by hand."""

import numpy as np
import pytest

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.fusion_inputs import edit_maps, prototypes
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder

SHAPE = (16, 16, 64)
SLICE = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8)), device="cpu")


@pytest.fixture(scope="module")
def caches(model):
    """The same image cached as one window, and as several."""
    image = SourceVolume(np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32), np.eye(4))
    initial = sum((g - n // 2) ** 2 for g, n in zip(np.indices(SHAPE), SHAPE, strict=True)) <= 30**2
    whole = Session(model, SessionSettings(level=1))
    plan = whole.set_image(image, initial)
    tiled = Session(model, SessionSettings(level=1, memory_budget_bytes=int(plan.peak_bytes * 0.99)))
    tiled.set_image(image, initial)
    return whole.cache, tiled.cache


def edit(columns=(20, 44)):
    drawn = np.zeros(SHAPE, bool)
    drawn[SLICE, 3:12, slice(*columns)] = True
    return NetworkEdit(0, (SLICE,), drawn, np.zeros(SHAPE, bool))


def by_hand(cache, drawn):
    """Voxel by voxel: at level 1 each lies in one cell of f, twice as large as itself along each axis."""
    channels = cache.windows[0].features[0].f.shape[1]
    total, count = np.zeros((2, channels)), np.zeros(2)
    for window in cache.windows:
        f = window.features[0].f[0].numpy()
        starts = [start for start, _ in window.network_box]
        for j, i in np.ndindex(SHAPE[1:]):
            cell = [(v - start) // 2 for v, start in zip((SLICE, j, i), starts, strict=True)]
            if all(0 <= c < n for c, n in zip(cell, f.shape[1:], strict=True)):
                part = 0 if drawn[SLICE, j, i] else 1
                total[part] += f[(slice(None), *cell)]
                count[part] += 1
    return total / count[:, None]


@pytest.mark.parametrize("which", [0, 1], ids=["one window", "several windows"])
def test_prototypes_are_the_mean_features_of_the_target_and_of_the_rest_of_the_slice(caches, which):
    cache = caches[which]
    assert (len(cache.windows) > 1) == bool(which)
    found = prototypes(cache, 0, edit_maps(cache, edit()))
    assert found.shape == (1, 2, cache.windows[0].features[0].f.shape[1])
    assert np.allclose(found[0].numpy(), by_hand(cache, edit().drawn), atol=1e-4)
    assert not np.allclose(found[0, 0].numpy(), found[0, 1].numpy(), atol=1e-3)


def test_a_window_without_a_part_of_the_drawing_is_compared_with_what_another_one_shows(caches):
    """All windows get one pair of prototypes, of the windows in which something is drawn."""
    cache, drawn = caches[1], edit((1, 6))
    reached = [n for n, window in enumerate(cache.windows) if window.network_box[2][0] < 6]
    assert 0 < len(reached) < len(cache.windows)
    assert np.allclose(
        prototypes(cache, 0, edit_maps(cache, drawn))[0, 0].numpy(), by_hand(cache, drawn.drawn)[0], atol=1e-3
    )


def test_nothing_is_compared_with_an_erased_slice(caches):
    nothing = NetworkEdit(0, (SLICE,), np.zeros(SHAPE, bool), np.zeros(SHAPE, bool))
    assert not prototypes(caches[0], 0, edit_maps(caches[0], nothing)).any()
