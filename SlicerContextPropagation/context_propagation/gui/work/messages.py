"""What the user is told and asked: one sentence, and the rest under "details"."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import slicer
import slicer.util
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.work.last_messages import failed, told

logger = logging.getLogger(__name__)


TITLE = "Context Propagation"


def show_error(error: BaseException) -> None:
    """Tell the user what is wrong and what to do; what nobody foresaw comes with its traceback under "details"."""
    details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, UserInputError):
        told(str(error))
        slicer.util.errorDisplay(str(error), windowTitle=TITLE)
        return
    failed(error)
    logger.error(details)
    slicer.util.errorDisplay(
        _("Something went wrong that was not foreseen. The segmentation was not changed by it. Details can be copied."),
        windowTitle=TITLE,
        detailedText=details,
    )


def confirmed(question: str) -> bool:
    """Whether the user says yes."""
    return bool(slicer.util.confirmYesNoDisplay(question, windowTitle=TITLE))


def trusted(question: str) -> bool:
    """Whether the user says yes to what nobody else may say yes to; no where Slicer answers by itself."""
    return not slicer.app.testingEnabled() and confirmed(question)


def guarded(act: Callable[[], None], afterwards: Callable[[], None]) -> Callable[[], None]:
    """An action of a button: what it raises is told to the user, and then the widgets are brought in step."""

    def run() -> None:
        for step in (act, afterwards):
            try:
                step()
            except Exception as error:  # whatever it is, the user must see it
                show_error(error)

    return run
