"""What a session file says, checked value by value: types, shapes, index ranges, numbers. Nothing in it is trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, box_of, box_shape, contains, whole
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.model.segmentation_model import Loss
from context_propagation.core.propagation.activation_update import StopReason, UpdateReport, UpdateSettings
from context_propagation.core.propagation.composition import EditRecord, FarMargins, FarRule, NearLabels
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.updated_features import UpdatedFeatures
from context_propagation.core.session.session_settings import SessionSettings, SeveralEdits, Step
from context_propagation.core.storage.checked_entries import Entries

CHOOSE_ANOTHER = "choose another file"


STORED_TYPES = {"BOOL": bool, "I64": np.int64, "F16": np.float16, "F32": np.float32}
"""What safetensors calls the types of a session's arrays."""


MAX_NUMBER = 10**12


class SavedArrays:
    """The arrays of a session file, asked for by name, type and shape; each getter raises `UserInputError`.

    Args:
        file: The file.
        opened: The same, opened by safetensors.
    """

    def __init__(self, file: Path, opened: Any) -> None:
        self.file = file
        self._arrays = {name: self._sound(name, opened) for name in opened.keys()}  # noqa: SIM118 - not a dict

    def take(self, name: str, dtype: type, shape: Sequence[int]) -> np.ndarray:
        """An array; the same object each time, because records share theirs."""
        array = self._named(name)
        if array.dtype != dtype or array.shape != tuple(shape):
            self.refuse(name, f"is {array.dtype} {array.shape}, not {np.dtype(dtype)} {tuple(shape)}")
        return array

    def flat_indices(self, name: str, voxels: int) -> np.ndarray:
        """int64 `[n]`: indices below `voxels`, each larger than the last."""
        indices = self.take(name, np.int64, (self._named(name).size,))
        if indices.size and (indices[0] < 0 or indices[-1] >= voxels or (np.diff(indices) <= 0).any()):
            self.refuse(name, f"holds indices that do not rise, or lie outside the image's {voxels} voxels")
        return indices

    def refuse(self, name: str, fault: str) -> None:
        raise UserInputError(f"'{self.file}' is damaged: array {name!r:.100} {fault}; {CHOOSE_ANOTHER}")

    def _named(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise UserInputError(f"'{self.file}' is damaged: it lacks {name!r:.100}; {CHOOSE_ANOTHER}")
        return self._arrays[name]

    def _sound(self, name: str, opened: Any) -> np.ndarray:
        """An array of a known type without impossible values; NaN only in margins, which alone are float16."""
        stored = opened.get_slice(name).get_dtype()
        if stored not in STORED_TYPES:
            self.refuse(name, f"has the type {stored}, not one of {', '.join(STORED_TYPES)}")
        array = np.asarray(opened.get_tensor(name))
        if array.dtype == bool and array.size and array.view(np.uint8).max() > 1:
            self.refuse(name, "holds values that are neither true nor false")
        if array.dtype == np.float32 and not np.isfinite(array).all():
            self.refuse(name, "holds NaN or infinite values")
        if array.dtype == np.float16 and not (np.isnan(array) | (np.abs(array) <= 1)).all():
            self.refuse(name, "holds margins beyond -1 and 1")
        return array


@dataclass(frozen=True)
class RecordReader:
    """Reads edit records against the image and the cache that they were made on.

    Attributes:
        arrays: The file's arrays.
        shape_kji: The image's shape.
        cache: The image's features.
    """

    arrays: SavedArrays
    shape_kji: tuple[int, int, int]
    cache: FeatureCache

    def steps(self, header: Entries) -> list[Step]:
        """The history, done and undone."""
        return [self._step(number, step) for number, step in enumerate(header.objects("steps"))]

    def records(self, entries: Entries, name: str) -> tuple[EditRecord, ...]:
        """The edit records under an entry."""
        return tuple(self._record(record) for record in entries.objects(name))

    def _step(self, number: int, step: Entries) -> Step:
        flipped = self.arrays.flat_indices(f"step.{number}.flipped", math.prod(self.shape_kji))
        values = self.arrays.take(f"step.{number}.values", bool, flipped.shape)
        return Step(self.records(step, "before"), self.records(step, "after"), flipped, values)

    def _record(self, record: Entries) -> EditRecord:
        edits = tuple(self._edit(edit) for edit in record.objects("edits"))
        slices = [(edit.axis, edit.index) for edit in edits]
        if len({axis for axis, _ in slices}) != 1 or len(set(slices)) < len(slices):
            record.refuse("edits", slices, "different slices of one axis")
        return EditRecord(
            edits=edits,
            neighbours=record.whole_number("neighbours", 0, MAX_NUMBER),
            near=tuple(self._near(near, edits[0].axis) for near in record.objects("near")),
            updates=tuple(_update(update) for update in record.objects("updates")),
            drawn_at=_drawn_at(record, len(edits)),
            features=tuple(self._features(features) for features in record.objects("features")),
            far=None if record.any("far") is None else self._far(record.object("far")),
        )

    def _edit(self, edit: Entries) -> SliceEdit:
        axis = edit.whole_number("axis", 0, 2)
        index = edit.whole_number("index", 0, self.shape_kji[axis] - 1)
        plane = [size for a, size in enumerate(self.shape_kji) if a != axis]
        return SliceEdit(axis, index, self.arrays.take(edit.text("mask"), bool, plane))

    def _near(self, near: Entries, axis: int) -> NearLabels:
        index = near.whole_number("index", 0, self.shape_kji[axis] - 1)
        box = _box(near, whole(self.shape_kji))
        if box[axis] != (index, index + 1):
            near.refuse("box", box, f"a box on slice {index}")
        labels, changed = (self.arrays.take(near.text(name), bool, box_shape(box)) for name in ("labels", "changed"))
        return NearLabels(index, box, labels, changed)

    def _features(self, features: Entries) -> UpdatedFeatures:
        window = features.whole_number("window", 0, len(self.cache.windows) - 1)
        fold = features.whole_number("fold", 0, len(self.cache.model.splits) - 1)
        channels, *f_shape = self.cache.windows[window].features[fold].f.shape[1:]
        box = _box(features, whole(tuple(f_shape)))
        values = self.arrays.take(features.text("values"), np.float32, (channels, *box_shape(box)))
        return UpdatedFeatures(window, fold, box, values)

    def _far(self, far: Entries) -> FarMargins:
        box = _box(far, whole(self.shape_kji))
        return FarMargins(box, self.arrays.take(far.text("margins"), np.float16, box_shape(box)))


def read_settings(entries: Entries) -> SessionSettings:
    """The settings of a session, as far as they can be known to be usable."""
    budget = entries.any("memory_budget_bytes")
    settings = SessionSettings(
        level=entries.whole_number("level", 1, 3),
        neighbours=entries.whole_number("neighbours", 0, MAX_NUMBER),
        update=_update_settings(entries.object("update")),
        window_border=entries.whole_number("window_border", 0, MAX_NUMBER),
        memory_budget_bytes=None if budget is None else entries.whole_number("memory_budget_bytes", 0, 2**63),
        several_edits=cast(SeveralEdits, entries.choice("several_edits", get_args(SeveralEdits))),
        far_rule=cast(FarRule, entries.choice("far_rule", get_args(FarRule))),
    )
    entries.refuse_the_rest()
    return settings


def _update_settings(entries: Entries) -> UpdateSettings:
    iterations = entries.any("iterations")
    settings = UpdateSettings(
        optimizer=cast(Literal["lbfgs", "adam"], entries.choice("optimizer", ("lbfgs", "adam"))),
        loss=_update_loss(entries),
        iterations=None if iterations is None else entries.whole_number("iterations", 1, MAX_NUMBER),
        learning_rate=entries.number("learning_rate", MAX_NUMBER, above_0=True),
        proximal_weight=entries.number("proximal_weight", MAX_NUMBER),
        loss_threshold=_loss_threshold(entries),
        patience=entries.whole_number("patience", 0, MAX_NUMBER),
        frozen_statistics=entries.truth("frozen_statistics"),
    )
    entries.refuse_the_rest()
    return settings


def _update_loss(entries: Entries) -> Loss | None:
    """None for the base model's own; "dice+ce" is how files of version 0.1.0 name that of nnU-Net."""
    if entries.any("loss") is None:
        return None
    found = entries.choice("loss", ("dice+ce", *get_args(Loss)))
    return "dice and cross-entropy" if found == "dice+ce" else cast(Loss, found)


def _loss_threshold(entries: Entries) -> float:
    value = entries.any("loss_threshold")
    if not isinstance(value, int | float) or isinstance(value, bool) or not -MAX_NUMBER <= value <= MAX_NUMBER:
        entries.refuse("loss_threshold", value, "a number")
    return float(value)


def read_window_groups(header: Entries) -> list[list[Box]]:
    """Boxes on the network's grid; `Session.set_image` checks that they fit it."""
    groups = header.list("window_groups")
    boxes = [[_as_box(box) for box in group] if isinstance(group, list) else [] for group in groups]
    found = [box for group in boxes for box in group or [None]]
    if None in found or len(set(found)) < len(found):
        header.refuse("window_groups", groups, "lists of different boxes")
    return [[box for box in group if box is not None] for group in boxes]


def _update(update: Entries) -> UpdateReport:
    report = UpdateReport(
        loss_before=_loss(update, "loss_before"),
        loss_after=_loss(update, "loss_after"),
        evaluations=update.whole_number("evaluations", 0, MAX_NUMBER),
        stop_reason=cast(StopReason, update.choice("stop_reason", get_args(StopReason))),
    )
    update.refuse_the_rest()
    return report


def _loss(update: Entries, name: str) -> float:
    """A loss as reported; NaN or infinite where that is what the optimisation met."""
    value = update.any(name)
    if not isinstance(value, float):
        update.refuse(name, value, "a number")
    return value


def _drawn_at(record: Entries, edits: int) -> tuple[int, ...]:
    values = record.list("drawn_at")
    whole_numbers = all(type(value) is int and 0 <= value <= MAX_NUMBER for value in values)
    if not whole_numbers or len(values) not in (0, edits):
        record.refuse("drawn_at", values, f"{edits} whole number(s), one for each edit")
    return tuple(values)


def _box(entries: Entries, limits: Box) -> Box:
    """The box under "box", inside limits and not empty."""
    value = entries.any("box")
    box = _as_box(value)
    if box is None or not contains(limits, box):
        entries.refuse("box", value, f"a box inside {limits}")
    return box


def _as_box(value: object) -> Box | None:
    """Three spans of whole numbers, none of them empty; else None."""
    if not isinstance(value, list) or len(value) != 3 or not all(_is_span(span) for span in value):
        return None
    return box_of([(start, stop) for start, stop in value])


def _is_span(span: object) -> bool:
    whole_numbers = isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span)
    return whole_numbers and -MAX_NUMBER < span[0] < span[1] < MAX_NUMBER  # type: ignore[index]
