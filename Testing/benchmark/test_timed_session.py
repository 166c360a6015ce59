"""How an edit's time is split into stages, and what memory counts."""

from time import sleep

import numpy as np
import pytest
import torch

from context_propagation.benchmark.children import closing_all, session_child
from context_propagation.benchmark.ct_case import write_ct
from context_propagation.benchmark.timed_session import Fusing, Meter, Stages, dsc


class Clock:
    """Says what it is told to."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_stage_lasts_until_the_next_one_is_named():
    clock = Clock()
    stages = Stages(clock)
    for time, stage, fraction in ((2, "update", 0.1), (5, "update", 0.2), (7, "decode", 0), (8, "decode", 1)):
        clock.time = time
        stages(stage, fraction)
    clock.time = 9
    stages("fuse", 0)
    clock.time = 13
    stages("fuse", 1)
    clock.time = 14

    assert stages.end(0.0) == {"update": 7, "decode": 1, "fuse": 5, "rest": 1}


def test_the_fusion_network_is_taken_out_of_its_stage():
    clock = Clock()
    stages = Stages(clock)
    stages("fuse", 0)
    clock.time = 10
    stages("fuse", 1)

    assert stages.end(4.0) == {"far decode": 6, "rest": 0, "fusion network": 4}


def test_a_fusion_networks_calls_are_added_up():
    ticks = iter(range(100))
    network = torch.nn.Identity()
    with Fusing([network], lambda: float(next(ticks))) as fusing:
        network(torch.zeros(1))
        network(torch.zeros(1))
    network(torch.zeros(1))

    assert fusing.seconds == 2.0


def test_memory_counts_from_what_was_held_before():
    held = np.ones(50 * 2**20, np.uint8)
    meter = Meter("cpu")
    with meter.measured() as found:
        block = np.ones(100 * 2**20, np.uint8)
        sleep(0.3)  # a peak is seen where it lasts
        del block

    assert 90 <= found["mib"] <= 140
    assert found["seconds"] > 0
    assert held.all()


def test_the_likeness_of_masks():
    a, b = np.array([True, True, False, False]), np.array([True, False, True, True])
    assert dsc(a, b) == pytest.approx(2 * 1 / 5)
    assert dsc(a & ~a, b & ~b) == 1


@pytest.mark.long
def test_a_ct_is_predicted_and_edited_with_the_bundle_that_ships(tmp_path):
    write_ct(tmp_path / "ct.npz", (64, 64, 24))
    with closing_all() as children:
        children["ct"] = session_child({"kind": "ct", "device": "cpu", "case": str(tmp_path / "ct.npz")})
        step = children["ct"].step()

    (edit,) = step["edits"]
    assert 0 < step["beyond"]["seconds"] < step["set_image"]["seconds"]
    assert {"update", "decode", "rest", "write to MRML"} <= set(edit["stages"])
    assert edit["drawn_voxels"] > 0
    assert edit["dsc_before"] <= edit["dsc_after"] <= 1


def test_a_ct_has_the_size_that_is_asked_for(tmp_path):
    write_ct(tmp_path / "ct.npz", (64, 48, 24))

    with np.load(tmp_path / "ct.npz") as case:
        assert case["image"].shape == (24, 48, 64)
        assert case["drawn"].shape == (48, 64)
        assert case["drawn"].any()
        assert -1100 < case["image"].min() < case["image"].max()
