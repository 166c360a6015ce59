"""What a session is told, and what it tells: settings, and the result of a propagation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, bounding_box, light_copy, offset, slices_of
from context_propagation.core.propagation.edit_record import FarRule
from context_propagation.core.propagation.update_settings import UpdateReport, UpdateSettings

SeveralEdits = Literal["joint", "one at a time"]


MOST_OFFSET_MM = 4.0
"""Of the first contours."""


@dataclass(frozen=True)
class SessionSettings:
    """How edits are propagated.

    Attributes:
        level: Decoder level k: features enter the last k decoder stages.
        neighbours: N(s) is s and so many image slices on each side.
        update: The optimisation of the features.
        window_border: Voxels of the network's grid cached around the target.
        memory_budget_bytes: Memory that the cache may use, what it shares with other sessions included; without it,
            four fifths of what is free.
        several_edits: "joint" optimises a further edit together with the drawn slices of the same axis, from the last
            f'; "one at a time" (the paper) optimises each edit alone from the untouched features.
        far_rule: "average" (the paper) or "latest": which edits speak for a far voxel.
        tidy: Take back new islands, crumbs, cuts and one-voxel holes (`stray_voxels`); False leaves Eq. 4 as it stands.
        start_offset_mm: By so much the contours that the model predicts are moved outwards within axial slices, before
            anything is drawn; see `DrawingProfile`. They go back where the model's own fit the drawn slices better.
    """

    level: int = 2
    neighbours: int = 2
    update: UpdateSettings = field(default_factory=UpdateSettings)
    window_border: int = 16
    memory_budget_bytes: int | None = None
    several_edits: SeveralEdits = "joint"
    far_rule: FarRule = "average"
    tidy: bool = True
    start_offset_mm: float = 0.0

    def __post_init__(self) -> None:
        if self.level not in (1, 2, 3):
            raise UserInputError(f"Decoder level {self.level}; choose 1, 2 or 3")
        if self.neighbours < 0:
            raise UserInputError(f"{self.neighbours} neighbouring slices; give 0 or more")
        if self.several_edits not in ("joint", "one at a time"):
            raise UserInputError(f"Unknown rule '{self.several_edits}'; choose joint or one at a time")
        if self.far_rule not in ("latest", "average"):
            raise UserInputError(f"Unknown rule '{self.far_rule}' for far slices; choose latest or average")
        if not -MOST_OFFSET_MM <= self.start_offset_mm <= MOST_OFFSET_MM:
            raise UserInputError(
                f"The start is moved by {self.start_offset_mm} mm; give -{MOST_OFFSET_MM:g} to {MOST_OFFSET_MM:g}"
            )


@dataclass(frozen=True)
class PropagationResult:
    """What one edit changed.

    Attributes:
        segmentation: bool `[K, J, I]`, the whole result; once propagated it is the session's too, and read-only.
        changed: bool `[K, J, I]`, the voxels that propagation changed, the drawing itself not counted.
        axis: Array axis of the edited slices.
        edited_slices: Their indices.
        changed_per_slice: Voxels changed per slice along `axis`; slices without a change are left out.
        left_alone: Far slices along `axis` that stay as they are: the network would change them, and was not sure
            enough that it would help.
        changed_box_kji: The box around the changed voxels, or None.
        updates: A report for each window and fold.
        scope: Whose far slices these are: "whole volume (trained for this model)", "whole volume (general)", or "near
            slices only".
        messages: What the user should know, e.g. that the window was extended.
    """

    segmentation: np.ndarray
    changed: np.ndarray
    axis: int
    edited_slices: tuple[int, ...]
    changed_per_slice: dict[int, int]
    left_alone: tuple[int, ...]
    changed_box_kji: Box | None
    updates: tuple[UpdateReport, ...]
    scope: str
    messages: tuple[str, ...]

    def rejecting(self, mask: np.ndarray) -> PropagationResult:
        """The result where the voxels of a mask, bool `[K, J, I]`, stay as they were before it was propagated."""
        if self.changed_box_kji is None:
            return self
        place = slices_of(self.changed_box_kji)
        rejected = self.changed[place] & mask[place]
        changed, segmentation = np.zeros(self.changed.shape, bool), light_copy(self.segmentation)
        changed[place] = self.changed[place] & ~rejected
        segmentation[place] ^= rejected
        counts = changed[place].sum(axis=tuple(a for a in range(3) if a != self.axis))
        start, tight = self.changed_box_kji[self.axis][0], bounding_box(changed[place])
        return replace(
            self,
            segmentation=segmentation,
            changed=changed,
            changed_per_slice={start + int(s): int(counts[s]) for s in np.flatnonzero(counts)},
            changed_box_kji=None if tight is None else offset(tight, self.changed_box_kji),
        )
