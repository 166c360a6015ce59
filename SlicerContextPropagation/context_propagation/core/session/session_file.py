"""A session in one file: safetensors for arrays, JSON in its header for the rest; nothing in it is code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.axis_map import axes_towards
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.composition import EditRecord
from context_propagation.core.propagation.fusion_network import Fusion
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_values import (
    CHOOSE_ANOTHER,
    RecordReader,
    SavedArrays,
    read_settings,
    read_window_groups,
)
from context_propagation.core.storage.checked_entries import Entries
from context_propagation.core.storage.whole_file import whole_file

FORMAT = "context-propagation session 2"


def save_session(session: Session, path: str | Path) -> None:
    """Write hashes, settings, segmentations, edits and history; replaces the file only when complete.

    Args:
        session: A session with an image.
        path: The file, by convention `*.safetensors`.

    Raises:
        UserInputError: No image is set, or the file cannot be written.
    """
    volume = session.volume
    safetensors = require("safetensors", extra="nnunet")
    arrays = _SharedArrays()
    steps = [*session.done, *session.undone]
    header = {
        "format": FORMAT,
        "model_hash": session.model.content_hash,
        "fusion_hash": None if session.fusion is None else session.fusion.content_hash,
        "target": session.model.target_name,
        "image_hash": _image_hash(volume, session.model),
        "settings": dataclasses.asdict(session.settings),
        "window_groups": session.cache.window_groups,
        "records": _save_records(session.records, arrays),
        "done": len(session.done),
        "steps": [
            {"before": _save_records(step.before, arrays), "after": _save_records(step.after, arrays)} for step in steps
        ],
    }
    named = arrays.named()
    for number, step in enumerate(steps):
        named[f"step.{number}.flipped"], named[f"step.{number}.values"] = step.flipped, step.values
    named |= session.masks()
    named = {name: np.ascontiguousarray(array) for name, array in named.items()}
    save = require("safetensors.numpy", extra="nnunet").save_file
    try:
        with whole_file(path) as partial:
            save(named, partial, metadata={"session": json.dumps(header)})
    except (OSError, safetensors.SafetensorError) as error:  # the latter for a full disk or a missing folder
        reason = getattr(error, "strerror", None) or error
        raise UserInputError(f"Cannot write '{path}': {reason}; choose another place") from error


def restore_session(
    path: str | Path,
    model: SegmentationModel,
    volume: SourceVolume,
    progress: Progress = no_progress,
    cancelled: CancelCheck = never_cancelled,
    fusion: Fusion | None = None,
) -> Session:
    """Restore a saved session: the image is encoded again, the edits are not computed again.

    Args:
        path: The file.
        model: The model that it was made with.
        volume: The image that it was made with.
        progress: Called with stage and fraction.
        cancelled: Asked between steps.
        fusion: The fusion networks that it was made with, if any.

    Raises:
        UserInputError: The file is no session, is damaged, or was made with another model, image or fusion network.
        Cancelled: The user cancelled.
    """
    path = Path(path)
    safetensors = require("safetensors", extra="nnunet")
    try:
        with safetensors.safe_open(path, framework="numpy") as opened:
            header = Entries(path, _read_header(opened), CHOOSE_ANOTHER)
            _check_header(header, path, model, volume, fusion)
            arrays = SavedArrays(path, opened)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserInputError(f"'{path}' is not a saved session ({error}); choose another file") from error
    return _restored(header, arrays, model, volume, progress, cancelled, fusion)


def _read_header(opened: Any) -> object:
    """The JSON in the header of an opened file."""
    try:
        return json.loads((opened.metadata() or {}).get("session", "{}"))
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"


def _restored(
    header: Entries,
    arrays: SavedArrays,
    model: SegmentationModel,
    volume: SourceVolume,
    progress: Progress,
    cancelled: CancelCheck,
    fusion: Fusion | None,
) -> Session:
    settings = read_settings(header.object("settings"))
    masks = {name: arrays.take(name, bool, volume.shape_kji) for name in ("initial", "segmentation", "manual")}
    groups = read_window_groups(header)
    try:
        session = Session(model, settings, fusion)
        session.set_image(volume, masks["initial"], progress, cancelled, groups)
    except UserInputError as error:
        raise UserInputError(f"'{arrays.file}' cannot be restored: {error}") from error
    reader = RecordReader(arrays, volume.shape_kji, session.cache)
    steps = reader.steps(header)
    done = header.whole_number("done", 0, len(steps))
    records = reader.records(header, "records")
    session.restore_state(masks["segmentation"], masks["manual"], records, steps[:done], steps[done:])
    return session


def _check_header(
    header: Entries, path: Path, model: SegmentationModel, volume: SourceVolume, fusion: Fusion | None
) -> None:
    found = header.any("format") if "format" in header else None
    if found != FORMAT:
        raise UserInputError(f"'{path}' has format {found!r:.100}, not {FORMAT!r}; choose a saved session")
    made_with = header.text("model_hash")
    if made_with != model.content_hash:
        raise UserInputError(
            f"'{path}' was made with model {made_with[:12]}, this is {model.content_hash[:12]}; "
            "load the model that it was made with"
        )
    _check_fusion_hash(None if header.any("fusion_hash") is None else header.text("fusion_hash"), path, fusion)
    target = header.text("target")
    if target != model.target_name:
        raise UserInputError(
            f"'{path}' refines the label '{target:.100}' and the model is loaded for '{model.target_name}'; "
            "load the model for that label"
        )
    if header.text("image_hash") != _image_hash(volume, model):
        raise UserInputError(
            f"'{path}' was made with another image, spacing or orientation; load the image that it was made with"
        )


def _check_fusion_hash(saved: str | None, path: Path, fusion: Fusion | None) -> None:
    if saved == (None if fusion is None else fusion.content_hash):
        return
    made = "without a fusion network" if saved is None else f"with fusion network {saved[:12]}"
    given = "none is given" if fusion is None else f"{fusion.content_hash[:12]} is given"
    remedy = "leave it out" if saved is None else "load the one that it was made with"
    raise UserInputError(f"'{path}' was made {made} and {given}; {remedy}")


def _image_hash(volume: SourceVolume, model: SegmentationModel) -> str:
    """SHA-256 of all that the network sees: voxels, spacing, reorientation; not where the patient lies."""
    reorientation = axes_towards(volume, model.orientation)
    spacing_mm = [round(mm, 4) for mm in volume.spacing_kji_mm]
    digest = hashlib.sha256(repr((volume.channels.shape, spacing_mm, reorientation)).encode())
    digest.update(np.ascontiguousarray(volume.channels).tobytes())
    return digest.hexdigest()


class _SharedArrays:
    """Arrays to save, each once: records before and after a step share most of theirs."""

    def __init__(self) -> None:
        self._arrays: dict[int, np.ndarray] = {}
        self._names: dict[int, str] = {}

    def name(self, array: np.ndarray) -> str:
        """The name under which an array is saved."""
        self._arrays[id(array)] = array
        return self._names.setdefault(id(array), f"array.{len(self._names)}")

    def named(self) -> dict[str, np.ndarray]:
        return {self._names[key]: array for key, array in self._arrays.items()}


def _save_records(records: tuple[EditRecord, ...], arrays: _SharedArrays) -> list[dict[str, Any]]:
    return [_save_record(record, arrays) for record in records]


def _save_record(record: EditRecord, arrays: _SharedArrays) -> dict[str, Any]:
    far = record.far
    return {
        "edits": [{"axis": e.axis, "index": e.index, "mask": arrays.name(e.mask)} for e in record.edits],
        "drawn_at": record.drawn_at,
        "neighbours": record.neighbours,
        "near": [
            {"index": n.index, "box": n.box, "labels": arrays.name(n.labels), "changed": arrays.name(n.changed)}
            for n in record.near
        ],
        "updates": [dataclasses.asdict(update) for update in record.updates],
        "features": [
            {"window": f.window, "fold": f.fold, "box": f.box, "values": arrays.name(f.values)} for f in record.features
        ],
        "far": None if far is None else {"box": far.box, "margins": arrays.name(far.margins)},
    }
