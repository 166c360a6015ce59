"""A session: one image, its cache, the edits so far and the result. It alone has state, with its history."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.device import out_of_memory_reported
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, bounding_box
from context_propagation.core.image.contour_offset import moved_contours
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.edit_propagation import EditPropagation
from context_propagation.core.propagation.edit_record import EditRecord, drawn_slices, superseded
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.general_far import FarNetworks, TunedGeneral
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.propagation.window import WindowPlan
from context_propagation.core.session.drawings_fit import offset_of_drawings_mm
from context_propagation.core.session.edit_records import drawings_of, record_of
from context_propagation.core.session.history import SessionHistory
from context_propagation.core.session.preview import Preview, SessionMasks
from context_propagation.core.session.ready_image import ReadyImage, predicted_target, ready_image
from context_propagation.core.session.session_checks import check_edits, check_folds, check_level, check_shape
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.session.slice_suggestion import slice_uncertainty_mm2
from context_propagation.core.session.step import Step
from context_propagation.core.session.target_probability import TargetProbability, target_probability
from context_propagation.core.session.window_extension import (
    WindowExtension,
    check_windows,
    with_target,
    with_windows,
)


class Session(SessionHistory):
    """Interactive refinement of one image with one frozen model.

    Args:
        model: The frozen model.
        settings: Level, neighbours, optimiser, memory.
        fusion: The model's trained fusion networks, or the general far network; without, edits reach near slices only.
            The networks are moved to the model's device and set to evaluation mode.

    Raises:
        UserInputError: The level is beyond the model's decoder, or the fusion networks do not fit.
    """

    def __init__(
        self, model: SegmentationModel, settings: SessionSettings | None = None, fusion: FarNetworks | None = None
    ) -> None:
        super().__init__(settings or SessionSettings())
        self.model = model
        self.fusion = fusion
        for split in model.splits:
            if self.settings.level > split.max_level:
                raise UserInputError(
                    f"Decoder level {self.settings.level} is beyond this network's decoder, which has "
                    f"{split.max_level} stages; choose a smaller level"
                )
        if fusion is not None:
            if isinstance(fusion, Fusion | TunedGeneral):
                check_level(fusion, self.settings.level)
            if isinstance(fusion, Fusion):
                check_folds(fusion, model)
            for network in fusion.networks:
                network.to(model.device).eval()
        self.plan: WindowPlan | None = None
        """What `set_image` plans to cache, and its memory; there as soon as it is known, before anything is encoded."""
        self._cache: FeatureCache | None = None

    # -- the image ---------------------------------------------------------------------------------------------------

    @out_of_memory_reported("Caching the image")
    def set_image(
        self,
        image: SourceVolume | ReadyImage,
        initial: np.ndarray | None = None,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        window_groups: Sequence[Sequence[Box]] = (),
    ) -> WindowPlan | None:
        """Preprocess, predict where no segmentation is given, and cache the features around the target.

        What was prepared and predicted of the image that the model was given last is used again, and so are the windows
        that this session or another one holds of it.

        Args:
            image: The image, or what `ready_image` made of it, so that it is not preprocessed again.
            initial: bool `[K, J, I]`, a first segmentation from anywhere; without it, the model's own prediction.
            progress: Called with stage and fraction.
            cancelled: Asked between steps.
            window_groups: Network boxes to cache instead of those around the target: see `window_groups`.

        Returns:
            What was planned and its memory; None where windows were given, or the target is empty, in which case the
            first edit places the window.

        Raises:
            UserInputError: Wrong number of channels, wrong shape of `initial`, windows that do not fit the network's
                grid, or not enough memory.
            Cancelled: The session is as it was before the call.
        """
        volume = image.volume if isinstance(image, ReadyImage) else image
        if initial is not None and initial.shape != volume.shape_kji:
            raise UserInputError(
                f"The initial segmentation has shape {initial.shape} and the image {volume.shape_kji}; resample it"
            )
        progress("preprocess", 0.0)
        ready = image if isinstance(image, ReadyImage) else ready_image(self.model, image)
        prepared = ready.prepared
        own = None
        if initial is None or self.settings.start_offset_mm:
            own = predicted_target(self.model, prepared, progress, cancelled)
            initial = moved_contours(own, volume, self.settings.start_offset_mm) if initial is None else initial
        cache = FeatureCache.empty(self.model, prepared)
        around = bounding_box(initial if own is None else initial | own)
        target = None if around is None else prepared.axes.apply_box(around, initial.shape)
        self._plan(None)
        for boxes in window_groups:
            check_windows(boxes, self.model, prepared.grid.network_shape)
        for boxes in window_groups:
            cache = with_windows(cache, boxes, self.settings, self.fusion, progress, cancelled)
        if not window_groups:
            cache = with_target(cache, target, self.settings, self.fusion, self._plan, progress, cancelled)
        self._cache = cache
        self._begin(volume, initial.astype(bool), own if self.settings.start_offset_mm else None)
        return self.plan

    def target_probability(self, drawn: Sequence[SliceEdit] = ()) -> TargetProbability:
        """See `target_probability`."""
        return target_probability(self, drawn)

    @property
    def window_boxes(self) -> frozenset[Box]:
        """See `SessionHistory.window_boxes`."""
        return frozenset(self.cache.window_boxes)

    def cached_bytes(self, counted: Container[Box] = ()) -> int:
        """See `SessionHistory.cached_bytes`."""
        return self.cache.cached_bytes(counted)

    def close(self) -> None:
        """Give back the cache; set the image again to go on."""
        self._cache = None

    def _plan(self, plan: WindowPlan | None) -> None:
        self.plan = plan

    def drawn_offset_mm(self) -> float | None:
        """See `SessionHistory.drawn_offset_mm`."""
        drawn_records = [record for record in self.records if not record.confirmed]
        if not drawn_records:
            return None
        axis = drawn_records[-1].axis
        edits = [edit for record in drawn_records if record.axis == axis for edit in record.edits]
        return offset_of_drawings_mm(edits, self.window_prediction, self.volume.spacing_kji_mm)

    def restarted(self, settings: SessionSettings, fusion: FarNetworks | None = None) -> Session:
        """Another session of the same image, cache and first segmentation, without edits.

        Args:
            settings: Of the other session; its decoder level is this one's.
            fusion: Its fusion networks, or the general far network.

        Raises:
            UserInputError: Another decoder level, no image, or see `Session`.
        """
        if settings.level != self.settings.level:
            raise UserInputError(f"Level {settings.level}: features of level {self.settings.level} are cached")
        other = Session(self.model, settings, fusion)
        other._cache = self.cache
        other._begin(self.volume, self.initial, self._own)
        return other

    @property
    def cache(self) -> FeatureCache:
        """What is cached of the image; raises `UserInputError` before `set_image`."""
        if self._cache is None:
            raise UserInputError("No image is set; call set_image first")
        return self._cache

    @property
    def window_prediction(self) -> np.ndarray:
        """R_0, bool `[K, J, I]`: the target decoded from the untouched features; False outside the windows."""
        return self.cache.prepared.axes.undone(self.cache.window_prediction)

    def slice_uncertainty_mm2(self, axis: int, after: Step | None = None) -> np.ndarray:
        """How undecided the network is on each slice along an array axis: after the edits so far, or after a step."""
        margins, shape = self.cache.window_margins, self.cache.owner.shape
        if margins is not None:
            margins = margins.undone(self.cache.prepared.axes, shape)
        edits = self.records if after is None else after.after
        shape_kji, spacing_mm = self.volume.shape_kji, self.volume.spacing_kji_mm
        return slice_uncertainty_mm2(margins, edits, axis, shape_kji, spacing_mm, self.settings.far_rule)

    # -- edits -------------------------------------------------------------------------------------------------------

    @out_of_memory_reported("Propagating the edit")
    def preview(
        self,
        edits: Sequence[SliceEdit],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        spared: np.ndarray | None = None,
        enough: CancelCheck = never_cancelled,
    ) -> Preview:
        """What redrawn slices would give; windows that they need are encoded and stay cached, all else is unchanged.

        Args:
            edits: Slices of one axis, exactly as drawn.
            progress: Called with stage and fraction.
            cancelled: Asked before each evaluation and each fusion.
            spared: bool `[K, J, I]`, voxels that these edits must not write, beside those that none may.
            enough: Asked before each evaluation: whether to go on with the best features so far, once they are better
                than those that it began with.

        Raises:
            UserInputError: No edits, several axes, an index or a mask that does not fit the image, or little memory.
            Cancelled: Nothing was changed.
        """
        check_edits(edits, self.volume)
        if spared is not None:
            check_shape(spared, self.volume)
        protected = self.protected if spared is None else self.protected | spared
        edits = tuple(replace(e, mask=e.mask.astype(bool)) for e in sorted(edits, key=lambda edit: edit.index))
        extension = WindowExtension(self.settings, self.fusion, progress, cancelled)
        self._cache, messages = extension.for_edits(self.cache, self.segmentation, edits)
        kept = superseded(self.records, edits)
        joined = self._joined(kept, edits)
        drawings = drawings_of(self.records, joined, edits)
        start = [piece for record in joined for piece in record.features]
        propagated = self.propagation.propagate([edit for _, edit in drawings], progress, cancelled, start, enough)
        left = tuple(old for old in kept if not any(old is other for other in joined))
        after = (*left, record_of(drawings, propagated, self.settings))
        return Preview(
            edits=edits,
            before=self.records,
            after=after,
            masks=SessionMasks(
                self.first_segmentation(drawn_slices(self.records)),
                self.first_segmentation(drawn_slices(after)),
                self.segmentation,
                protected,
                self.window_prediction,
            ),
            propagation=self.propagation,
            features=propagated.features,
            far_rule=self.settings.far_rule,
            tidy=self.settings.tidy,
            messages=(*messages, *propagated.messages),
        )

    @property
    def propagation(self) -> EditPropagation:
        """How this session's image and settings propagate edits; changes nothing in the session."""
        settings, spacing_mm = self.settings, self.volume.spacing_kji_mm
        return EditPropagation(self.cache, settings.neighbours, settings.update, spacing_mm, self.fusion)

    def _joined(self, kept: tuple[EditRecord, ...], edits: Sequence[SliceEdit]) -> tuple[EditRecord, ...]:
        """The earlier records whose slices are optimised together with new edits."""
        if self.settings.several_edits != "joint":
            return ()
        new = {(edit.axis, edit.index) for edit in edits}
        redrawn = any((e.axis, e.index) in new for old in self.records if not old.satisfied for e in old.edits)
        if not redrawn and self.propagation.network_edit(edits).is_satisfied():
            return ()  # an edit that says what R_0 says moves nothing
        return tuple(record for record in kept if record.axis == edits[0].axis and not record.confirmed)
