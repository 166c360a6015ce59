"""Undo and redo of a segment's propagations, in engine and segment alike, whoever pressed the button."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.session.segment_image import SegmentImage
from context_propagation.mrml.session.segment_step import SegmentStep, count_missing, segment_steps
from context_propagation.mrml.writing.segment_writer import SegmentWriter, write_flips

if TYPE_CHECKING:
    from context_propagation.core.session.session import Session


class SegmentHistory:
    """The steps of a session that were made on its segment. The session's `done` and `undone` are the only list.

    Args:
        session: The engine.
        image: The segment.
        writer: Takes back and makes again, without masks.
    """

    def __init__(self, session: Session, image: SegmentImage, writer: SegmentWriter) -> None:
        self._session, self._image, self._writer = session, image, writer
        self._left: BoxedMask | None = None  # the segment as our last write, undo or redo left it
        self._in_step: BoxedMask | None = None  # the segment when the history was last as it is now
        self._went_with: list[SegmentStep] = []  # steps that wrote nothing, undone with the one before them

    @property
    def steps(self) -> list[SegmentStep]:
        """Those that are in the segment, first to last, without those that were replayed."""
        return segment_steps(self._session.done)

    def wrote(self) -> BoxedMask:
        """We just wrote: the segment is known as it is now, which is returned."""
        self._left = self._in_step = known = self._image.last_known = self._image.read()
        return known

    def step(self, back: bool) -> None:
        """Undo or redo: first in the segment, which may refuse, then in the engine.

        Raises:
            UserInputError: There is nothing to, the segment was edited since, or the Segment Editor has it in its
                history.
        """
        word, steps = ("undo", self._session.done) if back else ("redo", self._session.undone)
        if not segment_steps(steps[-1:]):
            raise UserInputError(f"Nothing to {word}; no propagation was {'made' if back else 'undone'} on this image")
        step, known = segment_steps(steps)[-1], self._image.require_known()
        if step.in_editor:
            raise UserInputError(f"Cannot {word} this here; use {word.capitalize()} of the Segment Editor")
        if step.written is not None:
            current = self._image.read()
            self._require_unedited(current, known if back else None)
            flips = step.written if back else step.taken_back
            if flips is None:
                raise UserInputError("The Segment Editor took this back; use its Redo")
            where = self._image.node, self._image.segment_id
            drawn_since = [later.drawn_in(current) for later in segment_steps(self._session.undone)] if back else []
            box = self._image.drawn.grid.box_of_lattice(flips.box)
            for drawn in drawn_since:
                flips = flips.among(~drawn.over(box))
            flipped = write_flips(self._writer, *where, flips.backwards)
            steps[-1] = replace(step, taken_back=flipped if back else None)
            self._left = self._in_step = self._image.read()
        self._step_in_engine(back)

    def _require_unedited(self, current: BoxedMask, known: BoxedMask | None) -> None:
        """The segment is as we left it last, or as the Segment Editor brought it back after a propagation."""
        if not any(mask is not None and current.is_same(mask) for mask in (self._left, known)):
            name = self._image.node.GetName()
            raise UserInputError(f"'{name}' was edited since the last propagation; undo that edit first")

    def _step_in_engine(self, back: bool) -> None:
        """The step goes from one list of the session to the other."""
        if back:
            self._session.undo()
            self._image.last_known = segment_steps(self._session.undone)[-1].known
        else:
            self._session.redo()
            self._image.last_known = segment_steps(self._session.done)[-1].propagated

    # -- what others did

    def follow(self, current: BoxedMask) -> None:
        """Bring the engine in step where the Segment Editor's Undo or Redo was pressed, which tells no one.

        A step counts as undone where every voxel that it wrote has its old value again; one that wrote nothing goes
        with the one before it. Where the segment is just as the last one found or left it, no other one is looked at.

        Args:
            current: The segment as it is.
        """
        if self._in_step is None or not current.is_same(self._in_step):
            self._follow(current)
            self._in_step = current

    def _follow(self, current: BoxedMask) -> None:
        if any(step.left(current) for step in segment_steps(self._session.undone[-1:])):
            self._make_again()
            return
        while (count := count_missing(self.steps, current)) > 0:
            self._went_with += self.steps[len(self.steps) - count + 1 :]
            for _ in range(count):
                self._step_in_engine(back=True)
            if current.is_same(segment_steps(self._session.undone)[-1].drawn):
                return
        while any(step.is_in(current) for step in segment_steps(self._session.undone[-1:])):
            self._make_again()

    def _make_again(self) -> None:
        """The step that was undone last, and those after it that wrote nothing and went with it."""
        self._step_in_engine(back=False)
        while any(step is gone for step in self._session.undone[-1:] for gone in self._went_with):
            self._step_in_engine(back=False)
