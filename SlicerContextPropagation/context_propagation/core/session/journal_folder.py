"""A folder of files that a process removes when it ends well: those that are left are of processes that died."""

from __future__ import annotations

import re
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from context_propagation.core.storage.own_files import refuse_foreign_file
from context_propagation.core.storage.whole_file import PARTIAL, whole_file

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

KEPT_DAYS = 30
MOST_BYTES = 500_000_000
_NAME = re.compile(rf"(?:{re.escape(PARTIAL)})?([0-9a-f]{{32}})(?:\.\d+\.journal\.json|\.lock)")


class JournalFolder:
    """Who writes there holds a lock on a file of its own, which the system lets go of however the process ends.

    Args:
        path: The folder; it is made with the first file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token, self._count = uuid.uuid4().hex, 0
        self._lock: BinaryIO | None = None

    def write(self, text: str, file: Path | None = None) -> Path:
        """Write a file of this process, whole or not at all; not waiting for the disk.

        Args:
            text: Its content.
            file: Which one; None for a new one.

        Raises:
            OSError: It cannot be written.
        """
        self._hold_lock()
        file = file or self._new_file()
        with whole_file(file, onto_the_disk=False) as partial:
            partial.write_text(text, encoding="utf-8")
        return file

    def read(self, file: Path) -> str:
        """The text of a file that somebody else may have put there.

        Raises:
            UserInputError: It is no ordinary file of this folder.
            OSError: It cannot be read, or is far too large.
            UnicodeDecodeError: It is no text.
        """
        refuse_foreign_file(self.path, file)
        if file.stat().st_size > MOST_BYTES:
            raise OSError("it is far too large")
        return file.read_text(encoding="utf-8")

    def left_behind(self) -> list[Path]:
        """Files of processes that are no more, the newest first; those that are older than 30 days are removed."""
        alive: dict[str, bool] = {}
        found = []
        for file, token in self._files():
            if alive.setdefault(token, self._is_alive(token)):
                continue
            written = when_written(file)
            if time.time() - written > KEPT_DAYS * 24 * 3600:
                remove(file)
            elif file.name.startswith(token) and file.suffix == ".json":
                found.append((written, file))
        return [file for _, file in sorted(found, reverse=True)]

    def take_over(self, file: Path) -> Path:
        """Make a file of a process that is no more one of this process; returns its new place.

        Raises:
            OSError: It cannot be moved, as another process was quicker.
        """
        self._hold_lock()
        return file.replace(self._new_file())

    def forget(self) -> None:
        """Remove all files but those of other processes that run.

        Raises:
            OSError: One cannot be removed.
        """
        alive: dict[str, bool] = {self._token: False}
        for file, token in self._files():
            if file.suffix == ".json" and not alive.setdefault(token, self._is_alive(token)):
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """The end is a good one: remove the files of this process."""
        for file, token in self._files():
            if token == self._token and file.suffix == ".json":
                remove(file)
        if self._lock is not None:
            self._lock.close()  # before it is removed, as Windows has it
            self._lock = None
            remove(self._lock_file(self._token))
            with suppress(OSError):
                self.path.rmdir()  # where it is empty

    # -- parts

    def _files(self) -> Iterator[tuple[Path, str]]:
        """Those of our names, and of which process they are; other files are none of ours."""
        with suppress(OSError):
            for file in sorted(self.path.iterdir()):
                name = _NAME.fullmatch(file.name)
                if name is not None:
                    yield file, name[1]

    def _new_file(self) -> Path:
        self._count += 1
        return self.path / f"{self._token}.{self._count}.journal.json"

    def _lock_file(self, token: str) -> Path:
        return self.path / f"{token}.lock"

    def _hold_lock(self) -> None:
        if self._lock is None or not self._lock_file(self._token).exists():  # somebody may have removed the folder
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = open(self._lock_file(self._token), "ab")  # noqa: SIM115  (it is held until `close`)
            if not _takes(lock):
                lock.close()
                raise OSError("files cannot be locked there")
            self._lock = lock

    def _is_alive(self, token: str) -> bool:
        """Whether a process holds its lock; where nobody can know, it counts as alive."""
        if token == self._token:
            return True
        try:
            with open(self._lock_file(token), "r+b") as lock:
                return not _takes(lock)
        except FileNotFoundError:
            return False
        except OSError:
            return True


def remove(file: Path) -> None:
    """Remove a file, if that can be done."""
    with suppress(OSError):
        file.unlink(missing_ok=True)


def when_written(file: Path) -> float:
    """As `time.time()` counts; 0 where it is gone."""
    try:
        return file.lstat().st_mtime
    except OSError:
        return 0.0


def _takes(lock: BinaryIO) -> bool:
    """Lock an open file until it is closed; False where another one holds it."""
    if sys.platform == "win32":
        try:
            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    else:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
