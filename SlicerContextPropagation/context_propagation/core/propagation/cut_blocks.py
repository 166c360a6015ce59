"""A propagation in blocks that no later step splits: so the image is looked at once, however much is taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from context_propagation.core.image.pieces import connected_pieces, touching


class Group:
    """Blocks that touch and are all there (a part), or all removed (a region).

    Attributes:
        members: The blocks' numbers.
        voxels: How many voxels they have.
        near: How many of them lie on near slices.
        last: Where the last one is, in the flat image.
        of_pieces: How many of the voxels each piece had before the propagation.
        fixed: Whether a propagation may not write one of the voxels.
        held: Whether it may not be removed.
    """

    def __init__(self, block: int, voxels: int, near: int, last: int, piece: int, fixed: bool, held: bool) -> None:
        self.members, self.voxels, self.near, self.last = [block], voxels, near, last
        self.of_pieces = {piece: voxels} if piece else {}
        self.fixed, self.held = fixed, held

    def take(self, other: Group) -> None:
        """Make the other group's blocks its own."""
        self.members += other.members
        self.voxels += other.voxels
        self.near += other.near
        self.last = max(self.last, other.last)
        for piece, voxels in other.of_pieces.items():
            self.of_pieces[piece] = self.of_pieces.get(piece, 0) + voxels
        self.fixed |= other.fixed
        self.held |= other.held

    @property
    def size(self) -> tuple[int, int]:
        """By which groups are compared; no two have the same."""
        return self.voxels, self.last

    def size_in(self, piece: int) -> tuple[int, int]:
        """The same, of what it has of a piece."""
        return self.of_pieces[piece], self.last


class Blocks:
    """The groups of blocks, as these are put back and removed.

    A block is a connected piece of what stays, of what is added or of what is removed.

    Args:
        before: bool `[K, J, I]`, before the propagation.
        after: bool `[K, J, I]`, after it.
        fixed: bool `[K, J, I]`, what it may not write.
        held: bool `[K, J, I]`, what may not be removed.
        near: bool `[K, J, I]`, the near slices.
        pieces: int `[K, J, I]`, numbers of the connected pieces before, from 1.
    """

    def __init__(
        self,
        before: np.ndarray,
        after: np.ndarray,
        fixed: np.ndarray,
        held: np.ndarray,
        near: np.ndarray,
        pieces: np.ndarray,
    ) -> None:
        kinds = (before & after, after & ~before, before & ~after)
        self._numbers, (self._first_added, self._first_removed, end) = _numbered(kinds)
        self._touching = touching(self._numbers, before ^ after)
        self._single = _single_blocks(self._numbers, end, near, pieces, (fixed, held))
        self._groups = [Group(*block) for block in self._single]
        self._there: list[bool | None] = [None] * end  # None: in no group
        for block in range(1, end):
            self._place(block, block < self._first_removed)

    def parts_that_stay(self) -> list[Group]:
        """Those that have something of before."""
        return list(dict.fromkeys(self._groups[1 : self._first_added]))

    def is_current(self, group: Group) -> bool:
        """Whether it is still a group: not taken by another, and not moved."""
        return self._groups[group.members[0]] is group

    def regions_beside(self, part: Group) -> list[Group]:
        """The removed regions that touch a part where it was before."""
        beside = (block for member in part.members if self._was(member) for block in self._touching.get(member, ()))
        return list(dict.fromkeys(self._groups[block] for block in beside if self._there[block] is False))

    def parts_beside(self, region: Group) -> Iterator[Group]:
        """The parts that touch a removed region where they were before; one may come several times."""
        beside = (block for member in region.members for block in self._touching.get(member, ()))
        return (self._groups[block] for block in beside if self._there[block] and self._was(block))

    def remove(self, part: Group) -> None:
        """What is new in it is in no group any more."""
        self._move(part, False)

    def put_back(self, region: Group) -> Group:
        """The part that it is in then, with all that it touches."""
        self._move(region, True)
        return self._groups[region.members[0]]

    def mask(self) -> np.ndarray:
        """Bool `[K, J, I]`, what is there."""
        there: np.ndarray = np.array([placed is True for placed in self._there])[self._numbers]
        return there

    def _was(self, block: int) -> bool:
        """Whether it was there before."""
        return not self._first_added <= block < self._first_removed

    def _move(self, group: Group, there: bool) -> None:
        for block in group.members:
            self._there[block], self._groups[block] = None, Group(*self._single[block])
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


def _numbered(kinds: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Number the connected pieces of masks that share no voxel, one mask after the other, from 1.

    Returns:
        int32 `[K, J, I]`; and for each mask the first number after its own.
    """
    numbers, ends = np.zeros(kinds[0].shape, np.int32), [1]
    for kind in kinds:
        pieces, sizes = connected_pieces(kind)
        numbers[kind] = pieces[kind] + (ends[-1] - 1)
        ends.append(ends[-1] + len(sizes) - 1)
    return numbers, ends[1:]


def _single_blocks(
    numbers: np.ndarray, end: int, near: np.ndarray, pieces: np.ndarray, flags: Sequence[np.ndarray]
) -> list[tuple[int, int, int, int, int, bool, bool]]:
    """For each block what a `Group` of it alone is made from."""
    places = np.flatnonzero(numbers)
    numbers_there = numbers.reshape(-1)[places]
    last, piece = np.zeros(end, np.int64), np.zeros(end, np.int64)
    last[numbers_there] = places  # of a block's voxels the last one stays
    piece[numbers_there] = pieces.reshape(-1)[places]  # a block is in one piece or none
    flagged = [np.bincount(numbers[mask], minlength=end) > 0 for mask in flags]
    counts = (np.bincount(numbers_there, minlength=end), np.bincount(numbers[near], minlength=end))
    columns = (np.arange(end), *counts, last, piece, *flagged)
    return list(zip(*(column.tolist() for column in columns), strict=True))
