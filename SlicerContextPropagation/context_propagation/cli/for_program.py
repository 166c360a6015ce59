"""A command that another program runs and watches: Slicer, for one."""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from context_propagation.core.callbacks import Standing

NICENESS = 10
"""The person goes on working beside it."""


def serve_program() -> Callable[[Standing], None]:
    """Leave others the better part of the computer, and end as by Ctrl-C once standard input ends.

    It ends with the program that holds its other end, however that came to its end.

    Returns:
        What tells the program where this stands: a line of JSON on standard output.
    """
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the program was started with Ctrl-C ignored
    threading.Thread(target=_interrupt_at_the_end_of_input, daemon=True).start()
    return _tell


def _interrupt_at_the_end_of_input() -> None:
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):  # not by `sys.stdin`, whose lock Python takes at its end
            pass
    _thread.interrupt_main()


def _tell(standing: Standing) -> None:
    with suppress(OSError):  # the program is gone, and this will end too
        print(json.dumps(asdict(standing)), flush=True)
