"""Every error since a moment: exceptions that Slicer prints and forgets, and what its log says."""

import os
import re
import sys
import traceback
from pathlib import Path

import slicer

NOISE = "CONTEXT_PROPAGATION_APP_NOISE"
"""Environment variable: a regular expression of logged errors that say nothing of us, beside those below."""

KNOWN_NOISE = re.compile(
    r"libGL|libEGL|MESA|OpenGL|QXcb|propagateSizeHints|XDG_RUNTIME_DIR|dconf|at-spi|dbus|"  # a virtual screen
    r"QNetwork|SSL|Extensions? ?Manager|extensions server|slicer-packages|"  # no network
    r"updateAllSegmentsFromMRML.*Unable to find subject hierarchy item",  # Slicer's own, as it closes a scene
    re.IGNORECASE,
)
ENTRY = re.compile(r"^\[(?P<level>[A-Z]+)\]\[(?P<origin>\w+)\]", re.MULTILINE)
LEVELS = ("ERROR", "CRITICAL", "FATAL")


class ErrorWatch:
    """Collects errors from the moment it starts."""

    def __init__(self):
        self._raised, self._log, self._read_up_to = [], _log_file(), 0
        self._hook = sys.excepthook
        sys.excepthook = self._keep  # exceptions in slots and observers come here; Slicer goes on
        self.new()  # what was logged before is nobody's

    def stop(self):
        """Collect no more."""
        sys.excepthook = self._hook

    def new(self):
        """The errors since the last call, without noise."""
        slicer.app.processEvents()  # messages of other threads wait for the event loop
        found, self._raised = self._raised + self._logged(), []
        more = os.environ.get(NOISE)
        return [e for e in found if not (KNOWN_NOISE.search(e) or (more and re.search(more, e)))]

    def _keep(self, kind, error, trace):
        self._raised.append("".join(traceback.format_exception(kind, error, trace)))
        self._hook(kind, error, trace)

    def _logged(self):
        if self._log is None or not self._log.is_file():
            return []
        with self._log.open("rb") as file:
            file.seek(self._read_up_to)
            text = file.read().decode("utf-8", "replace")
            self._read_up_to = file.tell()
        starts = [m.start() for m in ENTRY.finditer(text)]
        entries = [text[a:b].strip() for a, b in zip(starts, [*starts, len(text)][1:], strict=True)]
        return [entry for entry in entries if ENTRY.match(entry)["level"] in LEVELS]


def _log_file():
    """Slicer's log of this session: all errors of Python, Qt, VTK and ITK come there."""
    model = slicer.app.errorLogModel()
    return Path(model.filePath) if model.fileLoggingEnabled and model.filePath else None
