"""Processes that a test started, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

Found = TypeVar("Found")


def waited_for(condition: Callable[[], Found], seconds: float = 240.0) -> Found:
    """What a condition says, once it says something; what it says then, where that takes too long."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs, and is not only waiting to be asked how it ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
