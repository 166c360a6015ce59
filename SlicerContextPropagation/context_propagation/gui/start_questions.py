"""What the user is asked before an image is cached; panel and effect ask the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from context_propagation.core.image.slices import SliceEdit
from context_propagation.gui.texts import translated
from context_propagation.gui.work.messages import confirmed
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume
from context_propagation.mrml.session.start_check import StartCheck


@dataclass(frozen=True)
class Answers:
    """How to go on.

    Attributes:
        replays: The edits that the scene holds are replayed.
        keeps_drawn: Slices drawn before are left alone by propagation.
        fills: A segment that is empty is filled with the prediction.
    """

    replays: bool = False
    keeps_drawn: bool = True
    fills: bool = True


def asked(check: StartCheck, volume_node: slicer.vtkMRMLScalarVolumeNode) -> Answers | None:
    """Ask what must be asked.

    Returns:
        How to go on; None where the user would rather not.
    """
    doubts = [*check.warnings, *check.memory.messages]
    question = _("Please read this before going on:\n\n{doubts}\n\nGo on all the same?")
    if doubts and not confirmed(question.format(doubts="\n".join(doubts))):
        return None
    replayable, drawn = check.earlier.replayable, check.earlier.drawn
    if replayable is not None:
        question = _(
            "The scene holds {count} propagated edit(s) of this segment. Replay them, to go on from there? "
            "No: start from the segment as it is now."
        )
        if confirmed(question.format(count=len(replayable.propagations))):
            return Answers(replays=True)
    if not drawn:
        return Answers(fills=not (check.is_empty and check.beside and _is_for_a_missed_lesion(check.beside)))
    question = _(
        "These slices were drawn before: {slices}. Keep them as they are? "
        "Yes: no propagation changes them. No: they may be changed like any other slice."
    )
    return Answers(keeps_drawn=confirmed(question.format(slices=_listed(drawn, volume_node))))


def _is_for_a_missed_lesion(beside: Sequence[str]) -> bool:
    question = _(
        "The segment is empty, and work on {others} was started on this image before. Is it for a lesion that the "
        "model missed? Yes: it stays empty; draw one slice of the lesion, then propagate. "
        "No: it is filled with the model's prediction."
    )
    return confirmed(question.format(others=", ".join(f"'{name}'" for name in beside)))


def _listed(slices: Sequence[SliceEdit], volume_node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Slices by plane: "axial 7, 8; coronal 3"."""
    planes = planes_of_volume(volume_node)
    by_axis = {axis: [str(s.index) for s in slices if s.axis == axis] for axis in range(3)}
    return "; ".join(f"{translated(planes[axis])} {', '.join(found)}" for axis, found in by_axis.items() if found)
