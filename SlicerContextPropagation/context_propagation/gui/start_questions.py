"""What the user is asked before an image is cached; panel and effect ask the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slicer.i18n import tr as _

from context_propagation.core.image.slices import SliceEdit
from context_propagation.gui.texts import translated
from context_propagation.gui.work.messages import confirmed
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume
from context_propagation.mrml.session.put_back import Offer
from context_propagation.mrml.session.start_check import StartCheck


@dataclass(frozen=True)
class Answers:
    """How to go on.

    Attributes:
        replays: The edits that the scene holds are replayed.
        keeps_drawn: Slices drawn before are left alone by propagation.
        brings_back: Work from before Slicer stopped that the segment is to be again.
        fills: A segment that is empty is filled with the prediction.
    """

    replays: bool = False
    keeps_drawn: bool = True
    brings_back: Offer | None = None
    fills: bool = True


def asked(check: StartCheck, logic: ContextPropagationLogic) -> Answers | None:
    """Ask what must be asked.

    Returns:
        How to go on; None where the user would rather not.

    Raises:
        UserInputError: The image is not to be sent to the server that was chosen.
    """
    assert logic.selection is not None  # it was just checked
    assert logic.loaded is not None
    offers = [offer for offer in check.kept if logic.journal.is_news(offer, logic.selection)]
    left_alone = [_left_alone(offer) for offer in offers if not offer.fits]
    doubts = [*check.warnings, *check.memory.messages, *left_alone]
    question = _("Please read this before going on:\n\n{doubts}\n\nGo on all the same?")
    if doubts and not confirmed(question.format(doubts="\n".join(doubts))):
        return None
    if check.upload_question:
        logic.loaded.answer_upload(check.image_sha256, confirmed(check.upload_question))
    for offer in offers:
        if offer.fits and confirmed(_offered(offer)):
            return Answers(brings_back=offer)
        logic.journal.was_answered(offer, logic.selection)
    replayable, drawn = check.earlier.replayable, check.earlier.drawn
    if replayable is not None:
        question = _(
            "The scene holds {count} propagated edit(s) of this segment. Replay them, to go on from there? "
            "No: start from the segment as it is now."
        )
        if confirmed(question.format(count=len(replayable.edited))):
            return Answers(replays=True)
    if not drawn:
        return Answers(fills=not (check.is_empty and check.beside and _is_for_a_missed_lesion(check.beside)))
    question = _(
        "These slices were drawn or confirmed before: {slices}. Keep them as they are? "
        "Yes: no propagation changes them. No: they may be changed like any other slice."
    )
    return Answers(keeps_drawn=confirmed(question.format(slices=_listed(drawn, logic.selection))))


def bring_back(answers: Answers, logic: ContextPropagationLogic) -> Answers:
    """Put back what the user wants back; says then how to go on.

    Raises:
        UserInputError: It cannot be put back; nothing was changed.
    """
    if answers.brings_back is None:
        return answers
    return replace(answers, replays=logic.bring_back(answers.brings_back))


def brought_back(answers: Answers) -> str:
    """What the user is told of it; empty where nothing was."""
    if answers.brings_back is None:
        return ""
    text = _("Brought back: the segment is as it was at {date} ({slices}).")
    return text.format(date=answers.brings_back.work.day_and_time, slices=_counted(answers.brings_back))


def _counted(offer: Offer) -> str:
    if not offer.confirmed_slices:
        return _("drawn slices: {drawn}").format(drawn=offer.drawn_slices)
    text = _("drawn slices: {drawn}, confirmed: {confirmed}")
    return text.format(drawn=offer.drawn_slices, confirmed=offer.confirmed_slices)


def _offered(offer: Offer) -> str:
    question = _(
        "Slicer stopped before the work of {date} on this image was saved ({slices}). Bring it back? "
        "Yes: the segment becomes what it was then. No: the work stays kept."
    )
    question = question.format(date=offer.work.day_and_time, slices=_counted(offer))
    if not offer.not_replayed:
        return question
    anyway = _("If you bring it back all the same, its drawn slices stay as they are, and this model goes on from it.")
    return f"{question}\n\n{offer.not_replayed}. {anyway}"


def _left_alone(offer: Offer) -> str:
    text = _(
        "Work of {date} on this image ({slices}), from before Slicer stopped, is kept. The chosen segment "
        "is not as it was in that work, and is left alone: to bring the work back, choose a new, empty segment."
    )
    return text.format(date=offer.work.day_and_time, slices=_counted(offer))


def _is_for_a_missed_lesion(beside: Sequence[str]) -> bool:
    question = _(
        "The segment is empty, and work on {others} was started on this image before. Is it for a lesion that the "
        "model missed? Yes: it stays empty; draw one slice of the lesion, then propagate. "
        "No: it is filled with the model's prediction."
    )
    return confirmed(question.format(others=", ".join(f"'{name}'" for name in beside)))


def _listed(slices: Sequence[SliceEdit], selection: Selection) -> str:
    """Slices by plane: "axial 7, 8; coronal 3"."""
    planes = planes_of_volume(selection.volume_nodes[0])
    by_axis = {axis: [str(s.index) for s in slices if s.axis == axis] for axis in range(3)}
    return "; ".join(f"{translated(planes[axis])} {', '.join(found)}" for axis, found in by_axis.items() if found)
