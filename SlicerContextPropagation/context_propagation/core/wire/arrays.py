"""Numbers of a box of the image as JSON: compressed, and in base 64."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, box_of, box_shape


def plain_values(box: Box, values: np.ndarray) -> dict[str, Any]:
    """float32 values of a box, of its shape."""
    data = zlib.compress(np.ascontiguousarray(values, "<f4").tobytes(), 1)
    return {"box": [list(span) for span in box], "values": base64.b64encode(data).decode("ascii")}


def values_of(plain: Any) -> tuple[Box, np.ndarray]:
    """What `plain_values` gave.

    Raises:
        UserInputError: It is damaged.
    """
    try:
        box = box_of([(int(start), int(stop)) for start, stop in plain["box"]])
        size = 4 * math.prod(box_shape(box))
        data = zlib.decompressobj().decompress(base64.b64decode(plain["values"], validate=True), size + 1)
        return box, np.frombuffer(data, "<f4").reshape(box_shape(box)).astype(np.float32)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise UserInputError("What the server sent is damaged; try again") from error
