"""Waiting for another thread or process while the application goes on living."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import qt
import slicer

Result = TypeVar("Result")


PAUSE_SECONDS = 0.02
"""Slept in Python, which lets other threads run: Slicer's event loop does not."""


def wait_until(done: Callable[[], bool], user_may_act: bool = False) -> None:
    """Let the application work until something is done.

    Args:
        done: Asked again and again.
        user_may_act: Whether clicks and keys are handled meanwhile: for a button that cancels.
    """
    flags = qt.QEventLoop.AllEvents if user_may_act else qt.QEventLoop.ExcludeUserInputEvents
    while not done():
        slicer.app.processEvents(flags)
        time.sleep(PAUSE_SECONDS)


def computed(function: Callable[[], Result]) -> Result:
    """What a function gives that knows no MRML, VTK or Qt; it runs on a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(function)
        wait_until(future.done)
        return future.result()
