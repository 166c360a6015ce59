"""A step of a session's history. Needs no torch: what stands on it is imported where there may be none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.image.boxed_mask import NO_VOXELS
from context_propagation.core.image.slices import SliceEdit

if TYPE_CHECKING:
    from context_propagation.core.propagation.edit_record import EditRecord


@dataclass(frozen=True)
class Step:
    """One propagation in a session's history, or slices that were confirmed; in Slicer, a `SegmentStep`.

    Attributes:
        edits: The drawn slices; none where slices were only confirmed.
        before: The edits before it.
        after: The edits after it.
        flipped: Flat indices (C order over `[K, J, I]`) of the voxels that it and its drawing flipped.
        values: What they became.
        made_at: When it was computed: UTC, ISO 8601; or empty.
        rejected: Flat indices of the voxels that it would have flipped, had the user not wanted them as they were: no
            later propagation writes them.
        confirmed: Slices that the user said are right as they are.
    """

    edits: tuple[SliceEdit, ...]
    before: tuple[EditRecord, ...]
    after: tuple[EditRecord, ...]
    flipped: np.ndarray
    values: np.ndarray
    made_at: str
    rejected: np.ndarray = field(default_factory=lambda: NO_VOXELS)
    confirmed: tuple[SliceEdit, ...] = ()

    def changed_per_slice(self, shape_kji: tuple[int, int, int]) -> dict[int, int]:
        """Voxels that it changed, by slice along the edited axis; on the drawn slices, which keep the drawing, none."""
        if not self.edits:
            return {}
        axis, drawn = self.edits[0].axis, {edit.index for edit in self.edits}
        counts = np.bincount(np.unravel_index(self.flipped, shape_kji)[axis], minlength=shape_kji[axis])
        return {int(index): int(counts[index]) for index in np.flatnonzero(counts) if int(index) not in drawn}

    def without(self, mask: np.ndarray) -> Step:
        """The step without what it did to the voxels of a mask, bool `[K, J, I]`."""
        left = ~mask.reshape(-1)[self.flipped]
        return replace(self, flipped=self.flipped[left], values=self.values[left])

    def rejecting(self, mask: np.ndarray) -> Step:
        """The step without what it did to the voxels of a mask, bool `[K, J, I]`; these are the user's from now on."""
        rejected = self.flipped[mask.reshape(-1)[self.flipped]]
        return replace(self.without(mask), rejected=np.union1d(self.rejected, rejected))


def now_utc() -> str:
    """ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
