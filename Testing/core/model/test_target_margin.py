"""A voxel's margin says by how much the target wins there, of labels and of regions."""

import numpy as np
import pytest
import torch

from context_propagation.core.model.nnunet_model import NnunetModel
from nnunet_folders import write_nnunet_folder


def random_logits(channels, folds, seed):
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(1, channels, 6, 7, 8, generator=generator) for _ in range(folds)]


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("target", ["node", "GTV", "cord"])
def test_a_margin_is_above_0_exactly_where_the_label_has_the_largest_mean_probability(tmp_path, target, folds):
    labels = {"background": 0, "node": 1, "GTV": 2, "cord": 3}
    model = NnunetModel.load(write_nnunet_folder(tmp_path, labels=labels), label=target, device="cpu")
    logits = random_logits(4, folds, 0)
    powers = [np.exp(piece.double().numpy()) for piece in logits]
    mean = np.mean([p / p.sum(1, keepdims=True) for p in powers], axis=0)[0]
    others = np.delete(mean, labels[target], axis=0).max(0)

    margin = model.target_margin(logits)[0].numpy()

    assert np.allclose(margin, mean[labels[target]] - others, atol=1e-6)
    assert np.array_equal(margin > 0, mean.argmax(0) == labels[target])
    assert np.array_equal(model.is_target(logits)[0].numpy(), margin > 0)


def test_a_region_s_margin_is_twice_its_mean_probability_less_one(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    folder = write_nnunet_folder(tmp_path, labels=labels, regions_class_order=[1, 2])
    model = NnunetModel.load(folder, label="core", device="cpu")
    logits = random_logits(2, 2, 1)
    mean = np.mean([1 / (1 + np.exp(-piece[0, 1].double().numpy())) for piece in logits], axis=0)

    margin = model.target_margin(logits)[0].numpy()

    assert np.allclose(margin, 2 * mean - 1, atol=1e-6)
    assert np.array_equal(model.is_target(logits)[0].numpy(), margin > 0)
    assert model.target_margin([torch.zeros(1, 2, 1, 1, 1)]).item() == 0


@pytest.mark.parametrize(("target", "wins"), [("node", True), ("GTV", False)])
def test_where_two_labels_tie_the_lower_one_has_the_voxel(tmp_path, target, wins):
    labels = {"background": 0, "node": 1, "GTV": 2}
    model = NnunetModel.load(write_nnunet_folder(tmp_path, labels=labels), label=target, device="cpu")
    tie = [torch.tensor([0.0, 2.0, 2.0]).view(1, 3, 1, 1, 1)]

    assert model.is_target(tie).item() is wins
    assert (model.target_margin(tie).item() > 0) is wins
    assert abs(model.target_margin(tie).item()) < 1e-30
