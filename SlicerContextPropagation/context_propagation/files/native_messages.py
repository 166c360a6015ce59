"""Messages that C++ libraries print by themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Send what is written to the process's stdout and stderr to nowhere.

    MetaIO, GDCM and Slicer write several lines there about a file that they cannot read, or that another program wrote;
    the error that is raised says it in one. Keep the block to such a read.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    saved, nowhere = [(number, os.dup(number)) for number in (1, 2)], os.open(os.devnull, os.O_WRONLY)
    for number, _ in saved:
        os.dup2(nowhere, number)
    try:
        yield
    finally:
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
