"""A channel comes out of its compressed bytes as it went in, in pieces of any size."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.wire.arrays import plain_values, values_of
from context_propagation.core.wire.channel import Unpacking, kind_of, packed

SHAPE = (3, 4, 5)
WHOLE = np.arange(60, dtype=np.float32).reshape(SHAPE) - 1024
FRACTIONS = WHOLE / 7


def changed(value):
    channel = WHOLE.copy()
    channel[1, 2, 3] = value
    return channel


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        (WHOLE, "int16"),
        (FRACTIONS, "float32"),
        (changed(32767), "int16"),
        (changed(32768), "float32"),
        (changed(-0.0), "float32"),  # its sign would be lost
        (changed(np.nan), "float32"),  # refused later, in words
        (WHOLE.transpose(0, 2, 1), "int16"),
    ],
    ids=["whole", "fractions", "largest", "too large", "minus zero", "no number", "turned"],
)
@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_every_bit_comes_through(channel, kind, step):
    assert kind_of(channel) == kind
    data = b"".join(packed(channel, kind))
    unpacking = Unpacking(kind, channel.shape)
    for start in range(0, len(data), step):
        unpacking.add(data[start : start + step])
    assert unpacking.channel().tobytes() == np.ascontiguousarray(channel).tobytes()


def test_a_large_channel_goes_in_pieces():
    channel = np.random.default_rng(0).normal(size=(8, 256, 256)).astype(np.float32)
    pieces = list(packed(channel, "float32"))
    assert len(pieces) > 1


def test_values_of_a_box_come_through_and_damaged_ones_are_refused():
    box = ((1, 4), (0, 4), (2, 7))
    plain = plain_values(box, FRACTIONS)
    found, values = values_of(plain)
    assert found == box
    assert np.array_equal(values, FRACTIONS)
    for damage in ({"box": [[0, 99]] * 3}, {"values": "!"}, {"values": plain["values"][:8]}):
        with pytest.raises(UserInputError, match="damaged"):
            values_of({**plain, **damage})
