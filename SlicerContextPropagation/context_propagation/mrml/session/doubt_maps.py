"""What the model holds likely, and where it is undecided: over the slice views, and as volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxes import Box
from context_propagation.mrml.nodes.map_volumes import add_map, fill_map
from context_propagation.mrml.nodes.scenes import remove_with_display
from context_propagation.mrml.nodes.segments import segment_name
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.slice_layers import show_no_more, show_over
from context_propagation.mrml.session.current_session import CurrentSession
from context_propagation.mrml.session.live_session import LiveSession
from context_propagation.mrml.session.operation import Operation

PROBABILITY, UNCERTAINTY = "probability", "uncertainty"


OVERLAY = "ContextPropagationOverlay"
"""Singleton tag of the map that is shown over the slice views."""


@dataclass(frozen=True)
class DoubtVolumes:
    """The target's probability and the model's uncertainty, as volumes; see `TargetProbability`."""

    probability: slicer.vtkMRMLScalarVolumeNode
    uncertainty: slicer.vtkMRMLScalarVolumeNode


class DoubtMaps:
    """Both, of the session that there is. What they hold: see `target_probability`.

    Args:
        scene: Where they go.
        current: Has the session.
        selection: Gives what it works on; raises `UserInputError` where that is gone.

    Attributes:
        shown: probability or uncertainty, where it is shown over the slice views; else empty.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, current: CurrentSession, selection: Callable[[], Selection]) -> None:
        self._scene, self._current, self._selection = scene, current, selection
        self._node: slicer.vtkMRMLScalarVolumeNode | None = None
        self._shown_of: tuple[Any, ...] = ()
        self.shown = ""

    def add_volumes(self) -> DoubtVolumes:
        """`volumes_operation`, run here."""
        return self.volumes_operation().run()

    def volumes_operation(self) -> Operation[DoubtVolumes]:
        """Add both to the scene as volumes; they are as of now, and do not follow later edits.

        They cover the part of the image in which the probability is not 0.

        Raises:
            UserInputError: No image is set.
        """
        selection = self._selection()

        def finish(found: _Found) -> DoubtVolumes:
            selection.require_nodes()
            of = segment_name(selection.segmentation_node, selection.segment_id)
            volumes = DoubtVolumes(
                add_map(self._scene, f"Probability of {of}"), add_map(self._scene, f"Uncertainty of {of}")
            )
            fill_map(volumes.probability, selection.volume_nodes[0], found.box, found.values[PROBABILITY])
            fill_map(volumes.uncertainty, selection.volume_nodes[0], found.box, found.values[UNCERTAINTY])
            return volumes

        return Operation("Probability", _probability_of(self._current.require_live()), finish)

    def show(self, what: str) -> None:
        """`show_operation`, run here."""
        self.show_operation(what).run()

    def show_operation(self, what: str) -> Operation[None]:
        """Show one of both over all slice views that show a volume of the session, in a layer of its own.

        It does not follow later edits: see `are_up_to_date`. The end of the session ends it.

        Args:
            what: probability or uncertainty.

        Raises:
            UserInputError: No image is set, there is no such thing to show, or Slicer's slice views are too old.
        """
        if what not in (PROBABILITY, UNCERTAINTY):
            raise UserInputError(f"'{what}' cannot be shown; choose {PROBABILITY} or {UNCERTAINTY}")
        live, selection = self._current.require_live(), self._selection()
        shown_of = _decided_by(live)

        def finish(found: _Found) -> None:
            selection.require_nodes()
            if self._current.live is not live:
                return  # it ended meanwhile, and what is shown of it with it
            if not self._is_there:
                self._node = add_map(self._scene, "Doubt", OVERLAY)
            fill_map(self._node, selection.volume_nodes[0], found.box, found.values[what])
            show_over(self._scene, self._node, selection.volume_nodes)
            self.shown, self._shown_of = what, shown_of

        return Operation("Probability", _probability_of(live), finish)

    @property
    def are_up_to_date(self) -> bool:
        """Whether what is shown is that after the edits so far."""
        live = self._current.live
        if live is None or not self._is_there:
            return False
        return all(was is now for was, now in zip(self._shown_of, _decided_by(live), strict=True))

    def follow(self) -> None:
        """Show what is shown also in slice views that came to show a volume of the session since.

        Nothing is shown any more where what the session works on is gone from the scene.
        """
        if not self._is_there:
            return
        try:
            volume_nodes = self._selection().volume_nodes
        except UserInputError:
            self.hide()
        else:
            show_over(self._scene, self._node, volume_nodes)

    def hide(self) -> None:
        """Show nothing: the slice views are as they were."""
        if self._is_there:
            show_no_more(self._scene, self._node)
            remove_with_display(self._node)
        self._node, self._shown_of, self.shown = None, (), ""

    @property
    def _is_there(self) -> bool:
        return self._node is not None and self._node.GetScene() is not None


def _decided_by(live: LiveSession) -> tuple[Any, ...]:
    """All that the probability depends on: other objects after each propagation, Undo and Redo."""
    return live.session, live.session.records, live.kept


@dataclass(frozen=True)
class _Found:
    """Both, in a box of the image."""

    box: Box
    values: dict[str, np.ndarray]


def _probability_of(live: LiveSession) -> Callable[[Progress, CancelCheck], _Found]:
    """The long part of both operations."""

    def compute(progress: Progress, cancelled: CancelCheck) -> _Found:
        progress("look for undecided slices", 0.0)
        if cancelled():
            raise Cancelled
        found = live.session.target_probability(live.kept)
        return _Found(found.box, {PROBABILITY: found.values, UNCERTAINTY: found.uncertainty})

    return compute
