"""Frozen convolutions of one sample take the quicker way and give what torch gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from context_propagation.core.network import direct_convolution
from context_propagation.core.network.direct_convolution import DirectConvolution

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")

CASES = {
    "a same convolution": (3, {"padding": 1}),
    "a valid convolution": (3, {}),
    "a dilated one": (3, {"padding": 2, "dilation": 2}),
    "a strided one": (3, {"padding": 1, "stride": (1, 2, 2)}),
    "more padding than kernel": (1, {"padding": 1}),
    "even kernels": (2, {"padding": 1}),
}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each call of oneDNN."""
    calls: list[int] = []
    original = direct_convolution._onednn

    def counting(*args: object) -> torch.Tensor:
        calls.append(1)
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(direct_convolution, "_onednn", counting)
    return calls


def _tensors(kernel: int, samples: int = 1, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((samples, 4, 6, 9, 8), (5, 4, kernel, kernel, kernel), (5,))
    return tuple(torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_torch_s(name: str, counted: list[int]) -> None:
    kernel, options = CASES[name]
    x, weight, bias = _tensors(kernel)
    found, expected = x.clone().requires_grad_(), x.double().requires_grad_()
    with DirectConvolution():
        y = F.conv3d(found, weight, bias, **options)
    wanted = F.conv3d(expected, weight.double(), bias.double(), **options)
    y.square().sum().backward()
    wanted.square().sum().backward()
    assert counted
    torch.testing.assert_close(y.double(), wanted, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.grad.double(), expected.grad, atol=1e-3, rtol=1e-5)


def test_a_module_inside_takes_it_and_outside_does_not(counted: list[int]) -> None:
    module = torch.nn.Conv3d(4, 5, 3, padding=1).requires_grad_(False)
    x, _, _ = _tensors(3)
    outside = module(x)
    assert not counted
    with DirectConvolution():
        inside = module(x)
    assert len(counted) == 1
    torch.testing.assert_close(inside, outside, atol=1e-5, rtol=1e-5)


def test_weights_that_are_trained_keep_their_gradient(counted: list[int]) -> None:
    x, weight, bias = _tensors(3)
    weight.requires_grad_()
    with DirectConvolution():
        F.conv3d(x, weight, bias).sum().backward()
    assert weight.grad is not None
    assert not counted


def test_two_samples_double_precision_groups_and_padding_by_name_go_torch_s_way(counted: list[int]) -> None:
    x, weight, bias = _tensors(3)
    with DirectConvolution():
        F.conv3d(x.expand(2, -1, -1, -1, -1), weight, bias)
        F.conv3d(x.double(), weight.double(), bias.double())
        F.conv3d(x, weight[:4, :1], bias[:4], groups=4)
        F.conv3d(x, weight, bias, padding="same")
    assert not counted


TRANSPOSED = {
    "blocks of 2 x 2 x 2": ((2, 2, 2), {"stride": 2}, True),
    "blocks of 1 x 2 x 3": ((1, 2, 3), {"stride": (1, 2, 3)}, True),
    "blocks with gaps": ((2, 2, 2), {"stride": 3}, False),
    "blocks that overlap": ((3, 3, 3), {"stride": 2}, False),
    "blocks that are cut": ((2, 2, 2), {"stride": 2, "padding": 1}, False),
    "blocks and more": ((2, 2, 2), {"stride": 2, "output_padding": 1}, False),
    "blocks spread out": ((2, 2, 2), {"stride": 2, "dilation": 2}, False),
}


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each transposed convolution that is a matrix product."""
    calls: list[int] = []
    original = direct_convolution._side_by_side

    def counting(*args: object) -> torch.Tensor:
        calls.append(1)
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(direct_convolution, "_side_by_side", counting)
    return calls


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_gives_what_torch_gives(name: str, with_bias: bool, products: list[int]) -> None:
    block, options, as_a_product = TRANSPOSED[name]
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((1, 4, 3, 5, 6), (4, 7, *block)))
    bias = torch.randn(7, generator=generator) if with_bias else None
    found, expected = x.clone().requires_grad_(), x.double().requires_grad_()
    wanted = F.conv_transpose3d(expected, weight.double(), bias if bias is None else bias.double(), **options)
    with DirectConvolution():
        y = F.conv_transpose3d(found, weight, bias, **options)
    assert bool(products) == as_a_product
    y.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(y.double(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.grad.double(), expected.grad, atol=1e-4, rtol=1e-5)


def test_a_module_s_transposed_convolution_of_one_sample_is_a_product(products: list[int]) -> None:
    module = torch.nn.ConvTranspose3d(4, 5, 2, stride=2).requires_grad_(False)
    x, _, _ = _tensors(3)
    with DirectConvolution():
        module(x.expand(2, -1, -1, -1, -1))
        assert not products
        module(x)
    assert products


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_convolution_of_one_voxel_is_a_product(with_bias: bool, products: list[int], counted: list[int]) -> None:
    x, weight, bias = _tensors(1)
    found, expected = x.clone().requires_grad_(), x.double().requires_grad_()
    with DirectConvolution():
        y = F.conv3d(found, weight, bias if with_bias else None)
    wanted = F.conv3d(expected, weight.double(), bias.double() if with_bias else None)
    assert products
    assert not counted
    y.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(y.double(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.grad.double(), expected.grad, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2}])
def test_one_with_padding_or_gaps_is_none(options: dict[str, int], products: list[int], counted: list[int]) -> None:
    x, weight, bias = _tensors(1)
    with DirectConvolution():
        y = F.conv3d(x, weight, bias, **options)
    assert counted
    assert not products
    torch.testing.assert_close(y, F.conv3d(x, weight, bias, **options), atol=1e-5, rtol=1e-5)
