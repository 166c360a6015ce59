"""The base of the suite's tests: a step is logged, timed, photographed, and fails by itself."""

import os
import time
import unittest
from contextlib import contextmanager

import slicer

from app_dialogs import Dialogs
from app_errors import ErrorWatch
from app_holds import GOAL, holds
from app_report import FAILED, PASSED, SKIPPED, Row, report
from app_user import open_module, process_events

ASSERT_HOLDS = "CONTEXT_PROPAGATION_APP_ASSERT_HOLDS"
"""Environment variable: the longest hold allowed in a step, in milliseconds; without it holds are told alone."""


class AppTestCase(unittest.TestCase):
    """Each test begins with an empty scene and ends with one; nothing is assumed of those before it."""

    _in_step = False

    def setUp(self):
        process_events(0.05)
        self.dialogs, self.errors = Dialogs(), ErrorWatch()
        self.dialogs.start()
        self.addCleanup(self._clean_up)
        slicer.mrmlScene.Clear(0)
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        process_events(0.05)
        self.errors.new()

    def _clean_up(self):
        for tidy in (self._close_scene, self.dialogs.stop, self.errors.stop):
            try:
                tidy()
            except Exception as error:
                report().say(f"       tidying up failed: {error}")

    def _close_scene(self):
        self._stop_runs()
        open_module("SampleData")  # what the Segment Editor shows is let go of
        slicer.mrmlScene.Clear(0)
        process_events(0.1)

    @staticmethod
    def _stop_runs():
        import sys

        module = sys.modules.get("context_propagation.gui.work.shared")
        if module is not None and module.shared().runner.busy:
            module.shared().runner.cancel()
            process_events(until=lambda: not module.shared().runner.busy, at_most=60)

    # -- steps

    @contextmanager
    def step(self, name):
        """One thing that a person does, and what must be true afterwards."""
        test, start = self.id().partition(".")[2] or self.id(), time.monotonic()
        report().began(test, name)
        holds.forget()
        row, why, self._in_step = None, "", True
        try:
            yield
            why = self._complaints()
            if why:
                raise AssertionError(why)
            row = Row(test, name, PASSED)
        except unittest.SkipTest as reason:
            row = Row(test, name, SKIPPED, why=str(reason))
            raise
        except BaseException as error:
            shown = "; ".join(self.dialogs.unexpected)
            why = f"{type(error).__name__}: {error}" + (f" (shown: {shown})" if shown and shown not in why else "")
            row = Row(test, name, FAILED, why=why)
            raise
        finally:
            self._in_step = False
            seconds = time.monotonic() - start
            report().ended(
                Row(row.test, row.step, row.state, seconds, holds.longest, holds.own, holds.held_by, row.why)
            )
            report().picture(slicer.util.mainWindow(), f"{test} {name}")
            self.dialogs.unexpected.clear()

    def _complaints(self):
        """What went wrong beside the step's own checks."""
        shown, logged = self.dialogs.texts, self.errors.new()
        unforeseen = [e for e in logged if not any(text.splitlines()[0] in e for text in shown if text)]
        said = [f"logged: {error}" for error in unforeseen]
        said += [f"shown, and nobody expected it: {text}" for text in self.dialogs.unexpected]
        said += [f"never shown: {part}" for part in self.dialogs.never_shown()]
        shown.clear()
        limit = os.environ.get(ASSERT_HOLDS)
        if limit and 1000 * holds.longest > float(limit):
            said.append(f"the main thread was held for {1000 * holds.longest:.0f} ms by {holds.held_by}")
        return "\n".join(said)

    def eventually(self, get, expected, at_most=20):
        """Wait until something is as expected: it may be looked at now and then, or told later."""
        self._wait_until(lambda: get() == expected, at_most)
        self.assertEqual(get(), expected)

    def eventually_in(self, part, get, at_most=20):
        """Wait until a text says something."""
        self._wait_until(lambda: part in get(), at_most)
        self.assertIn(part, get())

    @staticmethod
    def _wait_until(holds_true, at_most):
        end = time.monotonic() + at_most
        process_events(until=lambda: holds_true() or time.monotonic() > end, at_most=at_most + 10)

    def skip(self, reason):
        """Skip the rest of this test, and tell why in the table."""
        if self._in_step:
            self.skipTest(reason)
        with self.step("all of it"):
            self.skipTest(reason)

    def needs_packages(self, *names):
        """Skip where a package is missing; nothing is installed."""
        from importlib.util import find_spec

        missing = [n for n in names or ("torch", "nnunetv2", "monai", "safetensors") if find_spec(n) is None]
        if missing:
            self.skip(f"this Slicer has no {', '.join(missing)}")

    def needs(self, what, where_it_is):
        """Skip where the application lacks something, named in a sentence; stand-ins lack a few."""
        if not where_it_is:
            self.skip(f"missing here: {what}")


__all__ = ["ASSERT_HOLDS", "GOAL", "AppTestCase"]
