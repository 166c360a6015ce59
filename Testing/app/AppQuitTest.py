"""Slicer ends in the middle of a run: the process must end by itself, and not with a crash.

The run is left to itself at the end of the test; the outer runner looks at how the process ends.
"""

from app_panel import PanelTestCase, runner
from app_user import click


class AppQuitTest(PanelTestCase):
    def _close_scene(self):
        """Not here: the application must cope with what is open."""

    @staticmethod
    def _forget_model(path):
        """Not here either: it is in use."""

    def test_slicer_may_end_in_the_middle_of_a_run(self):
        with self.step("predict, press Predict again, and leave"):
            self.open_ct()
            self.predict()
            click(self.ui.predictButton)
            self.assertTrue(runner().busy or self.segment().any())
