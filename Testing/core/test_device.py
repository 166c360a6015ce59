"""Which device a name stands for."""

import logging

import pytest
import torch

from context_propagation.core import device
from context_propagation.core.device import select_device
from context_propagation.core.errors import UserInputError


@pytest.fixture
def computer_with(monkeypatch):
    """Say which GPUs are there."""

    def has(*gpus):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in gpus)

    return has


@pytest.mark.parametrize(
    ("gpus", "found"), [((), "cpu"), (("cuda",), "cuda"), (("mps",), "mps"), (("cuda", "mps"), "cuda")]
)
def test_auto_is_the_gpu_that_is_there(computer_with, monkeypatch, gpus, found):
    computer_with(*gpus)
    monkeypatch.setattr(device, "_missing_on", lambda gpu: None)

    assert select_device("auto").type == found


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="here is an Apple GPU")
def test_an_apple_gpu_that_cannot_compute_a_network_gives_way_to_the_cpu_and_that_is_said(computer_with, caplog):
    computer_with("mps")

    with caplog.at_level(logging.WARNING):
        for name in ("auto", "mps"):
            assert select_device(name).type == "cpu"

    assert caplog.text.count("This computer's Apple GPU cannot compute such networks (") == 2
    assert caplog.text.count("); the CPU is used instead") == 2


def test_what_a_network_is_made_of_is_computed_on_a_cpu():
    assert device._missing_on(torch.device("cpu")) is None


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_gpu_that_is_not_there_is_refused_by_name(computer_with, name):
    computer_with()

    with pytest.raises(UserInputError, match=f"Device '{name}' was asked for and this computer has none; use cpu or"):
        select_device(name)


def test_an_unknown_device_is_refused_with_the_known_ones():
    with pytest.raises(UserInputError, match="Unknown device 'tpu'; choose auto, cpu, cuda or mps"):
        select_device("tpu")
