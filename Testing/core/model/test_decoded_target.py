"""The target decoded piece by piece from what decides on it, against all logits interpolated and argmax in NumPy."""

import numpy as np
import pytest
import torch
from skimage.transform import resize

from context_propagation.core.image.boxes import inside_of, slices_of, whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model import decoded_target as module
from context_propagation.core.model.decoded_target import decoded_margins, decoded_pieces, decoded_target
from context_propagation.core.model.nnunet_model import NnunetModel
from nnunet_folders import write_nnunet_folder

NETWORK, IMAGE = (6, 7, 5), (9, 13, 12)
BOX = ((2, 9), (1, 12), (3, 11))
MODELS = {
    "two labels": {"labels": {"background": 0, "GTV": 1}},
    "a middle label": {"labels": {"background": 0, "node": 1, "GTV": 2, "cord": 3}},
    "the last label": {"labels": {"background": 0, "node": 1, "GTV": 2}},
    "a region": {"labels": {"background": 0, "whole": [1, 2], "GTV": [2]}, "regions_class_order": [1, 2]},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    folder = write_nnunet_folder(tmp_path_factory.mktemp("model"), **MODELS[request.param])
    return NnunetModel.load(folder, label="GTV", device="cpu")


@pytest.fixture(params=[1, 2**19], ids=["slice by slice", "at once"], autouse=True)
def piece_voxels(request, monkeypatch):
    monkeypatch.setattr(module, "PIECE_VOXELS", request.param)


def channels_of(model):
    return len(model._folder.dataset_json["labels"]) - int(model._rule.regions)


def plain_margin(model, fold_logits, shape=IMAGE):
    """float64 on the image's grid: every channel resized, each fold's probabilities, their mean; and the labels."""
    target, means = model.target.channel, []
    for logits in fold_logits:
        channels = logits[0].double().numpy()
        z = np.stack([resize(c, shape, order=1, mode="edge", anti_aliasing=False) for c in channels])
        means.append(1 / (1 + np.exp(-z)) if model._rule.regions else np.exp(z) / np.exp(z).sum(0))
    mean = np.mean(means, axis=0)
    if model._rule.regions:
        return 2 * mean[target] - 1, mean[target] > 0.5
    return mean[target] - np.delete(mean, target, axis=0).max(0), mean.argmax(0) == target


def random_logits(model, folds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(1, channels_of(model), *NETWORK, generator=generator) for _ in range(folds)]


@pytest.mark.parametrize("folds", [1, 3])
def test_margins_and_labels_are_those_of_all_logits_interpolated(model, folds):
    logits, grid = random_logits(model, folds), GridMap(whole(IMAGE), NETWORK)
    margin, labels = (array[slices_of(BOX)] for array in plain_margin(model, logits))

    found = np.full(margin.shape, np.nan, np.float32)
    for piece, values in decoded_pieces(model, grid, logits, (0, 0, 0), BOX):
        found[slices_of(inside_of(piece, BOX))] = values.numpy()

    assert np.abs(found - margin).max() < 1e-6
    assert np.array_equal(decoded_target(model, grid, logits, (0, 0, 0), BOX), labels)
    assert np.array_equal(decoded_margins(model, grid, logits, (0, 0, 0), BOX), found.astype(np.float16))
    assert 0 < labels.mean() < 1


def test_a_piece_of_the_network_s_grid_gives_what_the_whole_gives(model):
    logits, grid = random_logits(model, 2), GridMap(whole(IMAGE), NETWORK)
    support = grid.support(BOX)
    pieces = [z[(..., *slices_of(support))] for z in logits]

    cut = decoded_margins(model, grid, pieces, [start for start, _ in support], BOX)

    assert np.array_equal(cut, decoded_margins(model, grid, logits, (0, 0, 0), BOX))


def test_where_labels_tie_the_lowest_has_the_voxel_as_with_argmax(model):
    """Whole numbers on the image's own grid: many exact ties, between two labels and between all."""
    generator = torch.Generator().manual_seed(1)
    logits = [torch.randint(0, 2, (1, channels_of(model), *IMAGE), generator=generator).float()]
    z = logits[0][0].numpy()
    expected = z[model.target.channel] > 0 if model._rule.regions else z.argmax(0) == model.target.channel

    labels = decoded_target(model, GridMap(whole(IMAGE), IMAGE), logits, (0, 0, 0), whole(IMAGE))

    assert np.array_equal(labels, expected)
    assert np.array_equal(model.is_target(logits)[0].numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_resampled_logits_are_won_as_argmax_and_one_half_say(model, dtype):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randint(-2, 3, (channels_of(model), *IMAGE), generator=generator).to(dtype)
    z = logits.float().numpy()
    expected = 1 / (1 + np.exp(-z[1])) > 0.5 if model._rule.regions else z.argmax(0) == model.target.channel

    assert np.array_equal(model._rule.won(logits).numpy(), expected)
