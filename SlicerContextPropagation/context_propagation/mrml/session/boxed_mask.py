"""A mask kept as the bits of the box around it: small in memory, and as text in a scene."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, bounding_box, box_of, box_shape, slices_of

EMPTY: Box = ((0, 0), (0, 0), (0, 0))


@dataclass(frozen=True)
class BoxedMask:
    """A bool mask `[K, J, I]`.

    Attributes:
        shape: Of the whole mask.
        box: Around its True voxels; empty where it has none.
        bits: uint8, the box's voxels packed in C order.
    """

    shape: tuple[int, int, int]
    box: Box
    bits: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> BoxedMask:
        """Pack a bool mask `[K, J, I]`."""
        k, j, i = mask.shape
        box = bounding_box(mask) or EMPTY
        return cls((k, j, i), box, np.packbits(mask[slices_of(box)]))

    @property
    def mask(self) -> np.ndarray:
        """The mask again, bool `[K, J, I]`."""
        mask = np.zeros(self.shape, bool)
        inside = np.unpackbits(self.bits, count=math.prod(box_shape(self.box))).astype(bool)
        mask[slices_of(self.box)] = inside.reshape(box_shape(self.box))
        return mask

    def plain(self) -> dict[str, Any]:
        """As plain JSON: shape, box, and the bits compressed and in base 64."""
        bits = base64.b64encode(zlib.compress(self.bits.tobytes(), 6)).decode("ascii")
        return {"shape": list(self.shape), "box": [list(span) for span in self.box], "bits": bits}

    @classmethod
    def from_plain(cls, content: Any, shape: tuple[int, int, int]) -> BoxedMask:
        """Read what `plain` gave, or what somebody else put in its place.

        Args:
            content: The JSON.
            shape: The shape that it must have: no more memory than that is used.

        Raises:
            UserInputError: It is no mask of this shape.
        """
        try:
            if list(content["shape"]) != list(shape):
                raise UserInputError(f"A saved mask has shape {content['shape']!r:.60}, not {list(shape)}; data differ")
            box = box_of([(int(start), int(stop)) for start, stop in content["box"]])
            if any(not 0 <= start <= stop <= size for (start, stop), size in zip(box, shape, strict=True)):
                raise UserInputError(f"A saved mask lies at {box}, outside {list(shape)}; it is damaged")
            size = (math.prod(box_shape(box)) + 7) // 8
            data = zlib.decompressobj().decompress(base64.b64decode(content["bits"], validate=True), size + 1)
            if len(data) != size:
                raise UserInputError("A saved mask is damaged; its session cannot be restored")
            return cls(shape, box, np.frombuffer(data, np.uint8))
        except (KeyError, TypeError, binascii.Error, zlib.error, ValueError) as error:
            if isinstance(error, UserInputError):
                raise
            raise UserInputError(f"A saved mask is damaged ({error!r:.80}); its session cannot be restored") from error
