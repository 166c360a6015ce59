"""A session in one file: safetensors for arrays, JSON in its header for the rest; nothing in it is code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from context_propagation.core.activation_update import UpdateReport, UpdateSettings
from context_propagation.core.boxes import Box, box_of
from context_propagation.core.composition import EditRecord, NearLabels
from context_propagation.core.edited_slices import SliceEdit
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.session import Session, SessionSettings, Step
from context_propagation.core.source_volume import ArrayReorientation, SourceVolume, reorientation_to
from context_propagation.core.split_model import CancelCheck, Progress, SegmentationModel, never_cancelled, no_progress

FORMAT = "context-propagation session 1"


def save_session(session: Session, path: str | Path) -> None:
    """Write image hash, model hash, settings, segmentations, edits and history; replaces the file only when complete.

    Args:
        session: A session with an image.
        path: The file, by convention `*.safetensors`.

    Raises:
        UserInputError: No image is set, or the file cannot be written.
    """
    volume = session.volume
    safetensors = require("safetensors", extra="nnunet")
    arrays: dict[str, np.ndarray] = {}
    steps = [*session.done, *session.undone]
    header = {
        "format": FORMAT,
        "model_hash": session.model.content_hash,
        "target": session.model.target_name,
        "image_hash": _image_hash(volume, session.model),
        "settings": dataclasses.asdict(session.settings),
        "window_groups": session.cache.window_groups,
        "records": _save_records(session.records, "records", arrays),
        "done": len(session.done),
        "steps": [
            {
                "before": _save_records(step.before, f"step.{number}.before", arrays),
                "after": _save_records(step.after, f"step.{number}.after", arrays),
            }
            for number, step in enumerate(steps)
        ],
    }
    for number, step in enumerate(steps):
        arrays[f"step.{number}.flipped"], arrays[f"step.{number}.values"] = step.flipped, step.values
    for name, mask in session.masks().items():
        arrays[name] = mask
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    partial = Path(f"{path}.partial")
    try:
        require("safetensors.numpy", extra="nnunet").save_file(
            arrays, partial, metadata={"session": json.dumps(header)}
        )
        os.replace(partial, path)
    except (OSError, safetensors.SafetensorError) as error:  # the latter for a full disk or a missing folder
        partial.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise UserInputError(f"Cannot write '{path}': {reason}; choose another place") from error


def restore_session(
    path: str | Path,
    model: SegmentationModel,
    volume: SourceVolume,
    progress: Progress = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> Session:
    """Restore a saved session: the image is encoded again, the edits are not computed again.

    Raises:
        UserInputError: The file is no session, or was made with another model or image.
        Cancelled: The user cancelled.
    """
    safetensors = require("safetensors", extra="nnunet")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("session", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise UserInputError(f"'{path}' is not a saved session ({error}); choose another file") from error
    if not isinstance(header, dict):
        raise UserInputError(f"'{path}' is not a saved session; choose another file")
    try:
        _check_header(header, path, model, volume)
        return _restored(header, arrays, model, volume, progress, cancelled)
    except KeyError as error:
        raise UserInputError(f"'{path}' is damaged: it lacks {error}; choose another file") from error


def _restored(
    header: dict[str, Any],
    arrays: dict[str, np.ndarray],
    model: SegmentationModel,
    volume: SourceVolume,
    progress: Progress,
    cancelled: CancelCheck,
) -> Session:
    settings = header["settings"]
    session = Session(model, SessionSettings(**{**settings, "update": UpdateSettings(**settings["update"])}))
    groups = [[_box(box) for box in group] for group in header["window_groups"]]
    session.set_image(volume, arrays["initial"], progress, cancelled, groups)
    steps = [
        Step(
            _load_records(step["before"], f"step.{number}.before", arrays),
            _load_records(step["after"], f"step.{number}.after", arrays),
            arrays[f"step.{number}.flipped"],
            arrays[f"step.{number}.values"],
        )
        for number, step in enumerate(header["steps"])
    ]
    session.restore_state(
        arrays["segmentation"],
        arrays["manual"],
        _load_records(header["records"], "records", arrays),
        steps[: header["done"]],
        steps[header["done"] :],
    )
    return session


def _check_header(header: dict[str, Any], path: str | Path, model: SegmentationModel, volume: SourceVolume) -> None:
    if header.get("format") != FORMAT:
        raise UserInputError(f"'{path}' has format {header.get('format')!r}, not {FORMAT!r}; choose a saved session")
    if header["model_hash"] != model.content_hash:
        raise UserInputError(
            f"'{path}' was made with model {header['model_hash'][:12]}, this is {model.content_hash[:12]}; "
            "load the model that it was made with"
        )
    if header["target"] != model.target_name:
        raise UserInputError(
            f"'{path}' refines the label '{header['target']}' and the model is loaded for '{model.target_name}'; "
            "load the model for that label"
        )
    if header["image_hash"] != _image_hash(volume, model):
        raise UserInputError(
            f"'{path}' was made with another image, spacing or orientation; load the image that it was made with"
        )


def _image_hash(volume: SourceVolume, model: SegmentationModel) -> str:
    """SHA-256 of all that the network sees: voxels, spacing, reorientation; not where the patient lies."""
    reorientation = reorientation_to(volume, model.orientation) if model.orientation else ArrayReorientation()
    spacing_mm = [round(mm, 4) for mm in volume.spacing_kji_mm]
    digest = hashlib.sha256(repr((volume.channels.shape, spacing_mm, reorientation)).encode())
    digest.update(np.ascontiguousarray(volume.channels).tobytes())
    return digest.hexdigest()


def _save_records(records: tuple[EditRecord, ...], prefix: str, arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    saved = []
    for number, record in enumerate(records):
        key = f"{prefix}.{number}"
        for edit in record.edits:
            arrays[f"{key}.drawn.{edit.index}"] = edit.mask
        for count, near in enumerate(record.near):
            arrays[f"{key}.near.{count}.labels"], arrays[f"{key}.near.{count}.changed"] = near.labels, near.changed
        saved.append(
            {
                "axis": record.axis,
                "slices": [edit.index for edit in record.edits],
                "neighbours": record.neighbours,
                "near": [{"index": near.index, "box": near.box} for near in record.near],
                "updates": [dataclasses.asdict(update) for update in record.updates],
            }
        )
    return saved


def _load_records(saved: list[dict[str, Any]], prefix: str, arrays: dict[str, np.ndarray]) -> tuple[EditRecord, ...]:
    records = []
    for number, record in enumerate(saved):
        key = f"{prefix}.{number}"
        edits = tuple(SliceEdit(record["axis"], s, arrays[f"{key}.drawn.{s}"]) for s in record["slices"])
        near = tuple(
            NearLabels(
                item["index"],
                _box(item["box"]),
                arrays[f"{key}.near.{count}.labels"],
                arrays[f"{key}.near.{count}.changed"],
            )
            for count, item in enumerate(record["near"])
        )
        updates = tuple(UpdateReport(**update) for update in record["updates"])
        records.append(EditRecord(edits, record["neighbours"], near, updates))
    return tuple(records)


def _box(saved: list[list[int]]) -> Box:
    return box_of([(int(start), int(stop)) for start, stop in saved])
