"""How long the main thread was held, and by what.

A person feels each click, stroke and turn of the event loop that takes longer than a tenth of a second. What runs then
is found by a thread of `faulthandler`: it needs no lock of Python's, which Slicer's C++ code never lets go of.
"""

import faulthandler
import os
import re
import tempfile
import threading
import time
from contextlib import contextmanager

GOAL = 0.1
"""Seconds: nobody feels less."""

NO_SAMPLES = "CONTEXT_PROPAGATION_APP_NO_SAMPLES"
"""Environment variable: holds are measured, and not what caused them."""

FRAME = re.compile(r'File "(.*?)", line (\d+) in (.*)')
OURS = ("context_propagation", "ContextPropagation.py", "SegmentEditorPropagateEditLib")


class Holds:
    """The longest hold since `forget`, and who held."""

    def __init__(self):
        self.longest, self.held_by = 0.0, ""
        self._inside = self._waited = False
        self._samples = None if os.environ.get(NO_SAMPLES) else tempfile.TemporaryFile("w+", encoding="utf-8")

    def forget(self):
        """Start anew."""
        self.longest, self.held_by = 0.0, ""

    def waited_for_an_answer(self):
        """A question was open during this action: its time says nothing."""
        self._waited = True

    @contextmanager
    def measured(self, what):
        """Measure one action, or one turn of the event loop; those inside it are part of it."""
        if self._inside:
            yield
            return
        self._inside, self._waited = True, False
        self._start_sampling()
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            sample = self._stop_sampling()
            self._inside = False
            if seconds > self.longest and not self._waited:
                self.longest = seconds
                self.held_by = f"{what}; {sample}" if seconds > GOAL else ""

    def _start_sampling(self):
        if self._samples is not None:
            self._samples.seek(0)
            self._samples.truncate()
            faulthandler.dump_traceback_later(GOAL, file=self._samples)

    def _stop_sampling(self):
        if self._samples is None:
            return "not sampled"
        faulthandler.cancel_dump_traceback_later()
        self._samples.seek(0)
        return innermost_frame(self._samples.read(), threading.get_ident())


def innermost_frame(dump, thread):
    """The innermost frame of ours in a thread's stack as `faulthandler` writes it; else the innermost of all."""
    stacks = re.split(r"^(?=(?:Current thread|Thread) 0x)", dump, flags=re.MULTILINE)
    stack = next((s for s in stacks if f"{thread:x} (" in s), "")
    frames = FRAME.findall(stack)
    ours = [f for f in frames if any(part in f[0] for part in OURS)]
    if not frames:
        return "no Python"
    inside = _place(frames[0])
    return f"{_place(ours[0])}, in {inside}" if ours and ours[0] != frames[0] else inside


def _place(frame):
    file, line, function = frame
    return f"{'/'.join(file.replace(os.sep, '/').split('/')[-2:])}:{line} {function}"


holds = Holds()
