"""A probe's weights against the conditions that define them."""

import math

import pytest
import torch
import torch.nn.functional as F

from context_propagation.core.propagation.slice_probe import (
    BIAS_STRENGTH,
    EFFECTIVE_SAMPLES,
    fit_probe,
    held_out_gain,
)


def samples(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    drawn = (features[:, 0] + 0.7 * torch.randn(count, generator=generator, dtype=torch.float64) > 0.3).double()
    return torch.cat([features, torch.ones(count, 1, dtype=torch.float64)], 1), drawn


START = torch.tensor([0.5, 0.0, 0.0, 0.1], dtype=torch.float64)
ALL = torch.ones(1, 60, dtype=torch.float64)


def test_the_slope_of_what_is_minimised_is_zero_at_the_weights_found():
    features, drawn = samples()
    found = fit_probe(features, drawn, START, 1.0, ALL)[0].requires_grad_(True)
    held = torch.tensor([1.0, 1.0, 1.0, BIAS_STRENGTH], dtype=torch.float64)
    loss = EFFECTIVE_SAMPLES * F.binary_cross_entropy_with_logits(features @ found, drawn)
    (loss + (held * (found - START) ** 2).sum() / 2).backward()
    assert found.grad.abs().max() < 0.05  # of slopes that are about 100 at the start


def test_held_strongly_the_weights_stay_where_they_start():
    features, drawn = samples()
    assert torch.allclose(fit_probe(features, drawn, START, 1e9, ALL)[0], START, atol=1e-5)


def test_a_sample_that_does_not_count_changes_nothing():
    features, drawn = samples()
    counted = ALL.clone()
    counted[:, 40:] = 0
    expected = fit_probe(features[:40], drawn[:40], START, 1.0, torch.ones(1, 40, dtype=torch.float64))
    assert torch.allclose(fit_probe(features, drawn, START, 1.0, counted), expected)


def test_smaller_voxels_of_the_same_image_give_the_same_weights():
    features, drawn = samples()
    twice = fit_probe(features.repeat(2, 1), drawn.repeat(2), START, 1.0, ALL.repeat(1, 2))
    assert torch.allclose(twice, fit_probe(features, drawn, START, 1.0, ALL))


def test_without_a_sample_that_counts_the_weights_are_the_start():
    features, drawn = samples()
    assert torch.allclose(fit_probe(features, drawn, START, 1.0, 0 * ALL)[0], START)


@pytest.mark.parametrize(("now", "then", "gain"), [(30.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 30.0, -1.0)])
def test_the_gain_is_the_part_of_the_cross_entropy_that_is_gone(now, then, gain):
    drawn = torch.tensor([1.0, 0.0])
    sure = torch.tensor([1.0, -1.0])
    assert held_out_gain(now * sure, drawn, then * sure) == pytest.approx(gain, abs=1e-6)


def test_a_worse_logit_loses_as_a_part_of_its_own_cross_entropy():
    drawn = torch.ones(4)
    found = held_out_gain(torch.zeros(4), drawn, torch.full((4,), math.log(3.0)))  # ln 2 now, ln 4/3 before
    assert found == pytest.approx((math.log(4 / 3) - math.log(2)) / math.log(2))
