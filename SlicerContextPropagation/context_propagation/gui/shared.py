"""What module panel and effect have in common: one logic with one model on the device, one worker thread."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from context_propagation.gui.runner import Runner
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic


@dataclass(frozen=True)
class Shared:
    """One for the application."""

    logic: ContextPropagationLogic
    runner: Runner


_shared: list[Shared] = []


def shared() -> Shared:
    """The application's, made when it is first asked for."""
    if not _shared:
        _shared.append(Shared(ContextPropagationLogic(slicer.mrmlScene), Runner()))
    return _shared[0]


def release() -> None:
    """Stop what runs and free the memory: before a reload, and at the application's end."""
    while _shared:
        one = _shared.pop()
        one.runner.close()
        one.logic.close()
