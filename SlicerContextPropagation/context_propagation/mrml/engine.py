"""What the MRML layer asks of an engine and of a writer with a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.edited_slices import SliceEdit


class Engine(Protocol):
    """What is asked of `core.session.Session`; masks are bool `[K, J, I]` of the volume."""

    @property
    def segmentation(self) -> np.ndarray: ...

    def set_image(
        self, image: Any, initial: np.ndarray | None = None, progress: Progress = ..., cancelled: CancelCheck = ...
    ) -> Any: ...

    def propagate(self, edits: Sequence[SliceEdit], progress: Progress = ..., cancelled: CancelCheck = ...) -> Any: ...

    def undo(self) -> Any: ...

    def redo(self) -> Any: ...

    def discard_last(self) -> Any: ...


@runtime_checkable
class UndoableWriter(Protocol):
    """A `SegmentWriter` with a history of its own; the Segment Editor's effect has none that Python may call."""

    def undo(self) -> None: ...

    def redo(self) -> None: ...
