"""What a page does with its session, on the worker's thread: each function gives what is answered, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.slices import SliceEdit, find_edited_slices
from context_propagation.core.session.saved_session import plain_edits, read_edits
from context_propagation.core.session.session import Session
from context_propagation.page.page_session import PageSession
from context_propagation.server.worker import Job

Plain = dict[str, Any]


def redrawn(held: PageSession, drawn: Plain, axis: int | None) -> Plain:
    """The slices on which a drawing is not the segmentation: they are sent back for `preview`, and kept by the page.

    Raises:
        UserInputError: Nothing was redrawn, or it is unclear on which plane.
    """
    engine = held.require_engine()
    mask = BoxedMask.from_plain(drawn, engine.volume.shape_kji).mask
    return {"edits": plain_edits(find_edited_slices(engine.segmentation, mask, axis))}


def preview(held: PageSession, edits: list[Plain], job: Job) -> Plain:
    """What redrawn slices would give; see `Session.preview`."""
    engine = held.require_engine()
    held.previewed = None
    found = engine.preview(read_edits(edits, engine.volume.shape_kji), job.progress, job.cancelled, enough=job.enough)
    result = found.result
    held.previewed = found
    return {
        "segmentation": BoxedMask.of(result.segmentation).plain(),
        "said": _said(engine, found.step.edits, result.changed_per_slice, result.scope, result.messages),
    }


def _said(
    engine: Session, edits: Sequence[SliceEdit], changed: dict[int, int], scope: str, messages: Sequence[str]
) -> list[str]:
    """A line for what changes, and those of the session."""
    axis = edits[0].axis
    others = {index: count for index, count in changed.items() if index not in {edit.index for edit in edits}}
    plane, slices = engine.volume.plane_of_axis[axis], ", ".join(str(edit.index) for edit in edits)
    on = f"The {plane} slice{'s' if len(edits) > 1 else ''} {slices} as drawn"
    if not others:
        return [f"{on}; no other slice changes ({scope})", *messages]
    voxels = sum(others.values())
    return [f"{on}; {voxels} voxels change on {len(others)} other slices ({scope})", *messages]


def apply(held: PageSession) -> Plain:
    """Do what was previewed last.

    Raises:
        UserInputError: Nothing was, or something was done since.
    """
    engine, found = held.require_engine(), held.previewed
    if found is None:
        raise UserInputError("Nothing was previewed; draw a slice and preview it first")
    held.previewed = None
    engine.add(found.step, np.array(found.result.segmentation))
    return standing(held)


def undo(held: PageSession) -> Plain:
    """Take back the last edit and its drawing."""
    return _stepped(held, Session.undo, "There is nothing to undo")


def redo(held: PageSession) -> Plain:
    """Repeat what was undone."""
    return _stepped(held, Session.redo, "There is nothing to redo")


def _stepped(held: PageSession, step: Callable[[Session], bool], nothing: str) -> Plain:
    engine = held.require_engine()
    held.previewed = None
    if not step(engine):
        raise UserInputError(nothing)
    return standing(held)


def standing(held: PageSession) -> Plain:
    """The segmentation as it is, and how many steps can be undone and redone."""
    engine = held.require_engine()
    return {
        "segmentation": BoxedMask.of(engine.segmentation).plain(),
        "done": len(engine.done),
        "undone": len(engine.undone),
    }
