"""Output files that appear together at the end, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from context_propagation.cli.replaced_files import check_replaceable
from context_propagation.core.errors import UserInputError

TEMPORARY = ".context-propagation-"


class OutputFiles:
    """A `with` block that stages files beside their destinations; `publish` puts them there.

    Entering makes one temporary folder in each destination's folder, which shows before any work that it is writable.
    Leaving removes these folders, whatever happened.
    """

    def __init__(self, paths: Sequence[Path | None], inputs: Sequence[Path] = (), model: Path | None = None) -> None:
        """Check the destinations.

        Args:
            paths: Where files shall appear; None is left out.
            inputs: Files that must not be replaced.
            model: The folder of a model or bundle, of which no file must be replaced.

        Raises:
            UserInputError: A destination is a folder, is named twice, is an input or a file of the model, would replace
                a file of another kind or what is no regular file, or its folder is missing.
        """
        self._paths = [path for path in paths if path is not None]
        self._staged: dict[Path, Path] = {}
        self._stack = ExitStack()
        taken = [path.resolve() for path in inputs]
        for path in self._paths:
            if path.resolve() in taken or any(_same_file(path, other) for other in taken):
                raise UserInputError(f"Output '{path}' is also another file of this run; choose another name")
            if model is not None and path.exists() and model.resolve() in path.resolve().parents:
                raise UserInputError(f"Output '{path}' is a file of the model '{model}'; choose another name")
            _check_destination(path)
            check_replaceable(path)
            taken.append(path.resolve())

    def __enter__(self) -> OutputFiles:
        with ExitStack() as stack:
            for path in self._paths:
                self._staged[path] = _temporary_folder(path, stack) / path.name
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def staged(self, path: Path) -> Path:
        """Where to write the file that shall appear at `path`; it has the same name."""
        return self._staged[path]

    def publish(self) -> None:
        """Put every staged file in its place; if one fails, put back what was there before.

        Raises:
            UserInputError: A file could not be put in its place.
        """
        done: list[Path] = []
        try:
            for path, staged in self._staged.items():
                done.append(path)
                if path.exists():
                    os.replace(path, _kept(staged))
                os.replace(staged, path)
        except BaseException as error:
            for path in reversed(done):
                _put_back(path, self._staged[path])
            if isinstance(error, OSError):
                raise UserInputError(
                    f"Output '{done[-1]}' cannot be written ({error.strerror}); choose another"
                ) from error
            raise


def _same_file(path: Path, other: Path) -> bool:
    """Whether two names are one file, by hard links or a file system without case."""
    return path.exists() and other.exists() and path.samefile(other)


def _check_destination(path: Path) -> None:
    if path.is_dir():
        raise UserInputError(f"Output '{path}' is a folder; give a file name")
    if not path.parent.is_dir():
        raise UserInputError(f"Output '{path}' cannot be written: folder '{path.parent}' does not exist; create it")
    if path.exists() and not os.access(path, os.W_OK):
        raise UserInputError(f"Output '{path}' exists and is write-protected; choose another name")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left beside their destinations; call it where no other process writes there."""
    for left in folder.glob(f"{TEMPORARY}{'[0-9a-f]' * 32}"):
        shutil.rmtree(left, ignore_errors=True)


def _temporary_folder(path: Path, stack: ExitStack) -> Path:
    folder = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    stack.callback(shutil.rmtree, folder, ignore_errors=True)  # before it is made: Ctrl-C may come in between
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UserInputError(f"Output '{path}' cannot be written ({error.strerror}); choose another folder") from error
    return folder


def _kept(staged: Path) -> Path:
    return staged.with_name("previous-" + staged.name)


def _put_back(path: Path, staged: Path) -> None:
    """Undo one step of `publish`: the new file goes away, the previous one comes back."""
    if not staged.exists():
        path.unlink(missing_ok=True)
    if _kept(staged).exists():
        os.replace(_kept(staged), path)
