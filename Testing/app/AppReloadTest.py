"""The developer's button Reload: alone, in the middle of a run, and with the effect in use."""

import slicer

from app_panel import MODULE, Editor, PanelTestCase, logic, runner
from app_user import click, process_events
from app_volumes import add_ct, add_segmentation, ball, nodes, show


class AppReloadTest(PanelTestCase):
    def reload(self):
        """What the button "Reload" calls."""
        slicer.modules.contextpropagation.widgetRepresentation().self().onReload()
        process_events(0.3)
        self.open_panel()

    def test_the_panel_works_after_a_reload(self):
        with self.step("reload"):
            before = logic()
            self.reload()
            self.assertIsNot(logic(), before)
            self.assertIs(slicer.modules.ContextPropagationWidget.panel, self.widget.panel)
        with self.step("predict after the reload"):
            self.widget.panel.inputs.models.list_again(self.model.path)
            self.open_ct()
            self.predict()
            self.assertTrue(self.segment().any())

    def test_a_run_ends_when_the_module_is_reloaded(self):
        with self.step("press Predict and reload"):
            self.open_ct()
            click(self.ui.predictButton)
            self.reload()
            process_events(until=lambda: not runner().busy, at_most=60)
            self.assertIsNone(logic().propagation)

    def test_the_effect_works_after_a_reload(self):
        with self.step("start the effect, and reload with its preview open"):
            volume = add_ct()
            show(volume)
            node = add_segmentation(volume, GTV=ball())
            editor = Editor(node, volume, "GTV")
            editor.open_effect()
            editor.choose_model(self.model.name)
            editor.start()
            editor.paint(0, 8, [(13, 5), (13, 11)])
            editor.open_effect()
            editor.propagate()
            self.open_panel()
            self.reload()
            self.assertEqual(nodes("vtkMRMLSegmentationNode", "Propagation preview"), [])
        with self.step("use it again"):
            editor = Editor(node, volume, "GTV")
            editor.open_effect()
            editor.choose_model(self.model.name)
            self.dialogs.answer("Keep them as they are?", "Yes", must_be_asked=False)
            editor.start()
            self.eventually_in("Redraw a slice", lambda: editor.status)
            self.assertTrue(hasattr(slicer.modules, MODULE.lower()))
