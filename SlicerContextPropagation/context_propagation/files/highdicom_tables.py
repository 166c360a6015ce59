"""highdicom's tables of the DICOM standard, read so that other threads go on meanwhile."""

from __future__ import annotations

import functools
import importlib
import json
from types import SimpleNamespace
from typing import Any

from context_propagation.core.long_imports import no_garbage_search

TABLES = "highdicom._standard_utils"


@functools.cache
def read_tables() -> None:
    """Read the large one before highdicom does, which keeps it from then on.

    For its first object highdicom reads 22 MB of JSON in one call that holds Python's lock: an application that draws
    on another thread would stand still for half a second and more. With a hook in Python, the reader lets go of the
    lock at each JSON object. Where this version of highdicom has its tables elsewhere, it reads them by itself.
    """
    try:
        tables: Any = importlib.import_module(TABLES)
        read, own = tables.get_module_attribute_map, tables.json
    except (ImportError, AttributeError):
        return
    tables.json = SimpleNamespace(**{**vars(json), "loads": functools.partial(json.loads, object_hook=_as_it_is)})
    try:
        with no_garbage_search():
            read()
    finally:
        tables.json = own


def _as_it_is(found: dict[str, Any]) -> dict[str, Any]:
    return found
