"""Messages that C++ libraries print by themselves."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

_lock = threading.Lock()
_blocks = 0
_back = ExitStack()
"""What leads the file descriptors back, while some block is open."""


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Send what is written to the process's stdout and stderr to nowhere.

    MetaIO, GDCM and Slicer write several lines there about a file that they cannot read, or that another program wrote;
    the error that is raised says it in one. Keep the block to such a read. Blocks of several threads may overlap: all
    is as before when the last one ends.
    """
    global _blocks
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # None, full or closed
            stream.flush()
    with _lock:
        _blocks += 1
        if _blocks == 1:
            _hide(_back)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0:
                _back.close()


def _hide(stack: ExitStack) -> None:
    with suppress(OSError):  # an application without a console has no such files
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for number in (1, 2):
            _point_elsewhere(number, nowhere, stack)


def _point_elsewhere(number: int, nowhere: int, stack: ExitStack) -> None:
    """Let a file descriptor lead elsewhere until the stack is closed."""
    copy = os.dup(number)
    stack.callback(os.close, copy)
    os.dup2(nowhere, number)
    stack.callback(os.dup2, copy, number)
