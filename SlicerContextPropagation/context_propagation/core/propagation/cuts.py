"""What is left of a piece stays one piece: a smaller part is removed too, or stays joined; ours, not the paper's."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

from context_propagation.core.image.pieces import connected_pieces, overlaps
from context_propagation.core.propagation.cut_blocks import Blocks, Group

NEAR_WEIGHT = 2
"""How often a voxel of a near slice counts: what changes there was said by the edit itself."""


def mended_cuts(
    before: np.ndarray, after: np.ndarray, fixed: np.ndarray, held: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """Leave no part of a piece on its own, in the way that takes fewer voxels.

    A part of a piece that fell apart is on its own where another part is larger and it holds no fixed voxel, so that no
    drawn slice runs through it. It is removed, or the smallest removed region that joined it to another part is put
    back, whichever is smaller with voxels of near slices counted `NEAR_WEIGHT` times; only the latter where the part is
    held. The part with the fewest voxels comes first. Of equal ones that is smaller whose last voxel comes first.

    Args:
        before: bool `[K, J, I]`, before the propagation, with the drawings in it.
        after: bool `[K, J, I]`, after it.
        fixed: bool `[K, J, I]`, what a propagation may not write.
        held: bool `[K, J, I]`: a part that has one of these voxels is not removed; fixed ones among them.
        near: bool `[K, J, I]`, the near slices.

    Returns:
        bool `[K, J, I]`.
    """
    parts, sizes = connected_pieces(after)
    if len(sizes) < 3:  # one part beside the background
        return after
    pieces = connected_pieces(before)[0]
    was, _, _ = overlaps(pieces, parts)
    if len(was) == len({*was.tolist()}):  # each piece has one part
        return after
    blocks = Blocks(before, after, fixed, held, near, pieces)
    alone = _PartsAlone(blocks.parts_that_stay(), blocks)
    while (part := alone.smallest()) is not None:
        bridge = _bridge_of(part, blocks)
        if _weight(part) <= _weight(bridge) and not part.held:
            blocks.remove(part)
        else:
            alone.joined(blocks.put_back(bridge))
    return blocks.mask()


def _bridge_of(part: Group, blocks: Blocks) -> Group:
    """The smallest removed region that touches the part and another one, where they were before."""
    regions = blocks.regions_beside(part)
    return min(
        (region for region in regions if any(other is not part for other in blocks.parts_beside(region))),
        key=lambda region: (_weight(region), region.last),
    )


def _weight(group: Group) -> int:
    """How much it takes to remove it or to put it back."""
    return group.voxels + (NEAR_WEIGHT - 1) * group.near


class _PartsAlone:
    """The parts that are on their own, the smallest first, as parts are joined and removed.

    Args:
        parts: All that have something of before.
        blocks: Whose parts they are.
    """

    def __init__(self, parts: list[Group], blocks: Blocks) -> None:
        self._blocks = blocks
        self._largest: dict[int, Group] = {}  # of each piece
        for part in parts:
            for piece in part.of_pieces:
                self._largest[piece] = max(self._largest.get(piece, part), part, key=lambda of: of.size_in(piece))
        self._queue = [(part.size, number, part) for number, part in enumerate(parts) if self._is_alone(part)]
        self._queued = len(parts)
        heapify(self._queue)

    def smallest(self) -> Group | None:
        """None where there are none."""
        while self._queue:
            size, _, part = heappop(self._queue)
            if self._blocks.is_current(part) and part.size == size and self._is_alone(part):
                return part
        return None

    def joined(self, part: Group) -> None:
        """A part came of several: it may be the largest now, or be on its own."""
        for piece in part.of_pieces:
            largest = self._largest[piece]
            if not self._blocks.is_current(largest):
                self._largest[piece] = part
            elif largest is not part and largest.size_in(piece) < part.size_in(piece):
                self._largest[piece] = part
                self._enqueue(largest)
        self._enqueue(part)

    def _enqueue(self, part: Group) -> None:
        self._queued += 1
        heappush(self._queue, (part.size, self._queued, part))

    def _is_alone(self, part: Group) -> bool:
        return not (part.fixed or any(self._largest[piece] is part for piece in part.of_pieces))
