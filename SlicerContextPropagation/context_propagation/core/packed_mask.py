"""A mask as text, for JSON that goes into a scene."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError


def pack_mask(mask: np.ndarray) -> dict[str, Any]:
    """A bool mask of any shape as plain JSON: its shape, and its bits compressed and in base 64."""
    bits = zlib.compress(np.packbits(mask.astype(bool)).tobytes(), 6)
    return {"shape": list(mask.shape), "bits": base64.b64encode(bits).decode("ascii")}


def unpack_mask(packed: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The mask again, bool.

    Args:
        packed: What `pack_mask` gave, or what somebody else put in its place.
        shape: The shape that it must have: no more memory than that is used.

    Raises:
        UserInputError: It is no mask of this shape.
    """
    try:
        if list(packed["shape"]) != list(shape):
            raise UserInputError(f"A saved mask has shape {packed['shape']!r:.60}, not {list(shape)}; the data differ")
        count = math.prod(shape)
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(packed["bits"], validate=True), (count + 7) // 8 + 1)
        if len(data) != (count + 7) // 8:
            raise UserInputError("A saved mask is damaged; its session cannot be restored")
        return np.unpackbits(np.frombuffer(data, np.uint8), count=count).reshape(shape).astype(bool)
    except (KeyError, TypeError, binascii.Error, zlib.error, ValueError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(f"A saved mask is damaged ({error!r:.80}); its session cannot be restored") from error
