"""Messages that C++ libraries print by themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Send what is written to the process's stdout and stderr to nowhere.

    MetaIO, GDCM and Slicer write several lines there about a file that they cannot read, or that another program wrote;
    the error that is raised says it in one. Keep the block to such a read.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # None, full or closed
            stream.flush()
    with ExitStack() as stack:
        with suppress(OSError):  # an application without a console has no such files
            nowhere = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, nowhere)
            for number in (1, 2):
                _point_elsewhere(number, nowhere, stack)
        yield


def _point_elsewhere(number: int, nowhere: int, stack: ExitStack) -> None:
    """Let a file descriptor lead elsewhere until the stack is closed."""
    copy = os.dup(number)
    stack.callback(os.close, copy)
    os.dup2(nowhere, number)
    stack.callback(os.dup2, copy, number)
