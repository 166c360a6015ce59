"""Every page that shows Python: its blocks run one after the other, in one namespace, as a reader would paste them."""

import os
import re
from pathlib import Path

from app_folders import temporary_folder
from app_panel import AppTestCase
from app_user import process_events

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {"README.md", "docs/any-network.md", "docs/bundle.md", "docs/console.md", "docs/developer/design.md"}
OF_A_CLUSTER = {"docs/cluster.md"}
"""Nothing of it is for Slicer; `Testing/test_cluster_page.py` runs its recipes."""


def pages():
    """All pages of the repository with Python in them, by their path, with their blocks."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = {f: re.findall(r"```python\n(.*?)```", f.read_text("utf-8"), re.DOTALL) for f in files if f.is_file()}
    return {f.relative_to(ROOT).as_posix(): blocks for f, blocks in found.items() if blocks}


class AppDocumentationTest(AppTestCase):
    def setUp(self):
        super().setUp()
        self.needs_packages()
        if "docs/console.md" not in pages():
            self.skip("the repository's docs/ are not beside this folder")
        self.folder, before = temporary_folder("docs"), Path.cwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def run_page(self, page):
        """Run a page's blocks; each is a step."""
        blocks, names = pages()[page], {}
        for number, code in enumerate(blocks, start=1):
            with self.step(f"{page}, block {number} of {len(blocks)}"):
                exec(compile(code, f"{page} block {number}", "exec"), names)
                process_events(0.05)
        return names

    def test_no_page_is_forgotten(self):
        with self.step("compare with the pages that this script knows"):
            self.assertEqual(set(pages()), KNOWN | OF_A_CLUSTER)

    def test_the_console_page(self):
        names = self.run_page("docs/console.md")
        with self.step("look at what the first block did"):
            self.assertTrue((self.folder / "refined.seg.nrrd").is_file())
            names["logic"].close()

    def test_the_page_on_any_network(self):
        self.run_page("docs/any-network.md")

    def test_the_page_on_bundles(self):
        self.run_page("docs/bundle.md")

    def test_the_example_of_the_readme(self):
        self.run_page("README.md")

    def test_the_examples_of_the_design_page(self):
        names = self.run_page("docs/developer/design.md")
        with self.step("close the logic"):
            names["logic"].close()
