"""One edit over all windows and folds: which are updated, and what near and far slices become (Fig. 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxes import Box, bounding_box, box_of, offset, slices_of
from context_propagation.core.image.slices import SliceEdit, near_indices
from context_propagation.core.propagation.drawn_slices import NetworkEdit, SliceTarget
from context_propagation.core.propagation.edit_record import NearLabels
from context_propagation.core.propagation.far_slices import far_margins
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.general_far import FarNetworks, GeneralFar, general_margins
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.near_slices import decode_near
from context_propagation.core.propagation.slice_update import update_window
from context_propagation.core.propagation.update_settings import UpdateReport, UpdateSettings
from context_propagation.core.propagation.updated_features import UpdatedFeatures, with_updates

STOPPED = "Stopped early, with the best result so far: slices near the drawn ones may be less exact"


@dataclass(frozen=True)
class Propagated:
    """What one edit says.

    Attributes:
        near: The near slices decoded from f', in the volume's own orientation.
        far: How sure the network for far slices is, in the volume's own orientation; None without one.
        features: f' where it differs from f.
        updates: A report for each window and fold.
    """

    near: tuple[NearLabels, ...]
    far: Margins | None
    features: tuple[UpdatedFeatures, ...]
    updates: tuple[UpdateReport, ...]

    @property
    def messages(self) -> tuple[str, ...]:
        """What the user should know."""
        return (STOPPED,) if any(report.stop_reason == "stopped" for report in self.updates) else ()


@dataclass(frozen=True)
class EditPropagation:
    """Propagates edits through a cache; has no state of its own.

    Attributes:
        cache: The image's features.
        neighbours: N(s) is s and so many image slices on each side.
        update: The optimisation of the features.
        spacing_kji_mm: Voxel size of the volume.
        fusion: The trained fusion networks, or the general far network; without, far slices are not touched.
    """

    cache: FeatureCache
    neighbours: int
    update: UpdateSettings
    spacing_kji_mm: tuple[float, float, float]
    fusion: FarNetworks | None = None

    def propagate(
        self,
        edits: Sequence[SliceEdit],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        start: Sequence[UpdatedFeatures] = (),
        enough: CancelCheck = never_cancelled,
    ) -> Propagated:
        """Update the features for edits of one axis, jointly, and decode near and far slices.

        Args:
            edits: Slices of one axis.
            progress: Called with stage and fraction.
            cancelled: Asked before each evaluation, window and fold.
            start: f' to start from; untouched features by default.
            enough: See `update_features`.

        Returns:
            What near and far slices become; nothing of either where the untouched features decode to the drawing
            already.

        Raises:
            Cancelled: The user cancelled.
        """
        edit = self.network_edit(edits)
        if edit.is_satisfied():
            return Propagated((), None, (), (UpdateReport(0.0, 0.0, 0, "already satisfied"),))
        features, updates = self.updated_features(edit, progress, cancelled, start, enough)
        near = self.near_labels(edit, edits[0].axis, features, progress)
        far = None
        if self.fusion is not None and features:  # else the model sees nothing of the edit, and has nothing to add
            far = self.far_margins(edit, features, self.fusion, progress, cancelled)
        return Propagated(near, far, features, updates)

    def network_edit(self, edits: Sequence[SliceEdit]) -> NetworkEdit:
        """Edits of one axis as the network sees them."""
        drawn = np.zeros(self.cache.owner.shape, bool)
        as_volume = self.cache.prepared.axes.undone(drawn)
        for edit in edits:
            as_volume[edit.place] = edit.mask
        axis, indices = self._network_slices(edits[0].axis, [edit.index for edit in edits])
        return NetworkEdit(axis, tuple(indices), drawn, self.cache.window_prediction)

    def updated_features(
        self,
        edit: NetworkEdit,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        start: Sequence[UpdatedFeatures] = (),
        enough: CancelCheck = never_cancelled,
    ) -> tuple[tuple[UpdatedFeatures, ...], tuple[UpdateReport, ...]]:
        """Update each fold of each window that has a part in the edit: f' where it differs from f, and reports."""
        pieces: list[UpdatedFeatures] = []
        reports: list[UpdateReport] = []
        targets, folds = self._targets(edit), len(self.cache.model.splits)

        def of_all(fraction: float) -> None:
            progress("update", (len(pieces) + fraction) / (len(targets) * folds))

        for number, target in targets.items():
            for fold in range(folds):
                piece, report = self._updated_fold(number, fold, target, of_all, cancelled, start, enough)
                pieces.append(piece)
                reports.append(report)
        return tuple(pieces), tuple(reports)

    def near_labels(
        self, edit: NetworkEdit, axis: int, features: Sequence[UpdatedFeatures], progress: Progress = no_progress
    ) -> tuple[NearLabels, ...]:
        """Decode the near slices from f'.

        Args:
            edit: The drawn slices.
            axis: Array axis of the volume that they are perpendicular to.
            features: f' where it differs from f.
            progress: Called with stage and fraction.

        Returns:
            The near slices in the volume's own orientation.
        """
        progress("decode", 0.0)
        targets = self._targets(edit)
        serving = self._serving_windows(targets, axis)
        near: list[NearLabels] = []
        for number, target in targets.items():
            decoded = self._decode_near(number, edit, self._near(axis, target.indices), features)
            if decoded is not None:
                near.extend(self._near_labels(number, *decoded, axis, serving))
        progress("decode", 1.0)
        return tuple(near)

    def far_margins(
        self,
        edit: NetworkEdit,
        features: Sequence[UpdatedFeatures],
        fusion: FarNetworks,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> Margins | None:
        """Decode all windows from the fused features, where the edit may flip labels.

        Returns:
            The margins in the volume's own orientation; None where there is no such place.
        """
        if isinstance(fusion, GeneralFar):
            margins = general_margins(self.cache, fusion, edit, features, self.network_spacing_mm, progress, cancelled)
        else:
            margins = far_margins(self.cache, fusion, edit, features, self.network_spacing_mm, progress, cancelled)
        return None if margins is None else margins.undone(self.cache.prepared.axes, self.cache.owner.shape)

    @property
    def network_spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size of the image along the network's axes."""
        return self.cache.prepared.axes.per_axis(self.spacing_kji_mm)

    def _targets(self, edit: NetworkEdit) -> dict[int, SliceTarget]:
        """What each window that has a part in the edit must decode to."""
        targets = {number: edit.target(window.image_box) for number, window in enumerate(self.cache.windows)}
        return {number: target for number, target in targets.items() if target is not None}

    def _updated_fold(
        self,
        number: int,
        fold: int,
        target: SliceTarget,
        progress: Callable[[float], None],
        cancelled: CancelCheck,
        start: Sequence[UpdatedFeatures],
        enough: CancelCheck,
    ) -> tuple[UpdatedFeatures, UpdateReport]:
        window, model = self.cache.windows[number], self.cache.model
        f, f_box, report = update_window(
            model,
            model.splits[fold],
            self.cache.prepared.grid,
            window,
            window.features[fold],
            target,
            self.update,
            progress,
            cancelled,
            with_updates(window.features[fold].f, number, fold, start),
            enough,
        )
        if report.stop_reason == "cancelled":
            raise Cancelled
        return UpdatedFeatures(number, fold, f_box, f[0].detach()), report

    def _decode_near(
        self, number: int, edit: NetworkEdit, indices: Sequence[int], features: Sequence[UpdatedFeatures]
    ) -> tuple[Box, np.ndarray] | None:
        """The near slices that a window decodes from f': the box (in the network's axes) and the labels."""
        window, model = self.cache.windows[number], self.cache.model
        pieces = sorted((piece for piece in features if piece.window == number), key=lambda piece: piece.fold)
        return decode_near(
            model,
            self.cache.prepared.grid,
            number,
            window,
            pieces,
            edit.axis,
            indices,
            self.update.frozen_statistics,
        )

    def _slices(self, axis: int) -> int:
        """How many slices the volume has along an axis."""
        return int(self.cache.owner.shape[self.cache.prepared.axes.order.index(axis)])

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
        return self.cache.prepared.axes.slices(axis, indices, self._slices(axis))

    def _near_labels(
        self, number: int, box: Box, labels: np.ndarray, axis: int, serving: dict[int, list[int]]
    ) -> list[NearLabels]:
        """Cut a decoded box of a window (in the network's axes) into near slices, in the volume's own orientation.

        A window changes the voxels that it owns, and those whose owner was not updated for the slice: there, only what
        its update flipped counts, so that no seam shows between windows.
        """
        cache, axes = self.cache, self.cache.prepared.axes
        flipped = labels != cache.decode_untouched(cache.windows[number], box)
        labels, flipped, owner = (axes.undo(part) for part in (labels, flipped, cache.owner[slices_of(box)]))
        placed, around = axes.undo_box(box, cache.owner.shape), bounding_box(flipped)
        result = []
        for index in sorted(serving) if around else []:
            here = index - placed[axis][0]
            if around and number in serving[index] and around[axis][0] <= here < around[axis][1]:
                spans = list(around)
                spans[axis] = (here, here + 1)
                piece = slices_of(box_of(spans))
                others = [other for other in serving[index] if other != number]
                changed = flipped[piece] & ~np.isin(owner[piece], others)
                result.append(NearLabels(index, offset(box_of(spans), placed), labels[piece].copy(), changed))
        return result
