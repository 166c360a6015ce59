"""How long the main thread was held, and how much of it was ours.

A person feels each click, stroke and turn of the event loop that takes longer than a tenth of a second. Python tells of
every function that it enters and leaves: so the time in our own functions is known, less what they spend in Slicer's
Python functions and in methods of VTK objects. Python tells nothing of calls to Slicer's Qt classes: they count as
ours, but for the functions in `INTO_QT`, which do little else than make one such call.
"""

import sys
import time
from contextlib import contextmanager

import vtk

GOAL = 0.1
"""Seconds: nobody feels less."""

SLICERS = "/bin/Python/slicer/"
OURS = ("context_propagation", "ContextPropagation.py", "SegmentEditorPropagateEditLib")

INTO_QT = ("writing/effect_writer.py modify", "writing/effect_writer.py save_state")
"""The Segment Editor effect writes the labelmap, and saves the segmentation for its undo."""


class OwnTime:
    """Seconds in our functions, on the thread that calls `started`, until `stopped`.

    Args:
        clock: Tells the seconds.

    Attributes:
        seconds: In all of them.
        functions: In each function that was entered from outside, and in those that it called.
        slicer_calls: In each function of Slicer's, method of a VTK object and function of `INTO_QT` that ours called.
    """

    def __init__(self, clock=time.perf_counter):
        self._clock = clock
        self.seconds, self.functions, self.slicer_calls = 0.0, {}, {}
        self._stack, self._since = [], 0.0

    def started(self):
        self._since = self._clock()
        sys.setprofile(self._event)

    def stopped(self):
        sys.setprofile(None)
        self._turn(self._clock())

    def _turn(self, now):
        """What was on top until now gets the time since the last turn."""
        if self._stack:
            of, name, _ = self._stack[-1]
            of[name] = of.get(name, 0.0) + now - self._since
            if of is self.functions:
                self.seconds += now - self._since
        self._since = now

    def _event(self, frame, event, argument):
        """Python tells of a call or a return; the time that this takes is nobody's."""
        now = self._clock()
        if event == "call":
            self._called(frame, now)
        elif event == "c_call":
            if self._in_ours() and isinstance(getattr(argument, "__self__", None), vtk.vtkObjectBase):
                self._push(self.slicer_calls, argument.__name__, argument, now)
        elif self._stack and self._stack[-1][2] is (frame if event == "return" else argument):
            self._turn(now)
            self._stack.pop()
        self._since += self._clock() - now

    def _called(self, frame, now):
        if is_ours(frame.f_code.co_filename):
            if not self._in_ours():
                self._push(self.functions, place(frame), frame, now)
            elif place(frame) in INTO_QT:
                self._push(self.slicer_calls, place(frame), frame, now)
        elif self._in_ours() and SLICERS in frame.f_code.co_filename:
            self._push(self.slicer_calls, frame.f_code.co_name, frame, now)

    def _in_ours(self):
        return bool(self._stack) and self._stack[-1][0] is self.functions

    def _push(self, of, name, what, now):
        self._turn(now)
        self._stack.append((of, name, what))


class Holds:
    """The longest hold since `forget`, and the longest that was ours."""

    def __init__(self):
        self._waited, self._measuring = False, False
        self.forget()

    def forget(self):
        """Start anew."""
        self.longest, self.own, self._held_by, self._owned_by = 0.0, 0.0, "", ""

    @property
    def held_by(self):
        """What held longest, and what did so with the most of our own time, where that is another."""
        return " | ".join(dict.fromkeys(filter(None, (self._held_by, self._owned_by))))

    def waited_for_an_answer(self):
        """A question was open during this action: its time says nothing."""
        self._waited = True

    @contextmanager
    def measured(self, what):
        """Measure one action, or one turn of the event loop; those inside it are part of it."""
        if self._measuring:
            yield
            return
        self._waited, self._measuring, own, since = False, True, OwnTime(), time.perf_counter()
        own.started()
        try:
            yield
        finally:
            own.stopped()
            self._measuring = False
            if not self._waited:
                self._keep(what, time.perf_counter() - since, own)

    def _keep(self, what, seconds, own):
        said = f"{what}: {1000 * seconds:.0f} ms, {1000 * own.seconds:.0f} of them ours{told(own)}"
        if seconds > max(self.longest, GOAL):
            self._held_by = said
        if own.seconds > max(self.own, GOAL):
            self._owned_by = said
        self.longest, self.own = max(self.longest, seconds), max(self.own, own.seconds)


def told(own):
    """What of ours took a hundredth of a second or more, and what of Slicer's we called."""
    parts = sorted([*own.functions.items(), *own.slicer_calls.items()], key=lambda part: -part[1])
    return "".join(f"; {name} {1000 * seconds:.0f}" for name, seconds in parts[:5] if seconds >= 0.01)


def is_ours(file):
    """Whether a file is the extension's."""
    return any(part in file for part in OURS)


def place(frame):
    """A function's file and name."""
    return f"{'/'.join(frame.f_code.co_filename.replace(chr(92), '/').split('/')[-2:])} {frame.f_code.co_name}"


holds = Holds()
