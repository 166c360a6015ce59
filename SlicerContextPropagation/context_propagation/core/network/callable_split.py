"""The split of a network that cannot be traced: the two parts are given as functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, whole
from context_propagation.core.network.split_network import CachedFeatures, LocalDecode, Slab, whole_decode

LEVELS = 3
"""The cut is one and the same at every level that a session can ask for."""


Encode = Callable[[torch.Tensor], tuple[torch.Tensor, tuple[torch.Tensor, ...]]]
"""From an image `[1, C, D, H, W]` to f `[1, C', D', H', W']` and what else decode reads, `[1, C, D, H, W]` each."""


class Decode(Protocol):
    """From f and what else it reads to logits `[1, C, D, H, W]`; differentiable in f, and it changes neither."""

    def __call__(self, f: torch.Tensor, skips: tuple[torch.Tensor, ...], /) -> torch.Tensor: ...


class CallableSplit:
    """A `SplitNetwork` of two functions.

    Nothing is known of them but what they return: every evaluation runs on the whole window, and norms in `decode` see
    the window as it is then.

    Args:
        encode: See `Encode`.
        decode: See `Decode`.
        example: `[1, C, D, H, W]`, an image that the network takes.
        total_stride: Factor (D, H, W) that must divide every window; by default that between the image and f or the
            coarsest of what crosses the cut.

    Raises:
        UserInputError: The functions do not fit together, or the logits are not of the image's size.
    """

    def __init__(
        self,
        encode: Encode,
        decode: Decode,
        example: torch.Tensor,
        total_stride: tuple[int, int, int] | None = None,
    ) -> None:
        self._encode, self._decode = encode, decode
        with torch.no_grad():
            found: Any = encode(example)
            if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], tuple)):
                raise UserInputError(f"encode returns {type(found).__name__}; return (f, (skip, ...))")
            f, skips = found
            if any(not isinstance(t, torch.Tensor) or t.ndim != 5 for t in (f, *skips)):
                raise UserInputError("encode returns something else than feature maps [1, C, D, H, W]; return those")
            logits = decode(f, skips)
        if not isinstance(logits, torch.Tensor) or logits.shape[2:] != example.shape[2:]:
            shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise UserInputError(f"decode returns {shape} for an image {tuple(example.shape)}; return its logits")
        self._channels = int(f.shape[1])
        self._image_voxels: int = math.prod(example.shape[2:])
        self._bytes: int = sum(t.numel() * t.element_size() for t in (f, *skips, logits))
        strides = [
            [max(1, n // m) for n, m in zip(example.shape[2:], t.shape[2:], strict=True)]
            for t in (f, *skips)
            if max(t.shape[2:]) > 1
        ]
        d, h, w = (math.lcm(1, *(s[axis] for s in strides)) for axis in range(3))
        self._stride = total_stride or (d, h, w)

    @property
    def max_level(self) -> int:
        """See `SplitNetwork`; all levels are one."""
        return LEVELS

    @property
    def total_stride(self) -> tuple[int, int, int]:
        """See `SplitNetwork`."""
        return self._stride

    def f_channels(self, level: int) -> int:
        """See `SplitNetwork`."""
        del level
        return self._channels

    @torch.no_grad()
    def encode(self, x: torch.Tensor, level: int) -> CachedFeatures:
        """See `SplitNetwork`."""
        f, skips = self._encode(x)
        return CachedFeatures(level, f, skips, (), self._decode(f, skips))

    def decode(self, features: CachedFeatures, f: torch.Tensor, frozen_statistics: bool = True) -> torch.Tensor:
        """See `SplitNetwork`; statistics are not frozen."""
        del frozen_statistics
        return self._decode(f, features.skips)

    def local(self, features: CachedFeatures, output_box: Box) -> LocalDecode:
        """See `SplitNetwork`: the whole window."""
        del output_box
        return whole_decode(self, features, frozen_statistics=True)

    def slab(self, features: CachedFeatures, output_box: Box) -> Slab:
        """See `SplitNetwork`: the whole window."""
        del output_box
        return Slab(features, whole(tuple(features.f.shape[2:])), whole(tuple(features.logits.shape[2:])))

    def affected_box(self, features: CachedFeatures, f_box: Box) -> Box:
        """See `SplitNetwork`: the whole window."""
        del f_box
        return whole(tuple(features.logits.shape[2:]))

    def cached_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`."""
        del level
        return -(-self._bytes * math.prod(window_shape) // self._image_voxels)

    def peak_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`: four times what is cached; the encoder is not known."""
        return 4 * self.cached_bytes(window_shape, level)
