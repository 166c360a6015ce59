"""How long the main thread was held, and by what.

A person feels each click, stroke and turn of the event loop that takes longer than a tenth of a second. A thread looks
at what runs then. Where C++ code holds Python's lock all the time, as most of Slicer's does, the thread sees the Python
line that called it, in the moment in which the call comes back.
"""

import sys
import threading
import time
from contextlib import contextmanager

GOAL = 0.1
"""Seconds: nobody feels less."""

LOOK_SECONDS = 0.02
OURS = ("context_propagation", "ContextPropagation.py", "SegmentEditorPropagateEditLib")


class Holds:
    """The longest hold since `forget`, and who held."""

    def __init__(self):
        self.longest, self.held_by = 0.0, ""
        self._since, self._sample, self._waited = None, "", False
        self._main = threading.get_ident()
        threading.Thread(target=self._look, name="who holds the main thread", daemon=True).start()

    def forget(self):
        """Start anew."""
        self.longest, self.held_by = 0.0, ""

    def waited_for_an_answer(self):
        """A question was open during this action: its time says nothing."""
        self._waited = True

    @contextmanager
    def measured(self, what):
        """Measure one action, or one turn of the event loop; those inside it are part of it."""
        if self._since is not None:
            yield
            return
        self._sample, self._waited, self._since = "", False, time.monotonic()
        try:
            yield
        finally:
            seconds, self._since = time.monotonic() - self._since, None
            if seconds > self.longest and not self._waited:
                self.longest = seconds
                self.held_by = f"{what}; in {self._sample or 'Slicer'}" if seconds > GOAL else ""

    def _look(self):
        while True:
            time.sleep(LOOK_SECONDS)
            since = self._since
            if since is not None and not self._sample and time.monotonic() - since > GOAL:
                self._sample = innermost_place(sys._current_frames().get(self._main))


def innermost_place(frame):
    """Where a frame is: the innermost of our functions, and what it called; empty where none of ours runs."""
    places = []
    while frame is not None:
        file = frame.f_code.co_filename.replace("\\", "/")
        place = f"{'/'.join(file.split('/')[-2:])}:{frame.f_lineno} {frame.f_code.co_name}"
        if any(part in file for part in OURS):
            return " < ".join([place, *places[-1:]])
        places.append(place)
        frame = frame.f_back
    return ""


holds = Holds()
