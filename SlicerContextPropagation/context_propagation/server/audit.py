"""A line in the log for each request."""

from __future__ import annotations

import logging
import os
import sys

AUDIT = logging.getLogger("context_propagation.server.audit")


def audit_on_stderr() -> None:
    """Write the lines there, and nowhere else.

    Also while an image is read, which hides what C++ libraries print on standard error. What Python's libraries would
    log is left out: pydicom's lines hold values of headers, which are the patient's.
    """
    own = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(own)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    AUDIT.addHandler(handler)
    AUDIT.setLevel(logging.INFO)
    AUDIT.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())
