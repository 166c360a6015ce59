"""What a run leaves behind: a line before and after each step, a picture, a table, and the stack of a crash.

Every line is on the disk before the step begins, so that a run that ends early tells where.
"""

import faulthandler
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = "CONTEXT_PROPAGATION_APP_OUTPUT"
"""Environment variable: where the log and the pictures go; by default a new folder in the system's temporary one."""

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


@dataclass(frozen=True)
class Row:
    """What became of a step.

    Attributes:
        test: Script and method.
        step: What was done.
        state: Passed, failed or skipped.
        seconds: How long it took.
        hold: The longest time, in seconds, that one action or one turn of the event loop held the main thread.
        own: The longest time of our own functions in one action or turn.
        held_by: What did so, where it was longer than a tenth of a second.
        why: Why it failed or was skipped.
    """

    test: str
    step: str
    state: str
    seconds: float = 0.0
    hold: float = 0.0
    own: float = 0.0
    held_by: str = ""
    why: str = ""


class Report:
    """Log, rows and pictures in one folder."""

    def __init__(self, folder):
        self.folder, self.rows, self._pictures = Path(folder), [], 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log = (self.folder / "steps.log").open("a", encoding="utf-8")
        self._rows = (self.folder / "steps.jsonl").open("a", encoding="utf-8")
        self._crash = (self.folder / "crash.log").open("a", encoding="utf-8")
        faulthandler.enable(self._crash)  # a crash, or the outer runner's SIGABRT, writes where Python was

    def say(self, text):
        """Write a line to the log, and to the disk, at once."""
        self._log.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self._log.flush()
        os.fsync(self._log.fileno())

    def began(self, test, step):
        """A step begins."""
        self.say(f"BEGINS {test}: {step}")

    def ended(self, row):
        """A step has ended."""
        self.rows.append(row)
        self._rows.write(json.dumps(asdict(row)) + "\n")
        self._rows.flush()
        self.say(f"{row.state:7} {row.test}: {row.step} ({row.seconds:.1f} s){': ' if row.why else ''}{row.why}")

    def picture(self, widget, name):
        """Save what a widget looks like; a picture that cannot be made fails nothing."""
        self._pictures += 1
        clean = "".join(c if c.isalnum() else "-" for c in name)[:80]
        file = self.folder / f"{self._pictures:03}-{clean}.png"
        try:
            if widget is None or not widget.grab().save(str(file)):
                self.say(f"       no picture of {name}")
        except Exception as error:
            self.say(f"       no picture of {name}: {error}")


def table(rows):
    """The rows as text, a line each, and a line on all of them."""
    lines = [f"{'step':80} {'seconds':>8} {'hold ms':>8} {'ours':>5}  state"]
    for row in rows:
        name = f"{row['test'].rpartition('.')[2]}: {row['step']}"[:80]
        reason = row["why"].splitlines()[0][:150] if row["why"] else ""
        state = f"{row['state']}{': ' if reason else ''}{reason}"
        lines.append(f"{name:80} {row['seconds']:8.1f} {1000 * row['hold']:8.0f} {1000 * row['own']:5.0f}  {state}")
    states = [row["state"] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (PASSED, FAILED, SKIPPED))
    longest = sorted((row for row in rows if row["held_by"]), key=lambda row: -row["hold"])[:20]
    lines += ["", f"{len(rows)} steps: {counts}", "", "What held the main thread longest:"]
    lines += [f"{row['step']}: {row['held_by']}" for row in longest]
    return "\n".join(lines)


_report = []


def report():
    """The run's; made when it is first asked for."""
    if not _report:
        _report.append(Report(os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="context-propagation-app-")))
        print(f"Log and pictures: {_report[0].folder}")
    return _report[0]
