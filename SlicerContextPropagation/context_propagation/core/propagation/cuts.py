"""What is left of a piece stays one piece: a smaller part is removed too, or stays joined; ours, not the paper's."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

from context_propagation.core.image.pieces import connected_pieces, overlaps, touching


def mended_cuts(before: np.ndarray, after: np.ndarray, fixed: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Leave no part of a piece on its own, in the way that takes fewer voxels.

    A part of a piece that fell apart is on its own where another part is larger and it holds no fixed voxel, so that no
    drawn slice runs through it. It is removed, or the smallest removed region that joined it to another part is put
    back, whichever is smaller; only the latter where the part is held. The smallest part comes first. Of equal ones
    that is smaller whose last voxel comes first.

    Args:
        before: bool `[K, J, I]`, before the propagation, with the drawings in it.
        after: bool `[K, J, I]`, after it.
        fixed: bool `[K, J, I]`, what a propagation may not write.
        held: bool `[K, J, I]`: a part that has one of these voxels is not removed; fixed ones among them.

    Returns:
        bool `[K, J, I]`.
    """
    parts, sizes = connected_pieces(after)
    if len(sizes) < 3:  # one part beside the background
        return after
    earlier = connected_pieces(before)[0]
    was, _, _ = overlaps(earlier, parts)
    if len(was) == len({*was.tolist()}):  # each piece has one part
        return after
    blocks = _Blocks(before, after, fixed, held, earlier)
    while (part := blocks.smallest_alone()) is not None:
        bridge = blocks.bridge_of(part)
        if part.voxels <= bridge.voxels and not part.held:
            blocks.remove(part)
        else:
            blocks.put_back(bridge)
    return blocks.mask()


class _Group:
    """Blocks that touch and are all there (a part), or all removed (a region)."""

    def __init__(self, block: int, voxels: int, last: int, piece: int, fixed: bool, held: bool) -> None:
        self.members, self.voxels, self.last = [block], voxels, last
        self.of_pieces = {piece: voxels} if piece else {}
        """How many of the voxels each piece had before."""
        self.fixed, self.held = fixed, held

    def take(self, other: _Group) -> None:
        self.members += other.members
        self.voxels += other.voxels
        self.last = max(self.last, other.last)
        for piece, voxels in other.of_pieces.items():
            self.of_pieces[piece] = self.of_pieces.get(piece, 0) + voxels
        self.fixed |= other.fixed
        self.held |= other.held

    @property
    def size(self) -> tuple[int, int]:
        return self.voxels, self.last

    def size_in(self, piece: int) -> tuple[int, int]:
        return self.of_pieces[piece], self.last


class _Blocks:
    """The image in blocks that no step splits: the voxels are looked at once, however many parts there are.

    A block is a connected piece of what stays, of what is added or of what is removed.
    """

    def __init__(
        self, before: np.ndarray, after: np.ndarray, fixed: np.ndarray, held: np.ndarray, earlier: np.ndarray
    ) -> None:
        self._numbers, ends = np.zeros(before.shape, np.int32), [1]
        for kind in (before & after, after & ~before, before & ~after):
            pieces, sizes = connected_pieces(kind)
            self._numbers[kind] = pieces[kind] + (ends[-1] - 1)
            ends.append(ends[-1] + len(sizes) - 1)
        _, self._first_added, self._first_removed, count = ends
        self._touching = touching(self._numbers, before ^ after)
        piece, last = np.zeros(count, np.int64), np.zeros(count, np.int64)
        piece[self._numbers[before]] = earlier[before]
        places = np.flatnonzero(self._numbers)
        numbers = self._numbers.reshape(-1)[places]
        last[numbers] = places  # of a block's voxels the last one stays
        flags = [np.bincount(self._numbers[mask], minlength=count) > 0 for mask in (fixed, held)]
        columns = (np.arange(count), np.bincount(numbers, minlength=count), last, piece, *flags)
        self._alone = list(zip(*(column.tolist() for column in columns), strict=True))
        self._groups = [_Group(*block) for block in self._alone]
        self._there: list[bool | None] = [None] * count
        """None: it is in no group."""
        for block in range(1, count):
            self._place(block, block < self._first_removed)
        parts = list(dict.fromkeys(self._groups[1 : self._first_added]))
        self._largest: dict[int, _Group] = {}
        for part in parts:
            for of in part.of_pieces:
                self._largest[of] = max(self._largest.get(of, part), part, key=lambda group: group.size_in(of))
        self._queue = [(*part.size, number, part) for number, part in enumerate(parts) if self._is_alone(part)]
        self._queued = len(parts)
        heapify(self._queue)

    def smallest_alone(self) -> _Group | None:
        """Of the parts that are on their own; None where there are none."""
        while self._queue:
            *size, _, part = heappop(self._queue)
            if self._is(part) and part.size == tuple(size) and self._is_alone(part):
                return part
        return None

    def bridge_of(self, part: _Group) -> _Group:
        """The smallest removed region that touches the part and another one, where they were before."""
        beside = (block for member in part.members if self._was(member) for block in self._touching.get(member, ()))
        regions = dict.fromkeys(self._groups[block] for block in beside if self._there[block] is False)
        return min((region for region in regions if self._joins_another(region, part)), key=lambda group: group.size)

    def remove(self, part: _Group) -> None:
        """Also what is new in it."""
        self._move(part, False)

    def put_back(self, region: _Group) -> None:
        """It joins all that it touches."""
        self._move(region, True)
        joined = self._groups[region.members[0]]
        for piece in joined.of_pieces:
            largest = self._largest[piece]
            if not self._is(largest):
                self._largest[piece] = joined
            elif largest is not joined and largest.size_in(piece) < joined.size_in(piece):
                self._largest[piece] = joined
                self._enqueue(largest)
        self._enqueue(joined)

    def mask(self) -> np.ndarray:
        """Bool `[K, J, I]`, what is there."""
        return np.array([there is True for there in self._there])[self._numbers]

    def _enqueue(self, part: _Group) -> None:
        self._queued += 1
        heappush(self._queue, (*part.size, self._queued, part))

    def _is(self, group: _Group) -> bool:
        """Whether it is still one: not taken by another."""
        return self._groups[group.members[0]] is group

    def _is_alone(self, part: _Group) -> bool:
        return not (part.fixed or any(self._largest[piece] is part for piece in part.of_pieces))

    def _joins_another(self, region: _Group, part: _Group) -> bool:
        beside = (block for member in region.members for block in self._touching.get(member, ()))
        return any(self._there[block] and self._was(block) and self._groups[block] is not part for block in beside)

    def _was(self, block: int) -> bool:
        return not self._first_added <= block < self._first_removed

    def _move(self, group: _Group, there: bool) -> None:
        for block in group.members:
            self._there[block], self._groups[block] = None, _Group(*self._alone[block])
        for block in group.members:
            if self._was(block):
                self._place(block, there)

    def _place(self, block: int, there: bool) -> None:
        """Let a block be there or removed, and one with all that is so beside it."""
        self._there[block] = there
        for beside in self._touching.get(block, ()):
            one, other = self._groups[block], self._groups[beside]
            if self._there[beside] is not there or one is other:
                continue
            smaller, larger = sorted((one, other), key=lambda group: len(group.members))
            larger.take(smaller)
            for member in smaller.members:
                self._groups[member] = larger
