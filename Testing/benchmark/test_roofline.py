"""Operations counted layer by layer, against torch's own counter and by hand."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from context_propagation.benchmark.networks import architecture, build
from context_propagation.benchmark.roofline import Layer, evaluation_layers, layers_of, least_seconds, machine_rates


def network(kind: str) -> nn.Module:
    return build(architecture(kind, 16, 4), seed=0)


@pytest.mark.parametrize("kind", ["plain", "resenc"])
def test_a_forward_pass_has_the_operations_that_torch_counts(kind):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(kind).eval()(torch.zeros(1, 1, 16, 16, 16))

    # torch counts a multiply-add as two; of a transposed convolution without overlap the same as here
    assert sum(layer.multiply_adds for layer in layers_of(network(kind), (1, 1, 16, 16, 16))) == (
        counter.get_total_flops() / 2
    )


def test_one_layer_by_hand():
    (layer,) = layers_of(nn.Sequential(nn.Conv3d(2, 3, 3, padding=1)), (1, 2, 4, 4, 4))

    assert layer.multiply_adds == 64 * 3 * 2 * 27
    assert layer.bytes == 4 * (64 * 2 + 64 * 3 + 3 * 2 * 27)


def test_an_evaluation_needs_a_pyramid_that_grows_with_each_layer():
    # one voxel in the middle, level 1: the head from 4 to 2 channels, two convolutions, the way up from 8 to 4 channels
    layers = evaluation_layers(network("plain"), (16, 16, 16), ((8, 9), (8, 9), (8, 9)), level=1)

    head, last, before = 2 * 4, 4 * 4 * 27, 27 * 4 * 8 * 27
    up = 27 * 8 * 4 * 8  # five voxels, from 6 to 10, need three of the coarser ones, from 3 to 5
    assert [layer.multiply_adds for layer in layers[::2]] == [head, last, before, up]
    assert [layer.multiply_adds for layer in layers[1::2]] == [head, last, before, up]


def test_an_evaluation_of_the_whole_window_needs_the_decoders_last_stages_twice():
    whole = ((0, 16),) * 3

    needed = evaluation_layers(network("plain"), (16, 16, 16), whole, level=2)

    forward = [layer for layer in layers_of(network("plain"), (1, 1, 16, 16, 16)) if layer.name.startswith("decoder")]
    used = [layer for layer in forward if "encoder" not in layer.name]
    assert sum(layer.multiply_adds for layer in needed) == 2 * sum(layer.multiply_adds for layer in used)


def test_a_layer_takes_the_longer_of_computing_and_copying():
    rates = {"multiply_adds_32": 10.0, "multiply_adds_64": 20.0, "bytes": 4.0}

    assert least_seconds([Layer("computes", 100, 4), Layer("copies", 20, 40)], rates) == 100 / 20 + 40 / 4


def test_the_machine_convolves_and_copies():
    rates = machine_rates("cpu", 8)

    assert set(rates) == {"multiply_adds_32", "multiply_adds_64", "bytes"}
    assert all(value > 0 for value in rates.values())
