"""The files of a folder that count: those that somebody put there, not what systems and editors leave by themselves."""

from __future__ import annotations

from pathlib import Path

LEFT_BY_SYSTEMS = ("__pycache__", "thumbs.db", "desktop.ini")
"""Of a file, or of a folder that it lies in; in small letters."""


def counted_files(folder: Path, pattern: str = "*") -> list[Path]:
    """All files below a folder, in order; not `.DS_Store` and other hidden ones, `Thumbs.db`, caches of Python, backups
    of editors (`name~`).

    Args:
        folder: Where to look, and in all folders in it.
        pattern: Of the names.
    """
    found = sorted(file for file in folder.rglob(pattern) if file.is_file())
    return [file for file in found if not any(_is_left(name) for name in file.relative_to(folder).parts)]


def _is_left(name: str) -> bool:
    return name.startswith(".") or name.endswith("~") or name.lower() in LEFT_BY_SYSTEMS
