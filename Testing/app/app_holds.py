"""How long the main thread was held, and how much of it was ours.

A person feels each click, stroke and turn of the event loop that takes longer than a tenth of a second. Python tells of
every function that it enters and leaves: so the time in our own functions is known, less what they spend in Slicer's
Python functions and in methods of VTK objects. Slicer's Qt classes cannot be told apart from our own code: calls to
them count as ours.
"""

import sys
import time
from contextlib import contextmanager

import vtk

GOAL = 0.1
"""Seconds: nobody feels less."""

SLICERS = "/bin/Python/slicer/"
OURS = ("context_propagation", "ContextPropagation.py", "SegmentEditorPropagateEditLib")


class OwnTime:
    """Seconds in our functions, on the thread that calls `started`, until `stopped`.

    Args:
        clock: Tells the seconds.

    Attributes:
        seconds: In all of them.
        functions: In each function that was entered from outside, and in those that it called.
        slicer_calls: In each function of Slicer's, and method of a VTK object, that ours called.
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
        self._turn()

    def _turn(self):
        """What was on top until now gets the time since the last turn."""
        now = self._clock()
        if self._stack:
            of, name, _ = self._stack[-1]
            of[name] = of.get(name, 0.0) + now - self._since
            if of is self.functions:
                self.seconds += now - self._since
        self._since = now

    def _event(self, frame, event, argument):
        if event == "call":
            if is_ours(frame.f_code.co_filename):
                if not self._in_ours():
                    self._push(self.functions, place(frame), frame)
            elif self._in_ours() and SLICERS in frame.f_code.co_filename:
                self._push(self.slicer_calls, frame.f_code.co_name, frame)
        elif event == "return":
            if self._stack and self._stack[-1][2] is frame:
                self._pop()
        elif event == "c_call":
            if self._in_ours() and isinstance(getattr(argument, "__self__", None), vtk.vtkObjectBase):
                self._push(self.slicer_calls, argument.__name__, argument)
        elif self._stack and self._stack[-1][2] is argument:  # c_return, c_exception
            self._pop()

    def _in_ours(self):
        return bool(self._stack) and self._stack[-1][0] is self.functions

    def _push(self, of, name, what):
        self._turn()
        self._stack.append((of, name, what))

    def _pop(self):
        self._turn()
        self._stack.pop()


class Holds:
    """The longest hold since `forget`, and the longest that was ours."""

    def __init__(self):
        self._waited, self._measuring = False, False
        self.forget()

    def forget(self):
        """Start anew."""
        self.longest, self.own, self.held_by = 0.0, 0.0, ""

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
        if (seconds > self.longest and seconds > GOAL) or (own.seconds > self.own and own.seconds > GOAL):
            self.held_by = f"{what}: {1000 * seconds:.0f} ms, {1000 * own.seconds:.0f} of them ours{told(own)}"
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
