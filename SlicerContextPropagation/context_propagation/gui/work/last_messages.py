"""What the user was told last, without names and paths: a part of the problem report."""

from __future__ import annotations

import re
import traceback
from collections import deque
from pathlib import Path

MESSAGES: deque[str] = deque(maxlen=10)
"""Oldest first."""


LEFT_OUT = "…"


FRAMES = 5
"""Of an error that nobody foresaw, the last ones."""


_QUOTED = re.compile(r"'.*'|\".*\"")
"""From the first quotation mark of a line to its last: a name may hold one."""


_PATH = re.compile(r"\S*[\\/](?:.*[\\/])?\S*")
"""From the first path of a line to its last: a folder's name may hold spaces."""


def told(message: str) -> None:
    """Keep what the user was told."""
    if message:
        MESSAGES.append(without_names(message))


def failed(error: BaseException) -> None:
    """Keep what nobody foresaw: its kind, and in which functions; its own words may be anybody's, and are left out."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    MESSAGES.append(f"{type(error).__name__} at {places}")


def without_names(text: str) -> str:
    """The text without what stands between quotation marks, and without paths; our messages quote all names."""
    return _PATH.sub(LEFT_OUT, _QUOTED.sub(f"'{LEFT_OUT}'", text))
