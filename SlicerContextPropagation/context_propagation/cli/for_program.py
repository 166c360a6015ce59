"""A command that another program runs and watches: Slicer, for one."""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from context_propagation.core.callbacks import Standing
from context_propagation.core.optional_dependency import require

NICENESS = 10
"""The person goes on working beside it."""


SECONDS_BETWEEN_LINES = 0.5


def serve_program() -> Callable[[Standing], None]:
    """Leave others the better part of the computer, and end as by Ctrl-C once standard input ends.

    It ends with the program that holds its other end, however that came to its end.

    Returns:
        What tells the program where this stands: a line of JSON on standard output.
    """
    psutil = require("psutil", "cli")
    psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", NICENESS))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the program was started with Ctrl-C ignored
    threading.Thread(target=_interrupt_at_the_end_of_input, daemon=True).start()
    return _Teller()


def _interrupt_at_the_end_of_input() -> None:
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):  # not by `sys.stdin`, whose lock Python takes at its end
            pass
    _thread.interrupt_main()


class _Teller:
    """Says a standing where it is another stage, or a while after the last one: hours are no million lines."""

    def __init__(self) -> None:
        self._stage, self._at = "", 0.0

    def __call__(self, standing: Standing) -> None:
        now = time.monotonic()
        if standing.stage != self._stage or now - self._at >= SECONDS_BETWEEN_LINES:
            self._stage, self._at = standing.stage, now
            with suppress(OSError):  # the program is gone, and this will end too
                print(json.dumps(asdict(standing)), flush=True)
