"""One edit over all windows and folds: which are updated, and what each may change (method 2, 4, 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from context_propagation.core.activation_update import UpdateReport, UpdateSettings
from context_propagation.core.boxes import Box, bounding_box, box_of, slices_of
from context_propagation.core.composition import NearLabels, near_indices
from context_propagation.core.edited_slices import SliceEdit
from context_propagation.core.errors import Cancelled
from context_propagation.core.feature_cache import FeatureCache
from context_propagation.core.slice_update import SliceTarget, decode_near, slice_target, update_window
from context_propagation.core.source_volume import ArrayReorientation
from context_propagation.core.split_model import CancelCheck, Progress
from context_propagation.core.window import Window


@dataclass(frozen=True)
class EditPropagation:
    """Propagates edits through a cache; has no state of its own.

    Attributes:
        cache: The image's features, in the model's orientation.
        reorientation: From the volume's arrays to the model's orientation.
        neighbours: N(s) is s and so many image slices on each side.
        update: The optimisation of the features.
    """

    cache: FeatureCache
    reorientation: ArrayReorientation
    neighbours: int
    update: UpdateSettings

    def near_labels(
        self, edits: Sequence[SliceEdit], progress: Progress, cancelled: CancelCheck
    ) -> tuple[tuple[NearLabels, ...], tuple[UpdateReport, ...]]:
        """Update the features for edits of one axis, jointly, and decode their near slices.

        Returns:
            The near slices in the volume's own orientation, and a report for each window and fold; no near slices where
            the untouched features decode to the drawing already.

        Raises:
            Cancelled: The user cancelled.
        """
        axis, targets = self._targets(edits)
        if targets is None:
            return (), (UpdateReport(0.0, 0.0, 0, "already satisfied"),)
        serving = self._serving_windows(targets, edits[0].axis)
        near: list[NearLabels] = []
        updates: list[UpdateReport] = []
        for number, target in targets.items():
            window = self.cache.windows[number]
            updated, boxes, reports = self._updated_folds(window, target, progress, cancelled)
            updates.extend(reports)
            progress("decode", 0.0)
            decoded = decode_near(
                self.cache.model,
                self.cache.prepared.grid,
                window,
                updated,
                boxes,
                axis,
                self._near(edits[0].axis, target.indices),
                self.update.frozen_statistics,
            )
            if decoded is not None:
                near.extend(self._near_labels(number, *decoded, edits[0].axis, serving))
        progress("decode", 1.0)
        return tuple(near), tuple(updates)

    def _targets(self, edits: Sequence[SliceEdit]) -> tuple[int, dict[int, SliceTarget] | None]:
        """The network's axis of the edits, and what each window must decode to; None where R_0 is as drawn."""
        grid = self.cache.prepared.grid
        drawn = self.reorientation.undo(np.zeros(self.cache.owner.shape, bool))
        for edit in edits:
            np.moveaxis(drawn, edit.axis, 0)[edit.index] = edit.mask
        axis, indices = self._network_slices(edits[0].axis, [edit.index for edit in edits])
        drawn_net = grid.to_network_axes(self.reorientation.apply(drawn))
        untouched_net = grid.to_network_axes(self.cache.untouched)
        if all((drawn_net.take(i, axis) == untouched_net.take(i, axis)).all() for i in indices):
            return axis, None
        return axis, {
            number: target
            for number, window in enumerate(self.cache.windows)
            if (target := slice_target(axis, indices, drawn_net, untouched_net, window.image_box)) is not None
        }

    def _updated_folds(
        self, window: Window, target: SliceTarget, progress: Progress, cancelled: CancelCheck
    ) -> tuple[list[torch.Tensor], list[Box], list[UpdateReport]]:
        """F' of each fold, the box of f in which it differs, and the report."""
        model = self.cache.model
        updated, boxes, reports = [], [], []
        for split, features in zip(model.splits, window.features, strict=True):
            f, f_box, report = update_window(
                model,
                split,
                self.cache.prepared.grid,
                window,
                features,
                target,
                self.update,
                lambda fraction: progress("update", fraction),
                cancelled,
            )
            if report.stop_reason == "cancelled":
                raise Cancelled
            updated.append(f)
            boxes.append(f_box)
            reports.append(report)
        return updated, boxes, reports

    def _slices(self, axis: int) -> int:
        """How many slices the volume has along an axis."""
        return int(self.cache.owner.shape[self.reorientation.order.index(axis)])

    def _near(self, axis: int, indices: Sequence[int]) -> list[int]:
        """N(s) along an axis of the volume; the same for indices counted from its other end."""
        return near_indices(indices, self.neighbours, self._slices(axis))

    def _serving_windows(self, targets: dict[int, SliceTarget], axis: int) -> dict[int, list[int]]:
        """For each near slice of the volume, the windows that were updated for it."""
        serving: dict[int, list[int]] = {}
        for number, target in targets.items():
            for index in self._network_slices(axis, self._near(axis, target.indices))[1]:
                serving.setdefault(index, []).append(number)
        return serving

    def _network_slices(self, axis: int, indices: Sequence[int]) -> tuple[int, list[int]]:
        """Axis and slice indices of the volume as the network's axis and the image indices along it."""
        oriented = self.reorientation.order.index(axis)
        size = self._slices(axis)
        flipped = self.reorientation.flipped[oriented]
        mapped = [size - 1 - index if flipped else index for index in indices]
        return self.cache.prepared.grid.transpose.index(oriented), mapped

    def _near_labels(
        self, number: int, box_net: Box, labels_net: np.ndarray, axis: int, serving: dict[int, list[int]]
    ) -> list[NearLabels]:
        """Cut a decoded box of a window into near slices, in the volume's own orientation.

        A window changes the voxels that it owns, and those whose owner was not updated for the slice: there, only what
        its update flipped counts, so that no seam shows between windows.
        """
        cache = self.cache
        grid = cache.prepared.grid
        box = grid.image_order(box_net)
        labels = labels_net.transpose(np.argsort(grid.transpose))
        flipped = labels != cache.decode_untouched(cache.windows[number], box_net)
        whole_labels, whole_flipped, owner = (
            self.reorientation.undo(array)
            for array in (_placed(labels, box, cache.owner), _placed(flipped, box, cache.owner), cache.owner)
        )
        around = bounding_box(whole_flipped)
        result = []
        for index in sorted(serving) if around else []:
            if around and number in serving[index] and around[axis][0] <= index < around[axis][1]:
                spans = list(around)
                spans[axis] = (index, index + 1)
                piece = slices_of(box_of(spans))
                others = [other for other in serving[index] if other != number]
                changed = whole_flipped[piece] & ~np.isin(owner[piece], others)
                result.append(NearLabels(index, box_of(spans), whole_labels[piece].copy(), changed))
        return result


def _placed(part: np.ndarray, box: Box, like: np.ndarray) -> np.ndarray:
    """A box's mask in a whole volume."""
    whole_mask = np.zeros(like.shape, bool)
    whole_mask[slices_of(box)] = part
    return whole_mask
