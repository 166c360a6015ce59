"""What a training is charged for harm, with figures worked out by hand."""

import math
from typing import get_args

import pytest
import torch

from context_propagation.core.propagation.fusion_settings import Variant
from context_propagation.training.far_harm import HARM_WEIGHT, far_harm, harm_weight_of

TRUTH = torch.tensor([[[1.0, 1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0, 0.0]]])
"""Two slices of four voxels."""

BEFORE = torch.zeros(2, 1, 4)
"""Each voxel is target with 1/2: DSC (2 * 1 + 1) / (2 + 2 + 1) = 3 / 5 on both slices."""

THREE_QUARTERS = math.log(3)


def test_a_slice_that_loses_is_charged_what_it_loses_and_one_that_gains_does_not_make_up_for_it():
    after = BEFORE.clone()
    after[0] = THREE_QUARTERS * torch.tensor([1.0, 1.0, -1.0, -1.0])  # (2 * 1.5 + 1) / (2 + 2 + 1) = 4 / 5
    after[1] = THREE_QUARTERS * torch.tensor([-1.0, -1.0, -1.0, -1.0])  # (2 * 0.5 + 1) / (1 + 2 + 1) = 1 / 2
    assert float(far_harm(BEFORE, after, TRUTH)) == pytest.approx((0.0 + 0.1) / 2)


def test_nothing_is_charged_where_nothing_changes():
    assert float(far_harm(BEFORE, BEFORE, TRUTH)) == 0


def test_only_the_slice_that_loses_is_pulled_back():
    after = torch.stack([torch.full((1, 4), 0.5), torch.tensor([[-1.0, -1.0, 1.0, 1.0]])]).requires_grad_()
    after.data[0, 0, 2:] = -0.5
    far_harm(BEFORE, after, TRUTH).backward()
    assert not after.grad[0].any()
    assert (after.grad[1, 0, :2] < 0).all()  # more target, where it was taken away: less harm
    assert (after.grad[1, 0, 2:] > 0).all()


def test_an_empty_slice_that_stays_nearly_empty_is_charged_next_to_nothing():
    empty = torch.zeros(1, 1, 4)
    assert float(far_harm(torch.full((1, 1, 4), -9.0), torch.full((1, 1, 4), -8.0), empty)) < 0.001


def test_all_variants_but_the_papers_are_charged():
    assert [harm_weight_of(variant) for variant in get_args(Variant)] == [
        0 if variant == "paper" else HARM_WEIGHT for variant in get_args(Variant)
    ]
    assert HARM_WEIGHT > 0
