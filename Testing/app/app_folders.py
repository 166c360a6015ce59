"""Folders for what the scripts write; they are gone when the program ends."""

import atexit
import shutil
import tempfile
from pathlib import Path


def temporary_folder(what):
    """A new empty folder whose name says what for; removed when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"context-propagation-{what}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
