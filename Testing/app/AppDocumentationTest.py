"""Every page that shows Python: its blocks run one after the other, in one namespace, as a reader would paste them.

Where a page speaks of "your" network, folder or image, small ones are put there before. What a page needs hours for is
read, and what it imports is there.
"""

import ast
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import slicer

from app_models import write_model
from app_panel import AppTestCase, small_model
from app_user import process_events
from app_volumes import add_ct

ROOT = Path(__file__).resolve().parents[2]
READ_ONLY = ("docs/bundle.md", "docs/psnn.md")
"""They train: their names and calls are looked at, and not run."""


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
        self.folder, before = Path(tempfile.mkdtemp(prefix="context-propagation-docs-")), Path.cwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def run_page(self, page, names):
        """Run a page's blocks; each is a step."""
        blocks = pages()[page]
        for number, code in enumerate(blocks, start=1):
            with self.step(f"{page}, block {number} of {len(blocks)}"):
                exec(compile(code, f"{page} block {number}", "exec"), names)
                process_events(0.05)
        return names

    def test_no_page_is_forgotten(self):
        with self.step("compare with the pages that this script knows"):
            known = {"README.md", "docs/any-network.md", "docs/console.md", "docs/developer/design.md", *READ_ONLY}
            self.assertEqual(set(pages()), known)

    def test_the_console_page(self):
        names = self.run_page("docs/console.md", {"slicer": slicer})
        with self.step("look at what the first block did"):
            self.assertTrue((self.folder / "refined.seg.nrrd").is_file())
            names["logic"].close()

    def test_the_page_on_any_network(self):
        from context_propagation.core.model.nnunet_folder import load_nnunet_folder
        from context_propagation.core.model.preprocessing import ChannelNormalisation

        network = load_nnunet_folder(small_model()).networks[0]
        self.write_image("ct.nii.gz", (24, 30, 28))

        def encode(x):
            skips = network.encoder(x)
            return skips[-1], tuple(skips[:-1])

        def decode(f, skips):
            return network.decoder([*skips, f])

        names = {"network": network, "encode": encode, "decode": decode}
        names["preprocessing"] = self.preprocessing(ChannelNormalisation("CT"))
        names["output"] = self.output()
        self.run_page("docs/any-network.md", names)

    @staticmethod
    def preprocessing(channel):
        from context_propagation.core.model.preprocessing import Preprocessing

        return Preprocessing(None, (channel,))

    @staticmethod
    def output():
        from context_propagation.core.model.network_model import Output

        return Output(("background", "GTV"), "GTV")

    def test_the_example_of_the_readme(self):
        import SimpleITK as sitk

        from context_propagation import NnunetModel, Session, SliceEdit, SourceVolume

        names = {"NnunetModel": NnunetModel, "Session": Session, "SliceEdit": SliceEdit, "SourceVolume": SourceVolume}
        self.write_their_model()
        self.write_image("ct.nii.gz", (44, 24, 24))
        names.update(sitk=sitk, drawn=self.a_slice((24, 24)))
        self.run_page("README.md", names)

    def test_the_examples_of_the_design_page(self):
        from context_propagation import NnunetModel, Session, SliceEdit, SourceVolume
        from context_propagation.core.session.session_file import restore_session, save_session
        from context_propagation.core.session.session_settings import SessionSettings

        self.write_their_model()
        ct = self.write_image("ct.nii.gz", (16, 24, 24))
        names = {"NnunetModel": NnunetModel, "Session": Session, "SliceEdit": SliceEdit, "SourceVolume": SourceVolume}
        names.update(SessionSettings=SessionSettings, save_session=save_session, restore_session=restore_session)
        names.update(ct=ct, drawn=self.a_slice((24, 24)), volume=SourceVolume.from_sitk([ct]))
        first, second = pages()["docs/developer/design.md"]
        with self.step("docs/developer/design.md, block 1 of 2"):
            exec(compile(first, "design.md block 1", "exec"), names)
        with self.step("docs/developer/design.md, block 2 of 2"):
            names.update(logic=self.logic_with_an_edit(), progress=lambda *_: None, cancelled=lambda: False)
            exec(compile(second, "design.md block 2", "exec"), names)
            names["logic"].close()

    def logic_with_an_edit(self):
        """The scripts' logic, with a redrawn slice that waits."""
        from ContextPropagation import ContextPropagationLogic

        logic = ContextPropagationLogic()
        logic.load_model(small_model())
        logic.select([add_ct()])
        logic.predict()
        mask = logic.segment_mask()
        index = int(mask.sum(axis=(1, 2)).argmax())
        logic.edit_slice(index, np.roll(mask[index], 3, axis=0))
        return logic

    def test_pages_that_train_import_what_is_there(self):
        for page in READ_ONLY:
            with self.step(f"{page}: imports"):
                for code in pages()[page]:
                    imports = [n for n in ast.parse(code).body if isinstance(n, ast.Import | ast.ImportFrom)]
                    if page == "docs/psnn.md":
                        self.needs_packages("torch")
                    exec(compile(ast.Module(imports, []), page, "exec"), {})

    # -- what pages call "your"

    def write_their_model(self):
        write_model(self.folder / "Dataset001_GTV" / "nnUNetTrainer__nnUNetPlans__3d_fullres")

    def write_image(self, name, shape):
        import SimpleITK as sitk

        voxels = np.random.default_rng(0).normal(40, 100, size=shape).astype(np.float32)
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((1.2, 1.1, 3.0))
        sitk.WriteImage(image, str(self.folder / name))
        return image

    @staticmethod
    def a_slice(shape):
        drawn = np.zeros(shape, bool)
        drawn[6:16, 8:18] = True
        return drawn
