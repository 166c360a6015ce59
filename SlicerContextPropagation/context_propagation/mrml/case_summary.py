"""The page for the record of the case that is worked on: read from the scene, measured and written elsewhere."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.long_imports import long_imports, no_garbage_search
from context_propagation.core.session.saved_session import SavedSession
from context_propagation.core.storage.whole_file import write_whole_text
from context_propagation.files.self_contained_page import check_page_ending
from context_propagation.mrml.nodes.segments import boxed_segment, own_segment
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import deferred_source_volume
from context_propagation.mrml.session.earlier_edits import PLACED_OTHERWISE, is_placed_as
from context_propagation.mrml.session.operation import Operation


def summary_operation(
    selection: Selection,
    saved: SavedSession,
    path: Path,
    title: str = "",
    loaded: LoadedModel | None = None,
    changed_by_hand: np.ndarray | None = None,
) -> Operation[Path]:
    """Write a case summary.

    Args:
        selection: Image and segment.
        saved: What was done to the segment.
        path: The page; its name ends in .html. One that is there is replaced when the new one is complete.
        title: What the user calls the case; empty for no name.
        loaded: The model, if one is loaded: its kind is said where it is the one that the edits were made with.
        changed_by_hand: bool `[K, J, I]`, of the session in use, if there is one.

    Raises:
        UserInputError: The path cannot be used, nodes cannot be read, volume and segment were moved relative to each
            other; when it runs, that the image is another one, a package is missing, or the file cannot be written.
    """
    where = selection.segmentation_node, selection.segment_id, selection.volume_nodes[0]
    check_page_ending(path)
    if not path.parent.is_dir():
        raise UserInputError(f"'{path}' cannot be written, as its folder does not exist; choose another place")
    if not is_placed_as(saved.place, selection):
        raise UserInputError(f"{PLACED_OTHERWISE}; put them back, or predict anew")
    volume_of, final, own = deferred_source_volume(selection.volume_nodes), boxed_segment(*where), own_segment(*where)
    kind = loaded.description.kind if loaded and loaded.model.content_hash == saved.model_sha256 else ""

    def compute(progress: Progress, cancelled: CancelCheck) -> None:
        from context_propagation.files.case_measures import Case
        from context_propagation.files.case_summary import case_summary

        progress("read", 0.0)
        volume = volume_of()
        saved.require_image(image_sha256(volume))
        by_hand = saved.protected.mask if changed_by_hand is None else changed_by_hand | saved.protected.mask
        now, since = _as_now(saved, own)
        with long_imports():  # nothing may have been predicted yet
            _import_all()
            page = case_summary(Case(volume, final.mask, now, by_hand, since, kind), title, progress, cancelled)
        if cancelled():
            raise Cancelled
        write_whole_text(path, page)

    return Operation("Case summary", compute, lambda _: path)


DRAWS_WITH = ("monai.metrics", "matplotlib.figure", "matplotlib.backends.backend_agg")
"""Their many objects would be looked through for garbage meanwhile, a tenth of a second each time."""


def _import_all() -> None:
    """Import what takes seconds the first time; where something is missing, who uses it says so."""
    if not all(package in sys.modules for package in DRAWS_WITH):
        with no_garbage_search(), suppress(ImportError):
            for package in DRAWS_WITH:
                import_module(package)


def _as_now(saved: SavedSession, own: OwnMask) -> tuple[SavedSession, int | None]:
    """The record without a propagation that was undone since; how many voxels of the segment were changed since.

    The number is None where the segment lies on another grid than then.
    """
    current = own.on(saved.own_grid)
    if current is None:
        return saved, None
    known = saved.known_in(current.mask)
    undone = None if known is saved.known else saved.edited[-1]
    now = replace(saved, propagations=tuple(done for done in saved.propagations if done is not undone))
    return now, len(OwnMask(current.grid, known).as_beside_image(current).mask.differences(current.mask))
