"""The first minutes, up to the restart: from an empty settings folder, with the wheels in a folder.

`CONTEXT_PROPAGATION_APP_WHEELS` names that folder; without it nothing is installed. Clicks and seconds go on in
`AppFirstFiveMinutesTest`, in a new process.
"""

import os
import time
from pathlib import Path

from app_case import AppTestCase
from app_first_minutes import WHEELS, spend
from app_panel import MODULE, panel_widgets
from app_user import click, open_module, process_events


class AppInstallTest(AppTestCase):
    def test_the_packages_are_installed_from_a_folder(self):
        folder = os.environ.get(WHEELS)
        if not folder:
            self.skip(f"{WHEELS} names no folder with wheels")
        start = time.monotonic()
        with self.step("open the module, which says what is missing"):
            open_module(MODULE)
            ui = panel_widgets()
            self.assertIn("Needed and missing", ui.packagesLabel.text, "all is installed: take a fresh Slicer")
        with self.step("name the folder and install"):
            self.assertTrue(Path(folder).is_dir(), folder)
            ui.wheelFolder.currentPath = folder
            self.dialogs.answer("Install them?", "Yes")
            self.dialogs.answer(
                "still uses parts of the earlier", "No", must_be_asked=False
            )  # this process ends anyway
            click(ui.installButton)
            process_events(0.5)
            self.assertNotIn("Needed and missing", ui.packagesLabel.text)
        spend(time.monotonic() - start, self.dialogs.clicks)
