"""Seconds and memory of stages."""

import time

import numpy as np
import pytest

from context_propagation.cli.report import StageMeter


def test_a_stage_is_timed():
    meter = StageMeter()
    with meter.stage("wait"):
        time.sleep(0.2)

    (cost,) = meter.costs
    assert cost.name == "wait"
    assert 0.2 <= cost.seconds < 2


def test_memory_that_is_given_back_within_the_stage_counts_for_its_peak():
    meter = StageMeter()
    with meter.stage("nothing"):
        pass
    with meter.stage("large"):
        block = np.ones(200 * 2**20, np.uint8)
        time.sleep(0.2)
        del block

    nothing, large = meter.costs
    assert large.peak_memory_mib >= nothing.peak_memory_mib + 190


def test_a_stage_that_fails_is_not_recorded():
    meter = StageMeter()
    with pytest.raises(ValueError, match="no"), meter.stage("fails"):
        raise ValueError("no")

    assert meter.costs == []
