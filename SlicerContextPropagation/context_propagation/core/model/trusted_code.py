"""Code in the folder of a MONAI bundle that the user trusts, importable as MONAI makes it: by `scripts.name`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOTS: list[Path] = []
"""Folders whose code was imported, the latest last."""


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Inside, the folder comes first on Python's search path; modules of other bundles are forgotten.

    Two bundles that both have `scripts` would else get each other's code. What was imported stays importable.
    """
    root = folder.resolve()
    for other in [known for known in _ROOTS if known != root]:
        for name in [name for name, module in sys.modules.items() if _lies_in(module, other)]:
            del sys.modules[name]
        _ROOTS.remove(other)
    if root not in _ROOTS:
        _ROOTS.append(root)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))


def _lies_in(module: object, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if isinstance(file, str) else list(getattr(module, "__path__", None) or [])
    return any(Path(place).is_relative_to(root) for place in places if isinstance(place, str))
