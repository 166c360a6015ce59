"""Convolutions of one sample on a CPU, by the quicker of the ways that torch has and does not take by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch.nn.grad import conv3d_input
from torch.overrides import TorchFunctionMode

Triple = int | Sequence[int]


class DirectConvolution(TorchFunctionMode):
    """Within `with DirectConvolution():` frozen 3D convolutions of one float32 sample on a CPU take oneDNN, or less.

    torch sends a sample with at most 20480 values N * C * D * H to a plain loop, 2 to 5 times slower at the 8 to 64
    channels of a decoder's last stages. What is a matrix product is one: a convolution of 1 x 1 x 1, as nnU-Net's last
    layer, for which oneDNN takes eight times as long with two outputs, and a transposed convolution whose kernels do
    not overlap, as nnU-Net's decoders have, which took a third of the time (docs/results/performance.md). Everything
    else, another device or another type too, goes as it would.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Take over `torch.conv3d` and `torch.conv_transpose3d`."""
        if func is F.conv3d:
            return _conv3d(*args, **(kwargs or {}))
        if func is F.conv_transpose3d:
            return _conv_transpose3d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv3d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Triple = 1,
    padding: Triple | str = 0,
    dilation: Triple = 1,
    groups: int = 1,
) -> torch.Tensor:
    if isinstance(padding, str) or groups != 1 or not _is_eligible(input, weight, bias):
        return F.conv3d(input, weight, bias, stride, padding, dilation, groups)
    steps = [_three(value) for value in (padding, stride, dilation)]
    of_one_voxel = list(weight.shape[2:]) == [1, 1, 1] and steps[:2] == [[0, 0, 0], [1, 1, 1]]
    if of_one_voxel and weight.shape[1] == input.shape[1]:
        return _side_by_side(input, weight.transpose(0, 1), bias)
    if not (torch.is_grad_enabled() and input.requires_grad):
        return _onednn(input, weight, bias, *steps)
    return cast(torch.Tensor, _Frozen.apply(input, weight, bias, *steps))  # type: ignore[no-untyped-call]


def _conv_transpose3d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Triple = 1,
    padding: Triple = 0,
    output_padding: Triple = 0,
    groups: int = 1,
    dilation: Triple = 1,
) -> torch.Tensor:
    plain = (_three(padding), _three(output_padding), _three(dilation), groups) == ([0] * 3, [0] * 3, [1] * 3, 1)
    side_by_side = plain and _three(stride) == list(weight.shape[2:])
    if side_by_side and _is_eligible(input, weight, bias):
        return _side_by_side(input, weight, bias)
    return F.conv_transpose3d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def _side_by_side(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """A block of voxels from each voxel of `[1, C, D, H, W]`: `[1, C', D d, H h, W w]`; weights `[C, C', d, h, w]`."""
    (channels, outputs), block, shape = weight.shape[:2], weight.shape[2:], x.shape[2:]
    blocks = (weight.reshape(channels, -1).t() @ x.reshape(channels, -1)).view(outputs, *block, *shape)
    placed = blocks.permute(0, 4, 1, 5, 2, 6, 3).reshape(
        1, outputs, *(n * m for n, m in zip(shape, block, strict=True))
    )
    return placed if bias is None else placed.add_(bias.view(1, -1, 1, 1, 1))


def _is_eligible(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """One dense float32 sample on the CPU, and nothing that is trained."""
    tensors = [tensor for tensor in (x, weight, bias) if tensor is not None]
    if not _has_onednn() or x.ndim != 5 or x.shape[0] != 1 or not x.numel():
        return False
    if any(tensor.device.type != "cpu" or tensor.dtype != torch.float32 for tensor in tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors[1:]))


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _onednn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> torch.Tensor:
    convolve = torch.ops.aten.mkldnn_convolution
    return cast(torch.Tensor, convolve(x.contiguous(), weight, bias, padding, stride, dilation, 1))


class _Frozen(torch.autograd.Function):
    """A convolution whose weights are frozen: the gradient goes to its input alone."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        padding: list[int],
        stride: list[int],
        dilation: list[int],
    ) -> torch.Tensor:
        """See `_onednn`."""
        ctx.save_for_backward(weight)
        ctx.steps, ctx.shape = (padding, stride, dilation), x.shape
        return _onednn(x, weight, bias, padding, stride, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """At stride 1 the convolution of the gradient with the mirrored kernels."""
        (weight,) = ctx.saved_tensors
        padding, stride, dilation = ctx.steps
        mirrored = [d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)]
        if any(s != 1 for s in stride) or min(mirrored) < 0:
            to_input = conv3d_input(ctx.shape, weight, gradient, stride, padding, dilation)  # type: ignore[no-untyped-call]
        else:
            to_input = _onednn(gradient, weight.flip(2, 3, 4).transpose(0, 1), None, mirrored, [1, 1, 1], dilation)
        return to_input, None, None, None, None, None


def _three(value: Triple) -> list[int]:
    return [value] * 3 if isinstance(value, int) else list(value)
