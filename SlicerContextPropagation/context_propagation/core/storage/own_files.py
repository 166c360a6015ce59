"""Files of a folder that somebody else may have made: ordinary ones, inside it."""

from __future__ import annotations

from pathlib import Path

from context_propagation.core.errors import UserInputError


def refuse_foreign_file(folder: Path, file: Path) -> None:
    """Refuse what would be read from elsewhere, or never end.

    Args:
        folder: Where the file shall lie, at any depth.
        file: What will be read.

    Raises:
        UserInputError: It is missing, a pipe, device or folder, or a link that leaves the folder.
    """
    if not file.exists():
        raise UserInputError(f"'{file}' is missing; copy the folder again from where it was made")
    if not file.is_file():
        raise UserInputError(f"'{file}' is no ordinary file; put a copy of the file in its place")
    refuse_link_out_of(folder, file)


def refuse_link_out_of(folder: Path, inside: Path) -> None:
    """Refuse a file or folder that only seems to lie in a folder.

    Raises:
        UserInputError: It, or a folder on the way to it, is a link that leaves the folder.
    """
    if not inside.resolve().is_relative_to(folder.resolve()):
        raise UserInputError(f"'{inside}' is a link that leaves '{folder}'; put a copy in its place")


def refuse_links_out_of(folder: Path) -> None:
    """See `refuse_link_out_of`, for all that lies in a folder.

    Raises:
        UserInputError: Something in it is a link that leaves it.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            refuse_link_out_of(folder, path)
