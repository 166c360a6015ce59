"""What a Slicer that died leaves of the journal, without killing the one that runs the tests."""

import shutil
from pathlib import Path


def leave_behind(logic, number: int = 0) -> Path:
    """A copy of what is kept now, as of a process that no longer holds a lock."""
    logic.keep_drawn()
    (own,) = (file for file in logic.journal.folder.glob("*.json") if file not in logic.journal.left_behind)
    return Path(shutil.copy(own, own.with_name(f"{number:032x}.1.journal.json")))
