"""Which inputs an output of a layer reads, along each axis: what makes a slab of a traced network exact."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn

from context_propagation.core.image.boxes import Box, Span, box_of

POINTWISE_MODULES = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid),
    *(nn.Tanh, nn.Softplus, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Identity, nn.Dropout, nn.Dropout3d),
    *(nn.AlphaDropout, nn.BatchNorm3d, nn.InstanceNorm3d, nn.GroupNorm),
)
"""What looks at one voxel alone in evaluation mode; norms, because their statistics are constant or frozen."""


POINTWISE_FUNCTIONS = frozenset(
    (
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg),
        *(torch.add, torch.sub, torch.mul, torch.div, torch.relu, torch.sigmoid, torch.tanh),
        *(F.relu, F.leaky_relu, F.elu, F.gelu, F.silu, F.sigmoid, F.tanh, F.dropout, F.dropout3d),
    )
)


POINTWISE_METHODS = frozenset(("add", "sub", "mul", "div", "relu", "sigmoid", "tanh", "contiguous", "clone"))


CONCATENATIONS = frozenset((torch.cat, torch.concat))


@dataclass(frozen=True)
class Reach:
    """Along one axis: output o reads the inputs from ceil((o + low) / scale) to floor((o + high) / scale).

    Attributes:
        scale: Outputs per input; 1 keeps the size.
        low: See above.
        high: See above.
    """

    scale: int = 1
    low: int = 0
    high: int = 0

    def read_by(self, span: Span) -> Span:
        """The inputs that outputs read."""
        return -(-(span[0] + self.low) // self.scale), (span[1] - 1 + self.high) // self.scale + 1

    def reached_from(self, span: Span) -> Span:
        """The outputs that inputs reach."""
        return span[0] * self.scale - self.high, (span[1] - 1) * self.scale - self.low + 1


Reaches = tuple[Reach, Reach, Reach]
"""Along D, H, W."""


POINT: Reaches = (Reach(), Reach(), Reach())


def read_by(box: Box, reaches: Reaches) -> Box:
    """The box of a layer's input that a box of its output reads; may lie partly outside the input."""
    return box_of([reach.read_by(span) for reach, span in zip(reaches, box, strict=True)])


def reached_from(box: Box, reaches: Reaches) -> Box:
    """The box of a layer's output that a box of its input reaches; may lie partly outside the output."""
    return box_of([reach.reached_from(span) for reach, span in zip(reaches, box, strict=True)])


def reaches_of(node: fx.Node, modules: Mapping[str, nn.Module], scales: tuple[int, int, int]) -> Reaches | None:
    """How a layer's output depends on each of its inputs; None where that is not known.

    Args:
        node: The layer.
        modules: The modules of its graph.
        scales: How many times larger (D, H, W) its output is than its inputs.
    """
    same_size = scales == (1, 1, 1)
    if node.op == "call_module":
        return _of_module(modules[str(node.target)], scales)
    if node.op == "call_method":
        return POINT if same_size and node.target in POINTWISE_METHODS else None
    if node.op != "call_function":
        return None
    if node.target is F.interpolate:
        return _of_interpolation(_argument(node, 3, "mode", "nearest"), _argument(node, 4, "align_corners"), scales)
    if node.target is F.pad:  # with nothing to pad, as where a network would even out odd sizes
        return POINT if same_size and not any(_argument(node, 1, "pad", (1,))) else None
    if node.target in CONCATENATIONS:
        return POINT if same_size and _argument(node, 1, "dim", 0) == 1 else None
    return POINT if same_size and node.target in POINTWISE_FUNCTIONS else None


def interpolation_mode(node: fx.Node, module: nn.Module | None) -> str | None:
    """How a layer interpolates, in the words of `F.interpolate`; None for any other layer."""
    if isinstance(module, nn.Upsample):
        return str(module.mode)
    called = node.op == "call_function" and node.target is F.interpolate
    return str(_argument(node, 3, "mode", "nearest")) if called else None


def _argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _of_module(module: nn.Module, scales: tuple[int, int, int]) -> Reaches | None:
    if isinstance(module, nn.Conv3d):
        return _of_convolution(module) if scales == (1, 1, 1) else None
    if isinstance(module, nn.ConvTranspose3d):
        return _of_transposed_convolution(module, scales)
    if isinstance(module, nn.Upsample):
        return _of_interpolation(module.mode, module.align_corners, scales)
    if isinstance(module, nn.Softmax):
        return POINT if module.dim == 1 else None
    return POINT if isinstance(module, POINTWISE_MODULES) and scales == (1, 1, 1) else None


def _of_convolution(module: nn.Conv3d) -> Reaches | None:
    """A convolution of stride 1 with an odd kernel, padded to the same size."""
    if module.padding_mode == "circular" or tuple(module.stride) != (1, 1, 1):
        return None
    spans = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    padding = [n // 2 for n in spans] if module.padding == "same" else module.padding
    if any(n % 2 for n in spans) or [2 * int(p) for p in padding] != spans:
        return None
    return _three([Reach(1, -n // 2, n // 2) for n in spans])


def _of_transposed_convolution(module: nn.ConvTranspose3d, scales: tuple[int, int, int]) -> Reaches | None:
    """A transposed convolution that enlarges exactly by its stride."""
    if tuple(module.stride) != scales:
        return None
    reaches = []
    for k, s, p, d in zip(
        module.kernel_size, module.stride, cast(Sequence[int], module.padding), module.dilation, strict=True
    ):
        reaches.append(Reach(s, p - d * (k - 1), p))
    return _three(reaches)


def _of_interpolation(mode: Any, align_corners: Any, scales: tuple[int, int, int]) -> Reaches | None:
    """Trilinear or nearest; with aligned corners what is read depends on the whole size."""
    if mode == "nearest":
        return _three([Reach(s, 1 - s, 0) for s in scales])
    if mode != "trilinear" or align_corners:
        return None
    return _three([Reach(s, -(s // 2) - (s - 1), s - s // 2) for s in scales])


def _three(reaches: list[Reach]) -> Reaches:
    first, second, third = reaches
    return first, second, third
