"""Everything that is cached of one image: the windows, which of them decodes a voxel, and R_0 (paper II-A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from context_propagation.core.image.boxes import Box, bounding_box, slices_of
from context_propagation.core.model.segmentation_model import PreparedImage, SegmentationModel
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
        owner = np.full(prepared.image_shape, NO_WINDOW, np.int16)
        return cls(model, prepared, (), (), owner, np.zeros(prepared.image_shape, bool))

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

    @torch.no_grad()
    def decode_untouched(self, window: Window, box: Box) -> np.ndarray:
        """The target in image voxels of a window, from its untouched features: bool, the box's shape."""
        grid = self.prepared.grid
        origin = tuple(span[0] for span in window.network_box)
        logits = [grid.to_image(features.logits, origin, box) for features in window.features]
        return self.model.is_target(logits)[0].cpu().numpy()

    @torch.no_grad()
    def window_margins(self) -> np.ndarray:
        """How sure R_0 is: float16, the image's shape, NaN where no window decodes.

        See `SegmentationModel.target_margin`.
        """
        margins = np.full(self.owner.shape, np.nan, np.float16)
        grid = self.prepared.grid
        for number, window in enumerate(self.windows):
            origin = tuple(span[0] for span in window.network_box)
            logits = [grid.to_image(features.logits, origin, window.image_box) for features in window.features]
            decoded = self.model.target_margin(logits)[0].cpu().numpy()
            box = slices_of(window.image_box)
            mine = self.owner[box] == number
            margins[box][mine] = decoded[mine]
        return margins

    def undecoded(self, near: np.ndarray, axis: int) -> Box | None:
        """What of an edit no window can propagate: a window must decode the edited slice and its near slices together.

        Args:
            near: bool, the image's shape: an edit's footprint on all its near slices.
            axis: Axis that the slices are perpendicular to.

        Returns:
            The box of what is missing, inside the part of the image that the network sees; or None.
        """
        seen = slices_of(self.prepared.grid.crop)
        missing = np.zeros_like(near)
        missing[seen] = near[seen]
        span = bounding_box(missing)
        for window in self.windows if span else ():
            box = window.image_box
            if span and box[axis][0] <= span[axis][0] and span[axis][1] <= box[axis][1]:
                missing[slices_of(box)] = False
        return bounding_box(missing)

    @property
    def window_boxes(self) -> tuple[Box, ...]:
        """The network boxes that are cached."""
        return tuple(window.network_box for window in self.windows)

    @property
    def window_groups(self) -> tuple[tuple[Box, ...], ...]:
        """The same, in the groups in which they were cached."""
        ends = np.cumsum(self.groups).tolist()
        return tuple(self.window_boxes[end - n : end] for end, n in zip(ends, self.groups, strict=True))

    def cached_bytes(self, level: int) -> int:
        """Memory that the windows hold."""
        total = 0
        for box in self.window_boxes:
            d, h, w = (stop - start for start, stop in box)
            total += sum(split.cached_bytes((d, h, w), level) for split in self.model.splits)
        return total


def _depth_in(box: Box) -> np.ndarray:
    """For each voxel of a box, its distance to the nearest face, from 1."""
    distances = [
        np.minimum(np.arange(1, stop - start + 1), np.arange(stop - start, 0, -1)).astype(np.int16)
        for start, stop in box
    ]
    k, j, i = np.ix_(*distances)
    return np.minimum(np.minimum(k, j), i)
