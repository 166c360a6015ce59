"""Models of commands that are run one after another in this process: each is loaded once."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel


def load_once(folder: Path, *arguments: Any) -> LoadedModel:
    """As `load_model`; the same frozen networks where just these files were loaded so before."""
    files = [(file, file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(folder.rglob("*"))]
    loaded = _loaded(tuple(files), folder, *arguments)
    return replace(loaded, model=copy.copy(loaded.model))


@functools.lru_cache(maxsize=8)
def _loaded(files: tuple[tuple[Path, int, int], ...], folder: Path, *arguments: Any) -> LoadedModel:
    return load_model(folder, *arguments)
