"""One channel of an image on its way: raw voxels, compressed; sizes are known before anything is unpacked."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np

from context_propagation.core.errors import UserInputError

KINDS = {"int16": "<i2", "float32": "<f4"}
"""How voxels travel: whole numbers take half of the bytes, and less time to compress."""


PIECE_BYTES = 2**20


def kind_of(channel: np.ndarray) -> str:
    """The smallest kind that holds every voxel of a float32 channel exactly."""
    whole = np.isfinite(channel).all() and np.abs(channel).max() < 2**15
    minus_zero = bool((np.signbit(channel) & (channel == 0)).any())
    return "int16" if whole and not minus_zero and (channel == np.rint(channel)).all() else "float32"


def packed(channel: np.ndarray, kind: str) -> Iterator[bytes]:
    """A channel `[K, J, I]` as zlib data, piece by piece."""
    voxels = np.ascontiguousarray(channel.astype(KINDS[kind])).view(np.uint8).reshape(-1)
    packer = zlib.compressobj(1)
    for start in range(0, len(voxels), PIECE_BYTES):
        piece = packer.compress(voxels[start : start + PIECE_BYTES].data)
        if piece:
            yield piece
    yield packer.flush()


class Unpacking:
    """A channel that comes in; never more memory than it needs, whatever comes.

    Args:
        kind: Of `KINDS`.
        shape_kji: Its shape.
    """

    def __init__(self, kind: str, shape_kji: tuple[int, int, int]) -> None:
        self._voxels = np.empty(shape_kji, KINDS[kind])
        self._bytes = self._voxels.reshape(-1).view(np.uint8)
        self._at = 0
        self._unpacker = zlib.decompressobj()

    def add(self, piece: bytes) -> None:
        """The next bytes, of any number.

        Raises:
            UserInputError: They are damaged, or more than the channel has.
        """
        try:
            while piece:
                left = len(self._bytes) - self._at
                unpacked = self._unpacker.decompress(piece, min(left + 1, PIECE_BYTES))
                if len(unpacked) > left or self._unpacker.unused_data:
                    raise UserInputError(f"The channel has more than {len(self._bytes)} bytes; send what was announced")
                self._bytes[self._at : self._at + len(unpacked)] = np.frombuffer(unpacked, np.uint8)
                self._at += len(unpacked)
                piece = self._unpacker.unconsumed_tail
        except zlib.error as error:
            raise UserInputError("The channel is damaged; send it again") from error

    def channel(self) -> np.ndarray:
        """All of it, float32 `[K, J, I]`.

        Raises:
            UserInputError: Bytes are missing.
        """
        if self._at < len(self._bytes) or not self._unpacker.eof:
            raise UserInputError(f"The channel has {self._at} of {len(self._bytes)} bytes; send it again")
        return self._voxels.astype(np.float32)


def channel_bytes(kind: str, shape_kji: tuple[int, int, int]) -> int:
    """What it needs while it comes in, and as float32."""
    return math.prod(shape_kji) * (4 + np.dtype(KINDS[kind]).itemsize)
