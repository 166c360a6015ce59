"""What is there after the start: module, effect, sample case, and what they say before anything was chosen."""

import slicer

from app_case import AppTestCase
from app_panel import EFFECT, MODULE, panel_widgets
from app_user import child, click, open_module, process_events
from app_volumes import nodes


class AppFirstStartTest(AppTestCase):
    def test_the_module_opens_and_says_what_it_can_do(self):
        with self.step("open the module"):
            self.assertTrue(hasattr(slicer.modules, MODULE.lower()), "the module was not loaded; see the log")
            if self.packages_are_missing():
                self.dialogs.answer("installed into Slicer's Python", "No", must_be_asked=False)
            open_module(MODULE)
            ui = panel_widgets()
            self.assertTrue(ui.predictButton.isVisible())
            self.assertGreater(ui.modelSelector.count, 0, "the model that ships is not listed")
        with self.step("without a volume nothing can be pressed"):
            for name in ("predictButton", "propagateButton", "undoButton", "redoButton", "measureButton"):
                self.assertFalse(getattr(ui, name).enabled, name)

    def packages_are_missing(self):
        from context_propagation.gui.module.package_section import application_installer
        from context_propagation.gui.packages.installation_plan import (
            DICOM_REQUIREMENTS,
            MONAI_REQUIREMENTS,
            REQUIREMENTS,
        )

        return bool(application_installer().missing(REQUIREMENTS, MONAI_REQUIREMENTS, DICOM_REQUIREMENTS))

    def test_the_effect_is_in_the_segment_editor(self):
        with self.step("open the Segment Editor"):
            editor = open_module("SegmentEditor").editor
            self.assertIn(EFFECT, editor.availableEffectNames())
            button = child(editor, EFFECT, "QToolButton")
            self.assertTrue(button.isVisible())
            self.assertFalse(button.isEnabled(), "it can be pressed although no volume is chosen")

    def test_the_sample_case_comes_with_a_click(self):
        self.needs_packages("SimpleITK")
        with self.step("open Sample Data and press the phantom"):
            open_module("SampleData")
            panel = slicer.modules.sampledata.widgetRepresentation()
            click(child(panel, "NasopharynxPhantomPushButton"))
            process_events(0.2)
            self.assertEqual([node.GetName() for node in nodes("vtkMRMLScalarVolumeNode")], ["Phantom CT"])
            self.assertEqual(len(nodes("vtkMRMLSegmentationNode")), 1)

    def test_modules_can_be_switched_back_and_forth(self):
        with self.step("switch six times"):
            if self.packages_are_missing():
                self.dialogs.answer("installed into Slicer's Python", "No", must_be_asked=False)
            for name in (MODULE, "SegmentEditor", "SampleData") * 2:
                open_module(name)
