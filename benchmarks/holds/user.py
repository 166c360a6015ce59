"""What a user does with panel and effect, each thing a step that is timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from holds.large_case import add_ct, phantom_voxels
from holds.turns import Turns

EFFECT = "Propagate Edit"
LOOK_SECONDS = 1.2
"""Two looks of the panel, and some."""


class User(ABC):
    """Somebody with a CT in Slicer.

    Args:
        application: The stand-in for Slicer, started, with our module loaded.
        turns: Times the steps.
        folder: For files.
        shape_kji: Of the CT.
    """

    def __init__(self, application: Any, turns: Turns, folder: Path, shape_kji: tuple[int, int, int]) -> None:
        self.application, self.turns, self.folder, self.shape_kji = application, turns, folder, shape_kji
        self.module: Any = None

    @abstractmethod
    def work(self) -> None:
        """All steps, in their order."""

    def load_ct(self) -> None:
        """A phantom in a large field of view; what is true of it is `truth`."""
        self.voxels, self.truth = phantom_voxels(self.shape_kji)
        self.ct = add_ct(self.application.scene, self.voxels)

    # -- steps

    def step(self, name: str, act: Callable[[], object], until: Callable[[], bool] | None = None) -> None:
        """In the panel: until nothing runs, and two looks of it longer."""
        self.turns.step(name, act, until or self.idle, LOOK_SECONDS)
        self.require_no_error()

    def not_timed(self, act: Callable[[], object]) -> None:
        """Something in between that is Slicer's, or no step of a user's; until nothing runs."""
        from as_a_user import process_events

        act()
        process_events(until=self.idle, at_most=600)
        process_events(seconds=LOOK_SECONDS / 2)

    def stroke(self, offset: int) -> None:
        """A stroke that brings a slice closer to the truth. Painting itself is Slicer's, and is not timed."""
        index = self.index(offset)
        painted = np.zeros(self.shape_kji, bool)
        painted[index] = self.truth[index]
        self.application.answers += [True] * 5
        self.editor.paint(painted)

    def index(self, offset: int) -> int:
        """A slice beside the one with most of the GTV."""
        return int(self.truth.sum(axis=(1, 2)).argmax()) + offset

    def look_at(self, offset: int) -> None:
        """Move the slice views."""
        from context_propagation.gui.slice_views import jump_to_slice

        jump_to_slice(self.ct, 0, self.index(offset))

    def require_no_error(self) -> None:
        """A step that was refused measures nothing."""
        errors = self.application.texts("error")
        assert not errors, errors

    # -- what there is

    def open_editor(self) -> None:
        """The Segment Editor."""
        self.editor = self.application.segment_editor()

    def open_module(self) -> None:
        """The panel."""
        self.module = self.application.open_module("ContextPropagation")

    def edit(self, segmentation: Any, segment_id: str) -> None:
        """Choose a segment in the Segment Editor."""
        self.editor.setSegmentation(segmentation)
        self.editor.setVolume(self.ct)
        self.editor.selectSegment(segment_id)

    @property
    def ui(self) -> Any:
        return self.module.panel.inputs._ui

    @property
    def effect(self) -> Any:
        return self.editor.effects[EFFECT].self().panel

    @property
    def logic(self) -> Any:
        from context_propagation.gui.work.shared import shared

        return shared().logic

    def idle(self) -> bool:
        """Whether nothing runs."""
        from context_propagation.gui.work.shared import shared

        return not shared().runner.busy

    def leave(self) -> None:
        """Slicer's end."""
        from context_propagation.gui.work.shared import release

        if self.module is not None:
            self.module.cleanup()
        release()


def nothing() -> None:
    """What follows comes from events."""


def at_once() -> bool:
    """For a step that is over when it returns."""
    return True
