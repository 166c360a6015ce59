"""A writer that is made when something is written: a run that comes to nothing leaves no node in the scene."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from context_propagation.mrml.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.segment_writer import SegmentWriter, WriteMode


class LateWriter:
    """A `SegmentWriter`.

    Args:
        make: Makes the writer.
    """

    def __init__(self, make: Callable[[], EditorLogicWriter]) -> None:
        self._make = make
        self._writer: EditorLogicWriter | None = None

    def made(self) -> EditorLogicWriter:
        """The writer."""
        if self._writer is None:
            self._writer = self._make()
        return self._writer

    def close(self) -> None:
        """Take the writer's node out of the scene, if it was made."""
        if self._writer is not None:
            self._writer.close()

    def save_state(self) -> None:
        """See `SegmentWriter`."""
        self.made().save_state()

    def modify(self, segment_id: str, modifier: slicer.vtkOrientedImageData, mode: WriteMode) -> None:
        """See `SegmentWriter`."""
        self.made().modify(segment_id, modifier, mode)

    def finish(self) -> None:
        """See `SegmentWriter`."""
        self.made().finish()


def close_own(writer: SegmentWriter) -> None:
    """Let a writer of our own take its hidden node out of the scene; others are their makers'."""
    if isinstance(writer, (EditorLogicWriter, LateWriter)):
        writer.close()
