"""What was drawn and propagated, kept in files beside the scene until it is saved or closed: for when Slicer dies."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import slicer
import vtk

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.journal_folder import JournalFolder, remove
from context_propagation.core.session.kept_work import KeptWork, anonymous, kept_of, state_of, text_of_kept
from context_propagation.core.session.saved_session import text_of
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.live_session import LiveSession
from context_propagation.mrml.session.put_back import Offer

logger = logging.getLogger(__name__)

MOST_STATES = 1000
"""Of a segment that are remembered: the last ones."""


@dataclass
class Entry:
    """What is kept of one segment.

    Attributes:
        node: Holds the segment; it is not kept alive.
        segment_id: The segment.
        image_sha256: Of the image's first channel.
        file: Where it is; None before something was drawn, and while the segmentation is saved as it is.
        states: See `KeptWork.states`.
        written: What is in the file: the segment, what it was after the last propagation, and what was done.
        session: The segment after the last propagation, and the session's text then: a stroke needs no new one.
        answered: Files from before Slicer stopped that the user was asked about for this segment.
    """

    node: Any
    segment_id: str
    image_sha256: str
    file: Path | None = None
    states: list[str] = field(default_factory=list)
    written: tuple[Any, ...] | None = None
    session: tuple[tuple[Any, ...], str] | None = None
    answered: set[Path] = field(default_factory=set)

    def is_of(self, selection: Selection, image_sha256: str) -> bool:
        """Whether it is of this segment and image."""
        same = self.node.Get() is selection.segmentation_node and self.segment_id == selection.segment_id
        return same and self.image_sha256 == image_sha256


class Journal:
    """A file for each segment that is worked on; all are removed where Slicer ends well, so what is left was lost.

    A file that cannot be written stops no one: the log says it once.

    Attributes:
        keeps: Whether something is kept; what is left from before is offered all the same.
    """

    def __init__(self) -> None:
        self.keeps = True
        self._folder: JournalFolder | None = None
        self._entries: list[Entry] = []
        self._warned: set[str] = set()

    @property
    def folder(self) -> Path | None:
        """Where the files are; None: nothing is kept, and nothing offered. Set it to begin."""
        return None if self._folder is None else self._folder.path

    @folder.setter
    def folder(self, path: Path | None) -> None:
        if path != self.folder:
            self.close()
            self._folder = None if path is None else JournalFolder(path)

    # -- keep

    def write(self, live: LiveSession) -> None:
        """Keep the segment as it is now, and what was done; nothing before something was drawn.

        Nothing is written where nothing changed. What was moved, changed or deleted since stays as it was kept last.
        """
        if self._folder is None or not self.keeps:
            return
        try:
            segment = live.propagation.read()
            written = segment, live.propagation.known, *live.history  # a confirmation changes the history alone
        except UserInputError:
            return
        entry = self._entry(live.selection, live.image_sha256)
        is_new = not _are_the_same(entry.written, written)
        drawn = entry.written is not None or live.drawings or not segment.is_same(written[1])
        if not (is_new and drawn):
            return
        state = state_of(segment)
        entry.states = [*(other for other in entry.states if other != state), state][-MOST_STATES:]
        if _is_saved(live.selection.segmentation_node):
            entry.written = written
            return
        work = KeptWork(live.record(), segment, tuple(entry.states), _now())
        if entry.session is None or not _are_the_same(entry.session[0], written[1:]):
            entry.session = written[1:], text_of(anonymous(work.saved))
        try:
            entry.file = self._folder.write(text_of_kept(work, entry.session[1]), entry.file)
            entry.written = written
        except OSError as error:
            self._warn("write", f"What is drawn cannot be kept for when Slicer dies: {error.strerror or error}")

    def tidy(self) -> None:
        """Remove what the user saved or closed since."""
        for entry in list(self._entries):
            node = entry.node.Get()
            gone = node is None or node.GetScene() is None
            if gone or _is_saved(node):
                if entry.file is not None:
                    remove(entry.file)
                entry.file = None
            if gone:
                self._entries.remove(entry)

    def close(self) -> None:
        """The end is a good one: nothing is left to be offered."""
        self._entries.clear()
        if self._folder is not None:
            self._folder.close()

    # -- offer

    @property
    def left_behind(self) -> list[Path]:
        """Files from before Slicer stopped, the newest first; those of a Slicer that runs are not among them."""
        return [] if self._folder is None else self._folder.left_behind()

    def found(self, image_sha256: tuple[str, ...], shape_kji: tuple[int, int, int]) -> tuple[Offer, ...]:
        """What was left behind on an image, the newest first; on any thread.

        A file that cannot be read stays where it is; the log says it once.

        Args:
            image_sha256: Of each channel; the first one alone says which image it is.
            shape_kji: Of the image.
        """
        folder, offers = self._folder, []
        for file in folder.left_behind() if folder else []:
            try:
                work = kept_of(folder.read(file), file.name, image_sha256[0], shape_kji)
                if work is not None:
                    not_replayed = _other_channels(work, image_sha256)
                    offers.append(Offer(file, work, *work.count_slices(), not_replayed=not_replayed))
            except (UserInputError, OSError, ValueError) as error:
                self._warn(file.name, f"'{file.name}' in the journal cannot be read and is ignored: {error}")
        return tuple(offers)

    def is_news(self, offer: Offer, selection: Selection) -> bool:
        """Whether the user was not asked about it yet for this segment: once is enough."""
        entry = self._entry(selection, offer.work.saved.image_sha256[0])
        return offer.file not in entry.answered

    def was_answered(self, offer: Offer, selection: Selection) -> None:
        """The user was asked about it, or told."""
        self._entry(selection, offer.work.saved.image_sha256[0]).answered.add(offer.file)

    def take_over(self, offer: Offer, selection: Selection) -> None:
        """What was put back is kept on, under a name of this process."""
        if self._folder is None:
            return
        entry = self._entry(selection, offer.work.saved.image_sha256[0])
        entry.states = list(dict.fromkeys([*entry.states, *offer.work.states]))
        try:
            before, entry.file = entry.file, self._folder.take_over(offer.file)
            if before is not None:
                remove(before)
        except OSError as error:
            self._warn("write", f"What was brought back cannot be kept on: {error.strerror or error}")

    def forget(self) -> None:
        """Delete all that is kept, but that of another Slicer that runs.

        Raises:
            UserInputError: Something cannot be deleted.
        """
        if self._folder is None:
            return
        for entry in self._entries:
            entry.file = None
        try:
            self._folder.forget()
        except OSError as error:
            raise UserInputError(f"Cannot delete '{error.filename}': {error.strerror or error}") from error

    # -- parts

    def _entry(self, selection: Selection, image_sha256: str) -> Entry:
        for entry in self._entries:
            if entry.is_of(selection, image_sha256):
                return entry
        node = vtk.vtkWeakReference()
        node.Set(selection.segmentation_node)
        entry = Entry(node, selection.segment_id, image_sha256)
        self._entries.append(entry)
        return entry

    def _warn(self, what: str, text: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("%s", text)


def _other_channels(work: KeptWork, image_sha256: tuple[str, ...]) -> str:
    """Why its edits cannot be replayed on an image; empty where they can."""
    try:
        work.saved.require_image(image_sha256)
    except UserInputError as error:
        return str(error)
    return ""


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _is_saved(segmentation_node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a file holds the segmentation as it is."""
    return not segmentation_node.GetModifiedSinceRead()


def _are_the_same(one: tuple[Any, ...] | None, other: tuple[Any, ...]) -> bool:
    """Whether these are the same objects: none of them changes once it is there."""
    return one is not None and len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
