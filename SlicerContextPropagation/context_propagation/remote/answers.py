"""Wait for what a server computes: progress and Cancel meanwhile, and patience where it is gone for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.remote.connection import SILENCE_S, Connection, RecordsGone, ServerLost

Result = TypeVar("Result")

PATIENCE_S = 60.0
"""So long a server may be gone, say because it is started anew, before it is given up."""


LONGEST_PAUSE_S = 2.0


def computed(
    connection: Connection,
    path: str,
    message: Any,
    progress: Progress,
    cancelled: CancelCheck,
    enough: CancelCheck = never_cancelled,
    session: str = "",
) -> Any:
    """What comes out.

    Args:
        connection: To the server.
        path: Of what is computed.
        message: What it needs.
        progress: Called with stage and fraction.
        cancelled: Asked with each line that comes, and ten times a second while none does.
        enough: The same: whether to go on with the best so far.
        session: Address of the session that it is of, where that can be told to settle.

    Raises:
        Cancelled: `cancelled` returned true; the server stops before its next evaluation.
        UserInputError: The server refuses; the sentence is its.
        RecordsGone, SessionGone, ServerLost: See there.
    """
    told, leave = False, leaving(cancelled)
    # where it is left early, the server loses who waits for it, and stops
    with closing(connection.lines(path, message, leave)) as lines:
        for line in lines:
            if "result" in line:
                return line["result"]
            if "error" in line:
                _raise(line["error"])
            leave()
            if session and not told and enough():
                connection.ask("POST", f"{session}/settle")
                told = True
            stage, fraction = line["progress"]
            progress(str(stage), float(fraction))
    raise ServerLost("its answer ends in the middle")


def _raise(error: Any) -> None:
    kind, message = str(error["kind"]), str(error["message"])
    if kind == "cancelled":
        raise Cancelled
    if kind == "records":
        raise RecordsGone
    raise UserInputError(message)


def leaving(cancelled: CancelCheck) -> Callable[[], None]:
    """What is asked while the network is waited for."""

    def leave() -> None:
        if cancelled():
            raise Cancelled

    return leave


def reliably(
    ask: Callable[[], Result], progress: Progress, cancelled: CancelCheck, patience_s: float | None = None
) -> Result:
    """Ask again, for a while, where the server does not answer; for `PATIENCE_S`, if nothing else is said.

    Raises:
        UserInputError: It does not answer; what was drawn stays.
        Cancelled: The user cancelled.
    """
    lost_at: float | None = None
    pause = 0.1
    while True:
        try:
            return ask()
        except ServerLost as error:
            if cancelled():
                raise Cancelled from error
            silent_s = SILENCE_S if isinstance(error.__cause__, TimeoutError) else 0.0
            lost_at = lost_at or time.monotonic() - silent_s  # not since it was asked: it may have computed for long
            if time.monotonic() - lost_at > (PATIENCE_S if patience_s is None else patience_s):
                raise UserInputError(
                    f"The server does not answer ({error}); what was drawn is kept here: try again later"
                ) from error
        until = time.monotonic() + pause
        while time.monotonic() < until:
            progress("wait for the server", 0.0)
            if cancelled():
                raise Cancelled
            time.sleep(0.05)
        pause = min(LONGEST_PAUSE_S, 2 * pause)
