"""A folder whose files are in memory: images that a browser sends are never written to a disk."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from context_propagation.core.errors import UserInputError

IN_MEMORY = Path("/dev/shm")  # nosec B108: a folder of one's own is made in it, under a name that nobody can guess
"""Of Linux; it is gone when the computer is switched off."""


PREFIX, LEFT_S = "context-propagation-", 3600.0


@contextmanager
def memory_folder(needed_bytes: int = 0) -> Iterator[Path]:
    """A folder of one's own, which nobody else can read; it is emptied and removed in the end.

    Args:
        needed_bytes: That will be written.

    Raises:
        UserInputError: The system has none, or it has too little room.
    """
    remove_left()
    if not IN_MEMORY.is_dir():
        raise UserInputError(
            "This server's system has no folder in memory (/dev/shm), and images are not written to a disk; use a "
            "server on Linux"
        )
    free = shutil.disk_usage(IN_MEMORY).free
    if needed_bytes > free:
        raise UserInputError(
            f"The files need {needed_bytes / 2**20:.0f} MiB and the server's folder in memory (/dev/shm) has "
            f"{free / 2**20:.0f} MiB; tell the one who runs it (in Docker: --shm-size)"
        )
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=IN_MEMORY) as folder:
        yield Path(folder)


def remove_left() -> None:
    """Remove what servers left that were killed while they read: folders that nobody wrote into for an hour."""
    for left in IN_MEMORY.glob(PREFIX + "*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_S:
                shutil.rmtree(left, ignore_errors=True)
