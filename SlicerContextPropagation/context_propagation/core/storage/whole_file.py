"""Files and folders that appear complete, or not at all: written beside their place, then moved there in one step."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from context_propagation.core.errors import UserInputError

PARTIAL, REPLACED = ".context-propagation-partial-", ".context-propagation-replaced-"
"""Put before a name, so that the ending, by which many writers choose the format, stays."""


_writers = [""]
"""Put between the two; the last one holds."""


@contextmanager
def writing_as(writer: str) -> Iterator[None]:
    """For a process that writes what others may write at the same time: they use no unfinished file of each other."""
    _writers.append(writer)
    try:
        yield
    finally:
        _writers.remove(writer)


def _beside(path: Path) -> Path:
    return path.with_name(PARTIAL + _writers[-1] + path.name)


@contextmanager
def whole_file(path: str | Path, onto_the_disk: bool = True) -> Iterator[Path]:
    """A file that takes its place when the block ends well; until then, and else, an older one stays as it was.

    Close the file in the block: Windows moves no open one. What a killed process left is written over by the next one.

    Args:
        path: Its place; the folder exists.
        onto_the_disk: Wait until the disk has it, so that it outlives a loss of power too. Without, it outlives this
            process, however that ends.

    Yields:
        Where to write: the same folder, another name, the same ending.

    Raises:
        OSError: The file cannot be moved to its place, or was not written.
    """
    path = Path(path)
    partial = _beside(path)
    try:
        yield partial
        if onto_the_disk:
            _onto_the_disk(partial)
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole_text(path: str | Path, text: str) -> None:
    """Write a text file that appears complete, or not at all.

    Raises:
        UserInputError: It cannot be written; an older one is as it was.
    """
    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserInputError(f"Cannot write '{path}': {error.strerror or error}; choose another place") from error


def claim_folder(folder: Path, record: str, text: str = "") -> None:
    """Make a folder that says whose it is from its first moment; one that is there stays as it is.

    Of several processes that do so at once, one makes it. Read the record then, which may be another's.

    Args:
        folder: Its place.
        record: Name of the file that says it.
        text: What it says.

    Raises:
        OSError: It cannot be made.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PARTIAL, dir=folder.parent) as beside:
        made = Path(beside) / folder.name
        made.mkdir()
        (made / record).write_text(text, encoding="utf-8")
        try:
            os.rename(made, folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker
                raise


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A folder that takes its place when the block ends well; until then, and else, an older one stays as it was.

    No system replaces a folder in one step: the older one is moved aside first. A process killed in between leaves it
    there, and the next one puts it back.

    Args:
        path: Its place; the folder that it lies in exists. All of an older folder goes away.

    Yields:
        A new, empty folder beside it. Close every file in the block: Windows moves no folder with an open one.

    Raises:
        OSError: The folder cannot be made or moved.
    """
    path = Path(path)
    partial, older = _beside(path), path.with_name(REPLACED + path.name)
    if older.exists() and not path.exists():
        os.rename(older, path)
    _remove(older)
    _remove(partial)
    try:
        partial.mkdir()
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _onto_the_disk(file)
        _swap(partial, path, older)
    finally:
        _remove(partial)


def _onto_the_disk(file: Path) -> None:
    """Else a loss of power may leave the name of the new file, and none of its content."""
    with suppress(PermissionError), open(file, "rb+" if os.name == "nt" else "rb") as opened:
        os.fsync(opened.fileno())


def _swap(new: Path, path: Path, older: Path) -> None:
    if path.exists():
        os.rename(path, older)
    try:
        os.rename(new, path)
    finally:
        if older.exists() and not path.exists():
            os.rename(older, path)
    _remove(older)


def _remove(folder: Path) -> None:
    """Also where it holds read-only files, which Windows else keeps."""
    for path in (folder, *folder.rglob("*")):
        if path.exists() and not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)
