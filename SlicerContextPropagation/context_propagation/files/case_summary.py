"""The page for the record of a case: measured, drawn, and put together."""

from __future__ import annotations

from functools import partial

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import Cancelled
from context_propagation.files.case_measures import Case, case_measures
from context_propagation.files.case_page import case_page
from context_propagation.files.case_pictures import changes_png, contours_png

STAGE = "summarise"


def case_summary(
    case: Case, title: str = "", progress: Progress = no_progress, cancelled: CancelCheck = never_cancelled
) -> str:
    """The page of a case; see `case_page`.

    Args:
        case: What was done.
        title: What the user calls it; empty for no name.
        progress: Called with stage and fraction.
        cancelled: Asked before each picture.

    Raises:
        UserInputError: A package is missing.
        Cancelled: `cancelled` returned true.
    """
    progress(STAGE, 0.0)
    measures = case_measures(case)
    drawings = [
        draw for plane in measures.planes for draw in (partial(contours_png, case, plane), partial(changes_png, plane))
    ]
    pictures = []
    for number, draw in enumerate(drawings, start=1):
        if cancelled():
            raise Cancelled
        progress(STAGE, number / (len(drawings) + 1))
        pictures.append(draw())
    if cancelled():
        raise Cancelled
    return case_page(case, measures, pictures[::2], pictures[1::2], title)
