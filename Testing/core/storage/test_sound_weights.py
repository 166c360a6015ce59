"""Weights and constants with which every prediction would be NaN, and so empty, are refused by name."""

import math

import pytest
import torch
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.storage.sound_weights import (
    built_for,
    refuse_huge_numbers,
    refuse_unsound_norms,
    refuse_unsound_weights,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_refused_by_the_tensors_name(value):
    weights = {"first": torch.ones(3), "second": torch.tensor([1.0, value])}
    with pytest.raises(UserInputError, match="Tensor 'second' in 'm.pt' holds NaN or infinite weights; train again"):
        refuse_unsound_weights("m.pt", weights, "train again")


def test_a_negative_variance_is_refused_and_whole_numbers_pass():
    refuse_unsound_weights("m.pt", {"n.running_var": torch.zeros(2), "n.num_batches_tracked": torch.tensor(3)}, "x")
    with pytest.raises(UserInputError, match="'n.running_var' in 'm.pt' holds a negative variance, -0.5"):
        refuse_unsound_weights("m.pt", {"n.running_var": torch.tensor([1.0, -0.5])}, "x")


@pytest.mark.parametrize("eps", [0, -1e-5, math.nan, math.inf, "1e-5", None, True])
def test_a_norms_eps_must_be_a_finite_number_above_0(eps):
    norm = nn.InstanceNorm3d(2)
    refuse_unsound_norms(nn.Sequential(norm), "plans.json")
    norm.eps = eps
    if eps is None:  # a module without the constant
        refuse_unsound_norms(nn.Sequential(norm), "plans.json")
        return
    with pytest.raises(UserInputError, match="'plans.json': the norm '0' has eps"):
        refuse_unsound_norms(nn.Sequential(norm), "plans.json")


def test_a_network_much_larger_than_its_weights_is_refused_before_it_takes_the_memory():
    weights = nn.Conv3d(1, 4, 3).state_dict()
    with built_for(weights, "The network", "correct it"):
        nn.Conv3d(1, 4, 3)
    with (
        pytest.raises(UserInputError, match="The network would hold 27000000000000 values or more, and its weights"),
        built_for(weights, "The network", "correct it"),
    ):
        nn.Conv3d(1_000_000, 1_000_000, 3)  # 108 TB
    with pytest.raises(UserInputError, match="would hold"), built_for(weights, "The network", "correct it"):
        [nn.Linear(700, 700) for _ in range(1_000_000)]


def test_a_number_that_no_network_has_is_refused_at_any_depth():
    refuse_huge_numbers({"channels": [4, 320], "name": "x", "rate": 1e9}, "The network")
    with pytest.raises(UserInputError, match="The network has the argument 1000000000; no such number"):
        refuse_huge_numbers({"a": {"b": [1, [10**9]]}}, "The network")
