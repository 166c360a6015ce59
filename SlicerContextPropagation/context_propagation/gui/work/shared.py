"""What module panel and effect have in common: one logic with one model on the device, one worker thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import slicer

from context_propagation.core.device import free_device_memory
from context_propagation.gui.work.journal_choice import KEEP_MS, follow_journal_choice
from context_propagation.gui.work.profile_choice import follow_choice
from context_propagation.gui.work.runner import Runner
from context_propagation.gui.work.timer import Timer
from context_propagation.gui.work.worker import Job
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic


@dataclass(frozen=True)
class Shared:
    """One for the application.

    Attributes:
        logic: Model and session.
        runner: The worker.
        keeper: Keeps what is drawn for when Slicer dies.
        users: Called before both are let go of: each must let go too.
    """

    logic: ContextPropagationLogic
    runner: Runner
    keeper: Timer
    users: list[Callable[[], None]] = field(default_factory=list)


logger = logging.getLogger(__name__)


_shared: list[Shared] = []


def shared() -> Shared:
    """The application's, made when it is first asked for."""
    if not _shared:
        runner = Runner()
        runner.listeners.append(_free_when_idle)
        logic = ContextPropagationLogic(slicer.mrmlScene)
        follow_choice(logic.earlier_cases)
        follow_journal_choice(logic.journal)
        keeper = Timer(KEEP_MS, logic.keep_drawn)
        keeper.start()
        _shared.append(Shared(logic, runner, keeper))
        slicer.app.connect("aboutToQuit()", release)
    return _shared[0]


def release() -> None:
    """Stop what runs and free the memory: before a reload, and at the application's end."""
    while _shared:
        one = _shared.pop()
        slicer.app.disconnect("aboutToQuit()", release)
        one.keeper.close()
        try:
            for let_go in list(one.users):
                _tried(let_go)
            one.runner.close()
        finally:
            one.logic.close()


def _tried(let_go: Callable[[], None]) -> None:
    """One that fails does not keep the others."""
    try:
        let_go()
    except Exception:
        logger.exception("A panel could not let go")


def _free_when_idle(job: Job | None) -> None:
    """What a run held of the GPU is free once the run is over, whatever became of it."""
    if job is None:
        free_device_memory()
