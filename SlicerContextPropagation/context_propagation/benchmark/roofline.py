"""What this machine could do at best: operations counted layer by layer, over measured rates of convolving and copying.

A layer takes at least the longer of two times: its multiply-adds at the rate of a convolution that fills the machine,
and its input, output and weights at the rate of a large copy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

FLOAT_BYTES = 4


TRIES = 5


@dataclass(frozen=True)
class Layer:
    """What one convolution does.

    Attributes:
        name: Its name in the network.
        multiply_adds: How many.
        bytes: Read and written once: input, output, weights.
    """

    name: str
    multiply_adds: int
    bytes: int


def machine_rates(device: str, edge: int) -> dict[str, float]:
    """Multiply-adds and bytes per second, each the best of some tries.

    Args:
        device: "cpu" or "cuda".
        edge: Of the cube that is convolved, by 3 x 3 x 3 from 64 to 64 channels, and from 32 to 32.
    """
    rates = {}
    with torch.inference_mode():
        for channels in (32, 64):
            x = torch.rand((1, channels, edge, edge, edge), device=device)
            w = torch.rand((channels, channels, 3, 3, 3), device=device)
            seconds = _best(lambda x=x, w=w: F.conv3d(x, w, padding=1), device)
            rates[f"multiply_adds_{channels}"] = channels * channels * 27 * edge**3 / seconds
        source = torch.rand(64 * 2**20 if edge >= 64 else 2**20, device=device)
        target = torch.empty_like(source)
        seconds = _best(lambda: target.copy_(source), device)
        rates["bytes"] = 2 * FLOAT_BYTES * source.numel() / seconds
    return rates


def _best(work: Callable[[], object], device: str) -> float:
    """Seconds of the fastest try, a first one apart."""
    times = []
    for _ in range(TRIES + 1):
        begun = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def least_seconds(layers: Iterable[Layer], rates: dict[str, float]) -> float:
    """The roofline: what layers take at least, one after another."""
    multiply_adds = max(value for name, value in rates.items() if name.startswith("multiply_adds"))
    return sum(max(layer.multiply_adds / multiply_adds, layer.bytes / rates["bytes"]) for layer in layers)


@torch.inference_mode()
def layers_of(network: nn.Module, shape: Sequence[int]) -> list[Layer]:
    """Every convolution of one forward pass, in order; no values are computed.

    Args:
        network: With 3D convolutions and transposed ones.
        shape: Of the input, `(1, C, D, H, W)`.
    """
    found: list[Layer] = []

    def count(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            found.append(_layer(name, module, inputs[0].numel(), output.numel(), output.shape[1]))

        return hook

    empty = network.to("meta")
    hooks = [m.register_forward_hook(count(name)) for name, m in empty.named_modules() if _is_convolution(m)]
    empty(torch.empty(tuple(shape), device="meta"))
    for hook in hooks:
        hook.remove()
    return found


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv3d | nn.ConvTranspose3d)


def _layer(name: str, module: nn.Module, read: int, written: int, channels_out: int) -> Layer:
    convolution = cast(Any, module)
    weights = convolution.weight.numel()
    per_voxel = weights // (convolution.in_channels if _is_transposed(module) else channels_out)
    voxels = read if _is_transposed(module) else written
    return Layer(name, per_voxel * voxels, FLOAT_BYTES * (read + written + weights))


def _is_transposed(module: nn.Module) -> bool:
    return isinstance(module, nn.ConvTranspose3d)


# ---- what one drawn slice needs


def evaluation_layers(
    network: nn.Module, window: Sequence[int], box: Sequence[tuple[int, int]], level: int
) -> list[Layer]:
    """What one evaluation must compute at least: layer by layer, only voxels that the drawn slice's loss depends on.

    Each layer is counted twice, forward and backward: the gradient by the input costs as many multiply-adds.

    Args:
        network: PlainConvUNet or ResidualEncoderUNet.
        window: Its size (D, H, W).
        box: Where the loss is counted in the window.
        level: The features enter the last `level` decoder stages.
    """
    decoder = cast(Any, network).decoder
    box = list(box)
    shape = list(window)
    found: list[Layer] = []
    head = decoder.seg_layers[-1]
    found.append(_needed("head", head, box, box))
    for stage in range(1, level + 1):
        convolutions = {id(m): m for m in decoder.stages[-stage].modules() if isinstance(m, nn.Conv3d)}
        for number, convolution in reversed(list(enumerate(convolutions.values()))):
            grown = [
                (max(0, start - size // 2), min(n, stop + size // 2))
                for (start, stop), size, n in zip(box, convolution.kernel_size, shape, strict=True)
            ]
            found.append(_needed(f"stage -{stage}, convolution {number}", convolution, box, grown))
            box = grown
        up = decoder.transpconvs[-stage]
        below = [(start // s, -(-stop // s)) for (start, stop), s in zip(box, up.stride, strict=True)]
        found.append(_needed(f"stage -{stage}, up", up, box, below))
        box, shape = below, [n // s for n, s in zip(shape, up.stride, strict=True)]
    return [layer for layer in found for _ in range(2)]


def _needed(name: str, module: nn.Module, written: Sequence[tuple[int, int]], read: Sequence[tuple[int, int]]) -> Layer:
    convolution = cast(Any, module)
    voxels_out, voxels_in = (math.prod(stop - start for start, stop in box) for box in (written, read))
    read_values, written_values = voxels_in * convolution.in_channels, voxels_out * convolution.out_channels
    return _layer(name, module, read_values, written_values, convolution.out_channels)
