"""A session in a file; and back to work from there or from a scene: the image is cached anew, the edits replayed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, mask_of_slices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.provenance import installed_versions
from context_propagation.core.session.confirmation import confirming, idle_step
from context_propagation.core.session.saved_session import SavedPropagation, SavedSession, session_of, text_of
from context_propagation.core.session.saved_settings import read_settings
from context_propagation.core.session.step import Step
from context_propagation.core.storage.whole_file import write_whole_text

if TYPE_CHECKING:
    from context_propagation.core.model.segmentation_model import SegmentationModel
    from context_propagation.core.propagation.general_far import FarNetworks
    from context_propagation.core.session.ready_image import ReadyImage
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.session_settings import SessionSettings


def save_session(session: Session, path: str | Path, model_path: str = "") -> None:
    """Write hashes, settings, masks and drawings as JSON; replaces the file only when complete.

    Args:
        session: A session with an image. What it undid is not saved.
        path: The file, by convention `*.session.json`.
        model_path: Where its model is, for messages.

    Raises:
        UserInputError: No image is set, or the file cannot be written.
    """
    write_whole_text(path, text_of(saved_session(session, model_path)))


def restore_session(
    path: str | Path,
    model: SegmentationModel,
    volume: SourceVolume,
    progress: Progress = no_progress,
    cancelled: CancelCheck = never_cancelled,
    fusion: FarNetworks | None = None,
    begin: Callable[[SessionSettings], Session] | None = None,
) -> Session:
    """Restore a saved session: the image is cached again, and the edits are computed again.

    Args:
        path: The file.
        model: The model that it was made with.
        volume: The image that it was made with.
        progress: Called with stage and fraction.
        cancelled: Asked between steps.
        fusion: The fusion networks that it was made with, if any.
        begin: Makes a session without an image; by default one that computes here.

    Raises:
        UserInputError: The file is no session, is damaged, or was made with another model, image or fusion network.
        Cancelled: The user cancelled.
    """
    from context_propagation.core.session.session import Session

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"'{path}' is not a saved session ({error}); choose another file") from error
    saved = session_of(text, path.name, volume.shape_kji)
    fusion_sha256 = None if fusion is None else fusion.content_hash
    saved.require_made_with(model.content_hash, fusion_sha256, model.target_name, model.orientation)
    settings = read_settings(saved.settings, path)
    session = Session(model, settings, fusion) if begin is None else begin(settings)
    replay(saved, session, volume, progress, cancelled)
    return session


def saved_session(session: Session, model_path: str = "") -> SavedSession:
    """What was done in a session that no scene holds."""
    volume, scope = session.volume, NEAR_SLICES_ONLY if session.fusion is None else session.fusion.reach
    return SavedSession(
        model_path=model_path,
        model_sha256=session.model.content_hash,
        fusion_sha256=None if session.fusion is None else session.fusion.content_hash,
        label=session.model.target_name,
        orientation=session.model.orientation,
        device=str(session.model.device),
        versions=installed_versions(),
        image_sha256=image_sha256(volume),
        settings=dataclasses.asdict(session.settings),
        initial=BoxedMask.of(session.initial),
        known=BoxedMask.of(session.segmentation),
        protected=BoxedMask.of(session.changed_by_hand),
        propagations=tuple(_saved_step(step, volume.shape_kji, scope) for step in session.done),
    )


def _saved_step(step: Step, shape_kji: tuple[int, int, int], scope: str) -> SavedPropagation:
    rejected = None
    if step.rejected.size:
        points = np.stack(np.unravel_index(step.rejected, shape_kji), axis=1)
        rejected = BoxedMask.of_points(shape_kji, points)
    changed = step.changed_per_slice(shape_kji)
    said = step.made_at, scope, changed
    return SavedPropagation(step.edits, None, *said, confirmed=step.confirmed, rejected=rejected)


def replay(
    saved: SavedSession,
    session: Session,
    image: SourceVolume | ReadyImage,
    progress: Progress = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> None:
    """Do again in a new session what was done: it ends with the same segmentation, records and protected voxels.

    Args:
        saved: What was done.
        session: With the same model, settings and fusion networks.
        image: The image that it was done on.
        progress: Called with stage and fraction.
        cancelled: Asked between steps.

    Raises:
        UserInputError: It was done on another image, or the session refuses.
        Cancelled: The user cancelled.
    """
    volume = image if isinstance(image, SourceVolume) else image.volume
    saved.require_image(image_sha256(volume))
    session.set_image(image, saved.initial.mask, progress, cancelled)
    session.protect(mask_of_slices(volume.shape_kji, saved.kept))
    for done in saved.propagations:
        session.add(_step_again(done, session, progress, cancelled))
    session.accept_manual_changes(saved.own_grid.to_image(saved.known).mask)
    session.protect(saved.protected.mask)


def _step_again(done: SavedPropagation, session: Session, progress: Progress, cancelled: CancelCheck) -> Step:
    step = session.preview(done.edits, progress, cancelled).step if done.edits else idle_step(session.records)
    step = dataclasses.replace(step, made_at=done.made_at)
    if done.rejected is not None:
        step = step.rejecting(done.rejected.mask)
    return confirming(step, done.confirmed, session.settings.neighbours)
