"""What is computed for a session, on the worker's thread: each function gives what is answered, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.session.saved_session import read_edits
from context_propagation.core.session.session import Session
from context_propagation.core.session.slice_suggestion import suggested_slices
from context_propagation.core.session.target_probability import target_probability
from context_propagation.core.wire.arrays import plain_values
from context_propagation.core.wire.previewed import plain_preview
from context_propagation.core.wire.records import read_standing
from context_propagation.server.held_session import HeldSession
from context_propagation.server.worker import Job

Plain = dict[str, Any]


@dataclass(frozen=True)
class WantedPreview:
    """Edits, and where their client's history stands.

    Attributes:
        name: New; what is computed is called after it.
        edits: The redrawn slices.
        records: See `read_standing`.
        segmentation: The mask as it is.
        protected: What no edit may write.
        spared: What these edits may not write either.
        own_contours: Whether the model's own contours are the first ones, where they were moved.
        holds: Names of all that the client may go back to.
    """

    name: str
    edits: list[Plain]
    records: Sequence[Plain]
    segmentation: Plain
    protected: Plain
    spared: Plain | None
    own_contours: bool
    holds: Sequence[str]


def start(held: HeldSession, loaded: LoadedModel, initial: Plain | None, job: Job) -> dict[str, Any]:
    """Cache the image around a first segmentation, or the model's own."""
    volume = held.volume()
    mask = None if initial is None else BoxedMask.from_plain(initial, volume.shape_kji).mask
    engine = loaded.session(held.settings)
    held.loaded = loaded
    plan = engine.set_image(volume, mask, job.progress, job.cancelled)
    held.hold_engine(engine)
    own = engine.own_contours
    return {
        "initial": BoxedMask.of(engine.initial).plain(),
        "own": None if own is None else BoxedMask.of(own).plain(),
        "plan": None
        if plan is None
        else {
            "cached_bytes": plan.cached_bytes,
            "peak_bytes": plan.peak_bytes,
            "messages": list(plan.messages),
        },
    }


def preview(held: HeldSession, wanted: WantedPreview, job: Job) -> dict[str, Any]:
    """What redrawn slices would give."""
    engine = held.require_engine()
    shape = engine.volume.shape_kji
    edits = read_edits(wanted.edits, shape)
    segmentation, protected = (BoxedMask.from_plain(one, shape).mask for one in (wanted.segmentation, wanted.protected))
    spared = None if wanted.spared is None else BoxedMask.from_plain(wanted.spared, shape).mask
    _stand(held, wanted.records, segmentation, protected, wanted.own_contours)
    held.keep([*wanted.holds, *(str(one["key"]) for one in wanted.records if one.get("key"))])
    found = engine.preview(edits, job.progress, job.cancelled, spared, job.enough)
    return plain_preview(found, held.named(found.step.after, wanted.name))


def uncertainty(held: HeldSession, records: Sequence[Plain], axis: int, job: Job) -> dict[str, Any]:
    """How undecided the model is on each slice, and which to redraw next."""
    engine = _standing(held, records)
    per_slice = engine.slice_uncertainty_mm2(axis)
    return {"per_slice_mm2": per_slice.tolist(), "suggested": suggested_slices(per_slice, engine.settings.neighbours)}


def probability(held: HeldSession, records: Sequence[Plain], drawn: list[Plain], job: Job) -> dict[str, Any]:
    """How likely the target is in each voxel."""
    engine = _standing(held, records)
    found = target_probability(engine, read_edits(drawn, engine.volume.shape_kji))
    return plain_values(found.box, found.values)


def offset(held: HeldSession, records: Sequence[Plain], job: Job) -> dict[str, Any]:
    """By how much the model's contours must move to fit what was drawn."""
    return {"offset_mm": _standing(held, records).drawn_offset_mm()}


def _standing(held: HeldSession, records: Sequence[Plain]) -> Session:
    engine = held.require_engine()
    nothing = np.zeros(engine.volume.shape_kji, bool)
    _stand(held, records, nothing, nothing, own_contours=False)
    return engine


def _stand(
    held: HeldSession, records: Sequence[Plain], segmentation: np.ndarray, protected: np.ndarray, own_contours: bool
) -> None:
    engine = held.require_engine()
    try:
        standing = read_standing(records, held.records, engine.volume.shape_kji)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError("The edits so far cannot be read; docs/server.md says how they are sent") from error
    engine.stand((), segmentation, protected)
    if own_contours:
        engine.use_own_contours()
    engine.stand(standing, segmentation, protected)
