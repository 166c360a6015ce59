"""Everything that is cached of one image: the windows, which of them decodes a voxel, and R_0 (paper II-A)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, bounding_box, box_of, offset, slices_of
from context_propagation.core.model.decoded_target import decoded_margins, decoded_target
from context_propagation.core.model.segmentation_model import PreparedImage, SegmentationModel
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.window import Window

NO_WINDOW = -1


@dataclass(frozen=True)
class FeatureCache:
    """The windows of one image. Arrays and boxes are in the network's axes.

    Attributes:
        model: The frozen model.
        prepared: The preprocessed image.
        windows: What is cached.
        groups: How many windows were cached together, in order.
        owner: int16, the image's shape: the window that gives a voxel its R_0, or -1; it never changes.
        window_prediction: bool, the same shape, R_0: the target decoded from the untouched features.
    """

    model: SegmentationModel
    prepared: PreparedImage
    windows: tuple[Window, ...]
    groups: tuple[int, ...]
    owner: np.ndarray
    window_prediction: np.ndarray

    @classmethod
    def empty(cls, model: SegmentationModel, prepared: PreparedImage) -> FeatureCache:
        """No window yet."""
        owner, nothing = np.int16(NO_WINDOW), np.zeros((), bool)  # of every voxel; one value in memory
        shape = prepared.image_shape
        return cls(model, prepared, (), (), np.broadcast_to(owner, shape), np.broadcast_to(nothing, shape))

    def extended(self, windows: Sequence[Window]) -> FeatureCache:
        """A cache with more windows.

        Among the new windows a voxel belongs to the one it is deepest in; voxels that have an owner keep it.
        """
        decoded = [self.decode_untouched(window, window.image_box) for window in windows]
        owner, window_prediction = self.owner.copy(), self.window_prediction.copy()
        depth = np.zeros(owner.shape, np.int16)
        for number, (window, labels) in enumerate(zip(windows, decoded, strict=True), len(self.windows)):
            box, inside = slices_of(window.image_box), _depth_in(window.image_box)
            take = (self.owner[box] == NO_WINDOW) & (inside > depth[box])
            depth[box][take] = inside[take]
            owner[box][take] = number
            window_prediction[box][take] = labels[take]
        return replace(
            self,
            windows=(*self.windows, *windows),
            groups=(*self.groups, len(windows)),
            owner=owner,
            window_prediction=window_prediction,
        )

    def decode_untouched(self, window: Window, box: Box) -> np.ndarray:
        """The target in image voxels of a window, from its untouched features: bool, the box's shape."""
        return decoded_target(self.model, self.prepared.grid, *_untouched(window), box)

    def owned_box(self, number: int) -> Box | None:
        """The box around the voxels that a window owns; None where it owns none."""
        limits = self.windows[number].image_box
        owned = bounding_box(self.owner[slices_of(limits)] == number)
        return None if owned is None else offset(owned, limits)

    def owned_margins(
        self, number: int, box: Box, fold_logits: Sequence[torch.Tensor], origin: tuple[int, ...]
    ) -> Margins:
        """The margins of a window's decode in a box; NaN where another window owns the voxel.

        Args:
            number: The window's.
            box: Inside what it can decode.
            fold_logits: `[1, C, d, h, w]` of each fold, which hold what the box needs.
            origin: Where they begin on the network's grid.
        """
        values = decoded_margins(self.model, self.prepared.grid, fold_logits, origin, box)
        values[self.owner[slices_of(box)] != number] = np.nan
        return Margins(box, values)

    @cached_property
    def window_margins(self) -> Margins | None:
        """How sure R_0 is, in the box of all windows; None without one."""
        boxes = {number: self.owned_box(number) for number in range(len(self.windows))}
        return Margins.together(
            [
                self.owned_margins(number, box, *_untouched(self.windows[number]))
                for number, box in boxes.items()
                if box is not None
            ]
        )

    def undecoded(self, footprint: np.ndarray, axis: int, indices: Sequence[int]) -> Box | None:
        """What of an edit no window can propagate: a window must decode the edited slice and its near slices together.

        Args:
            footprint: bool, one slice thick along `axis`, else the image's shape: where the edit lies in its slice.
            axis: Axis that the slices are perpendicular to.
            indices: The edited slice and its near slices, from first to last.

        Returns:
            The box of what is missing, inside the part of the image that the network sees; or None.
        """
        flat = list(self.prepared.grid.crop)
        span = (max(flat[axis][0], indices[0]), min(flat[axis][1], indices[-1] + 1))
        flat[axis] = (0, 1)
        missing = np.zeros_like(footprint)
        missing[slices_of(box_of(flat))] = footprint[slices_of(box_of(flat))]
        if span[0] >= span[1]:
            return None
        for window in self.windows:
            spans = list(window.image_box)
            if spans[axis][0] <= span[0] and span[1] <= spans[axis][1]:
                spans[axis] = (0, 1)
                missing[slices_of(box_of(spans))] = False
        left = bounding_box(missing)
        if left is None:
            return None
        spans = list(left)
        spans[axis] = span
        return box_of(spans)

    @property
    def window_boxes(self) -> tuple[Box, ...]:
        """The network boxes that are cached."""
        return tuple(window.network_box for window in self.windows)

    @property
    def window_groups(self) -> tuple[tuple[Box, ...], ...]:
        """The same, in the groups in which they were cached."""
        ends = np.cumsum(self.groups).tolist()
        return tuple(self.window_boxes[end - n : end] for end, n in zip(ends, self.groups, strict=True))

    def cached_bytes(self, beside: Container[Box] = ()) -> int:
        """Memory that the windows hold, without those whose network boxes are named."""
        counted = (window for window in self.windows if window.network_box not in beside)
        return sum(window.cached_bytes(self.model) for window in counted)


def _untouched(window: Window) -> tuple[list[torch.Tensor], tuple[int, ...]]:
    """The logits of each fold, and where they begin on the network's grid."""
    return [features.logits for features in window.features], tuple(span[0] for span in window.network_box)


def _depth_in(box: Box) -> np.ndarray:
    """For each voxel of a box, its distance to the nearest face, from 1."""
    distances = [
        np.minimum(np.arange(1, stop - start + 1), np.arange(stop - start, 0, -1)).astype(np.int16)
        for start, stop in box
    ]
    k, j, i = np.ix_(*distances)
    return np.minimum(np.minimum(k, j), i)
