"""Where the model doubts: over the slice views, along the strip, by keys in module and editor, as volumes."""

import numpy as np
import qt
import slicer

from app_panel import PanelTestCase, logic, wait
from app_user import choose, click, press_shortcut, process_events
from app_volumes import SHAPE, add_ct, nodes

SLICE = 8
NEXT, PREVIOUS = "Ctrl+Shift+Down", "Ctrl+Shift+Up"


class AppDoubtTest(PanelTestCase):
    def predicted(self):
        with self.step("predict"):
            self.volume = self.open_ct()
            self.predict()
            self.eventually_in("filled with the prediction", lambda: self.state)

    @staticmethod
    def views():
        layout = slicer.app.layoutManager()
        return [layout.sliceWidget(name).mrmlSliceCompositeNode() for name in ("Red", "Green", "Yellow")]

    def over_the_views(self):
        """The names of the volumes that lie over the slice views, each once."""
        first = slicer.vtkMRMLSliceCompositeNode.Layer_Last
        found = [v.GetNthLayerVolume(first) if v.GetNumberOfAdditionalLayers() else None for v in self.views()]
        return {volume and volume.GetName() for volume in found}

    def overlay_voxels(self):
        (first, *_others) = self.views()
        return slicer.util.arrayFromVolume(first.GetNthLayerVolume(first.Layer_Last)).copy()

    def chosen(self, what):
        choose(self.ui.overlaySelector, what)
        wait()
        self.eventually(lambda: logic().maps.shown, "" if what == "nothing" else what)

    def shown(self):
        """The axial slice in the red view."""
        red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        return round(red.GetSliceToRAS().GetElement(2, 3) / 2.5)

    def test_probability_and_uncertainty_lie_over_the_views_and_follow_what_is_propagated(self):
        self.predicted()
        with self.step("fuse with a second volume"):
            second = add_ct("PET", seed=5)
            for view in self.views():
                view.SetForegroundVolumeID(second.GetID())
                view.SetForegroundOpacity(0.4)
        with self.step("show the uncertainty, then the probability"):
            self.chosen("uncertainty")
            self.assertEqual(self.over_the_views(), {"Doubt"})
            doubt = self.overlay_voxels()
            self.chosen("probability")
            self.assertTrue(0 < doubt.max() <= 1)
            self.assertFalse(np.array_equal(doubt, self.overlay_voxels()))
        with self.step("propagate while it is shown"):
            before = self.overlay_voxels()
            editor = self.open_editor()
            editor.draw(0, SLICE, [(2, 2), (2, 9), (9, 9), (9, 2)])
            self.back_to_panel()
            self.propagate()
            self.eventually(lambda: logic().maps.are_up_to_date, True)
            self.assertFalse(np.array_equal(before, self.overlay_voxels()))
        with self.step("undo while it is shown"):
            click(self.ui.undoButton)
            self.eventually(lambda: logic().maps.are_up_to_date, True)
            self.assertTrue(np.array_equal(before, self.overlay_voxels()))
        with self.step("show nothing again"):
            self.chosen("nothing")
            self.assertEqual(self.over_the_views(), {None})
            fused = {(view.GetForegroundVolumeID(), round(view.GetForegroundOpacity(), 3)) for view in self.views()}
            self.assertEqual(fused, {(second.GetID(), 0.4)})

    def test_the_keys_and_the_slider_go_through_slices(self):
        self.predicted()
        suggested = logic().suggested_slices()
        with self.step("next and previous suggested slice, in the module"):
            self.eventually(self.shown, suggested[0])
            press_shortcut(self.ui.editButton, NEXT)
            self.assertEqual(self.shown(), suggested[1])
            press_shortcut(self.ui.editButton, PREVIOUS)
            self.assertEqual(self.shown(), suggested[0])
        with self.step("the slider below the strip moves the views"):
            self.assertTrue(self.ui.stripLabel.isVisible())
            self.assertEqual(self.ui.stripSlider.maximum, SHAPE[0] - 1)
            self.ui.stripSlider.setValue(SLICE)
            process_events(0.05)
            self.assertEqual(self.shown(), SLICE)
        with self.step("a click on the strip shows its slice"):
            label, strip = self.ui.stripLabel, self.widget.panel.doubt._strip
            column = int(5.5 * label.width / SHAPE[0])
            qt.QCursor.setPos(label.mapToGlobal(qt.QPoint(column, label.height // 2)))
            strip._presses.eventFilter(label, qt.QEvent(qt.QEvent.MouseButtonPress))
            self.eventually(self.shown, 5)
        with self.step("the slider follows the views"):
            slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().SetSliceOffset(3 * 2.5)
            self.eventually(lambda: self.ui.stripSlider.value, 3)
        with self.step("the keys in the Segment Editor, with a brush in hand"):
            editor = self.open_editor()
            editor.open_effect()
            around = editor.frame.parentWidget()
            while around.className() != "qMRMLSegmentEditorWidget":
                around = around.parentWidget()
            editor.tool("Paint")
            press_shortcut(around, NEXT)
            self.assertEqual(self.shown(), suggested[0])
            press_shortcut(around, NEXT)
            self.assertEqual(self.shown(), suggested[1])

    def test_both_are_added_as_volumes_and_are_not_offered_by_themselves_to_a_model(self):
        self.predicted()
        with self.step("add as volumes"):
            click(self.ui.addVolumesButton)
            wait()
            names = [node.GetName() for node in nodes("vtkMRMLScalarVolumeNode")]
            self.assertEqual(names, ["CT", "Probability of GTV", "Uncertainty of GTV"])
            self.assertIs(self.ui.firstVolumeSelector.currentNode(), self.volume)
