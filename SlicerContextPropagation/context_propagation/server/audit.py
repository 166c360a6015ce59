"""A line in the log for each request."""

from __future__ import annotations

import logging
import sys

AUDIT = logging.getLogger("context_propagation.server.audit")


def audit_on_stderr() -> None:
    """Write the lines there, and nowhere else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    AUDIT.addHandler(handler)
    AUDIT.setLevel(logging.INFO)
    AUDIT.propagate = False
