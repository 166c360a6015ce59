"""Clicks and seconds of the first five minutes, kept from one process to the next."""

import json

from app_report import report
from app_user import counted

WHEELS = "CONTEXT_PROPAGATION_APP_WHEELS"


def spend(seconds, answers):
    """Add the seconds, and the clicks of this process; returns all so far."""
    file = report().folder / "first_five_minutes.json"
    before = json.loads(file.read_text("utf-8")) if file.is_file() else {"seconds": 0.0, "clicks": 0}
    spent = {"seconds": before["seconds"] + seconds, "clicks": before["clicks"] + counted["clicks"] + answers}
    file.write_text(json.dumps(spent), "utf-8")
    return spent
