"""Weights that a network can compute with: finite, of possible statistics, and no larger than what is on disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from context_propagation.core.errors import UserInputError

SPARE_VALUES = 2**20
"""What a network may hold beside its weights, such as tables of positions."""


LARGEST_ARGUMENT = 65536
"""No network's or transform's whole number is larger; a loop over a larger one would not end in time."""


def refuse_unsound_weights(file: Path | str, weights: Mapping[str, torch.Tensor], remedy: str) -> None:
    """Refuse weights with which every prediction is NaN, and so empty.

    Args:
        file: Where they come from.
        weights: By name.
        remedy: What the user should do.

    Raises:
        UserInputError: A value is NaN or infinite, or a norm's variance is negative.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserInputError(f"Tensor {name!r:.100} in '{file}' holds NaN or infinite weights; {remedy}")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise UserInputError(
                f"Tensor {name!r:.100} in '{file}' holds a negative variance, {float(tensor.min()):g}; {remedy}"
            )


def refuse_unsound_norms(network: nn.Module, file: Path | str) -> None:
    """Refuse constants that are given in no tensor: a norm divides by the root of the variance and `eps`.

    Raises:
        UserInputError: `eps` of a norm is not a finite number above 0.
    """
    for name, module in network.named_modules():
        eps = getattr(module, "eps", None)
        if "norm" not in type(module).__name__.lower() or eps is None:
            continue
        number = isinstance(eps, int | float) and not isinstance(eps, bool)
        if not number or not 0 < eps < math.inf:
            raise UserInputError(
                f"'{file}': the norm '{name}' has eps {eps!r:.50}, not a finite number above 0; correct it"
            )


def refuse_huge_numbers(arguments: Any, what: str) -> None:
    """Refuse whole numbers, at any depth, that no network or transform has.

    Raises:
        UserInputError: One is too large.
    """
    values = arguments.values() if isinstance(arguments, dict) else arguments
    for value in values:
        if isinstance(value, dict | list):
            refuse_huge_numbers(value, what)
        elif isinstance(value, int) and abs(value) > LARGEST_ARGUMENT:
            raise UserInputError(f"{what} has the argument {value}; no such number may be above {LARGEST_ARGUMENT}")


@contextmanager
def built_for(weights: Mapping[str, torch.Tensor], what: str, remedy: str) -> Iterator[None]:
    """Inside, a network is built for these weights: one that is far larger is refused before it takes the memory.

    Args:
        weights: What will be loaded into it.
        what: Begins the message, as in "The network in plans.json".
        remedy: What the user should do.

    Raises:
        UserInputError: A single tensor, or all together, would be larger than the weights.
    """
    with _Bounded([tensor.numel() for tensor in weights.values()], what, remedy):
        yield


class _Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks at what is about to be allocated."""

    def __init__(self, sizes: Sequence[int], what: str, remedy: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._largest, self._all, self._taken = max(sizes, default=0), sum(sizes), 0
        self._what, self._remedy = what, remedy

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ("empty", "zeros", "ones", "full", "rand", "randn") and args and isinstance(args[0], list | tuple):
            self._take(math.prod(args[0]))
        return func(*args, **(kwargs or {}))

    def _take(self, values: int) -> None:
        self._taken += values
        if values > self._largest + SPARE_VALUES or self._taken > 2 * self._all + 4 * SPARE_VALUES:
            raise UserInputError(
                f"{self._what} would hold {max(values, self._taken)} values or more, and its weights are {self._all}; "
                f"{self._remedy}"
            )
