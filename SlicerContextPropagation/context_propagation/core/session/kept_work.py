"""The work on one segment as it was last, kept in a file for when the program dies. No name, no path, no image.

Two lines of JSON: what there is beside the session, then the session as `saved_session` writes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.drawings import find_drawing
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.session.saved_session import SavedSession, session_of

FORMAT = "context-propagation kept work 1"


@dataclass(frozen=True)
class KeptWork:
    """What was drawn and propagated in a segment.

    Attributes:
        saved: What was done; see `anonymous`.
        segment: The segment as it was last, on `saved.own_grid`: what it differs in from `saved.known` was drawn, and
            not propagated yet. Voxels that lie off the image are not in it.
        states: Of the segment before that, and then, in their order; see `state_of`.
        kept_at: UTC, ISO 8601.
    """

    saved: SavedSession
    segment: BoxedMask
    states: tuple[str, ...]
    kept_at: str

    @property
    def day_and_time(self) -> str:
        """When it was kept, where the user is."""
        return datetime.fromisoformat(self.kept_at).astimezone().strftime("%Y-%m-%d %H:%M")

    def went_on_from(self, segment: OwnMask) -> bool:
        """Whether a segment is empty, or as it once was in this work: then nothing in it was drawn otherwise."""
        there = segment.on(self.saved.own_grid)
        return segment.mask.is_empty or (there is not None and state_of(there.mask) in self.states)

    def count_slices(self) -> tuple[int, int]:
        """On how many slices of the image something was drawn, and how many others were confirmed; takes a while."""
        propagations = self.saved.propagations
        drawings = [*self.saved.kept, *(edit for done in propagations for edit in done.edits)]
        drawn = {(edit.axis, edit.index) for edit in drawings} | self._drawn_since()
        return len(drawn), len({(one.axis, one.index) for done in propagations for one in done.confirmed} - drawn)

    def _drawn_since(self) -> set[tuple[int, int]]:
        """The slices (axis, index) of the image that were drawn after the last propagation."""
        grid, known = self.saved.own_grid, self.saved.known
        if known.is_same(self.segment):
            return set()
        try:
            return {(edit.axis, edit.index) for edit in find_drawing(grid, known, self.segment).edits}
        except UserInputError:  # no plane stands out
            return {(0, index) for index in np.unique(grid.homes(known.differences(self.segment))[:, 0]).tolist()}


def state_of(mask: BoxedMask) -> str:
    """Sixteen letters that are the same for the same voxels of one grid, and for no others."""
    return hashlib.sha256(repr(mask.box).encode() + mask.bits.tobytes()).hexdigest()[:16]


def anonymous(saved: SavedSession) -> SavedSession:
    """A session without the model's path, and the segment's ID, which may be a name."""
    return replace(saved, model_path="", segment_id="")


def text_of_kept(work: KeptWork, session: str) -> str:
    """Two lines of JSON; a stroke costs the first one alone.

    Args:
        work: What is kept.
        session: `text_of` its session, made `anonymous`.
    """
    first = {
        "format": FORMAT,
        "kept_at": work.kept_at,
        "image_sha256": work.saved.image_sha256[0],
        "drawn_since": _difference(work.saved.known, work.segment).plain(),
        "states": work.states,
    }
    return f"{json.dumps(first)}\n{session}"


def kept_of(text: str, name: str, image_sha256: str, shape_kji: tuple[int, int, int]) -> KeptWork | None:
    """Read what somebody else may have written.

    Args:
        text: Of the file.
        name: The file's, for messages.
        image_sha256: Of the first channel of the image that is worked on.
        shape_kji: Its shape: no more memory than that is used for a mask.

    Returns:
        None where it is of another image.

    Raises:
        UserInputError: It is damaged, or of another format.
    """
    beginning, _, session = text.partition("\n")
    try:
        first = json.loads(beginning)
        if first["format"] != FORMAT:
            raise UserInputError(f"'{name}' has format {first['format']!r:.60}, not {FORMAT!r}")
        if first["image_sha256"] != image_sha256:
            return None
        saved = session_of(session, name, shape_kji)
        if saved.image_sha256[0] != image_sha256:
            raise UserInputError(f"'{name}' is of two images; it is damaged")
        segment = _difference(saved.known, BoxedMask.from_plain(first["drawn_since"], saved.own_grid.shape))
        datetime.fromisoformat(first["kept_at"]).astimezone()
        return KeptWork(saved, segment, tuple(str(state) for state in first["states"]), first["kept_at"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(f"'{name}' holds no work that can be brought back ({error!r:.100})") from error


def _difference(one: BoxedMask, other: BoxedMask) -> BoxedMask:
    """The voxels in which two masks differ; of that and one of them, the other one."""
    box = one.differs_within(other) or EMPTY
    return BoxedMask.placed(one.shape, box, one.over(box) ^ other.over(box))
