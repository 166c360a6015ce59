"""The effect "Propagate Edit" in the Segment Editor: start, preview, apply, discard, undo, by itself, shortcut."""

import numpy as np

from app_panel import Editor, PanelTestCase, changed_slices, logic, runner, wait
from app_user import SliceView, click, has_shortcut, press_shortcut, process_events
from app_volumes import add_ct, add_segmentation, ball, show

SLICE = 8
SHORTCUT = "Ctrl+Shift+P"
BESIDE = [(13, 5), (13, 11)]
"""A stroke on a slice, beside the ball."""


class AppEffectTest(PanelTestCase):
    def started(self, mask=None):
        """With the effect started on a segment, drawn or empty."""
        with self.step("start the effect"):
            volume = add_ct()
            show(volume)
            node = add_segmentation(volume, **({} if mask is None else {"GTV": mask}))
            self.editor = Editor(node, volume, None if mask is None else "GTV")
            self.editor.open_effect()
            self.editor.choose_model(self.model.name)
            self.editor.start()
            self.assertEqual(self.editor.effect.start.text, "Start again")

    def painted(self, index=SLICE):
        """With a stroke on a slice, and the effect open again."""
        before = self.editor.voxels()
        self.editor.paint(0, index, BESIDE)
        self.drawn = self.editor.voxels()
        self.assertEqual(changed_slices(before, self.drawn), [index])
        self.editor.open_effect()

    def previewed(self):
        """With a preview of one redrawn slice."""
        self.started(ball())
        with self.step("paint and propagate"):
            self.painted()
            self.eventually_in(f"Redrawn: axial slice {SLICE}.", lambda: self.editor.status)
            self.editor.propagate()
            self.assertEqual(len(self.editor.previews()), 1)
            self.assertTrue(np.array_equal(self.editor.voxels(), self.drawn), "the preview changed the segment")
            self.eventually_in("Would change", lambda: self.editor.status)

    def test_a_preview_is_shown_hidden_and_applied_and_undo_returns_the_drawing(self):
        self.previewed()
        with self.step("hide and show the preview"):
            (node,) = self.editor.previews()
            click(self.editor.effect.show)
            self.assertFalse(node.GetDisplayNode().GetVisibility())
            click(self.editor.effect.show)
            self.assertTrue(node.GetDisplayNode().GetVisibility())
        with self.step("apply"):
            self.editor.apply()
            result = self.editor.voxels()
            self.eventually(self.editor.previews, [])
            self.assertTrue(np.array_equal(result[SLICE], self.drawn[SLICE]), "the drawn slice was changed")
            self.assertTrue((result ^ self.drawn).any(), "nothing was written")
            self.eventually_in("voxels changed", lambda: self.editor.status)
        with self.step("the editor's undo, twice"):
            self.editor.undo()
            self.assertTrue(np.array_equal(self.editor.voxels(), self.drawn), "the first Undo did not keep the drawing")
            self.editor.undo()
            self.assertTrue(np.array_equal(self.editor.voxels(), ball()))
        with self.step("the editor's redo, twice"):
            self.editor.redo()
            self.editor.redo()
            self.assertTrue(np.array_equal(self.editor.voxels(), result))

    def test_a_clicked_region_and_a_confirmed_slice_stay_as_they_are(self):
        self.previewed()
        result, volume = logic().propagation.pending.result, self.editor.volume
        slices = sorted(result.changed_per_slice)
        voxel = tuple(int(n) for n in np.argwhere(result.changed)[0])
        with self.step("click a region that would change"):
            SliceView(volume, 0, voxel[0]).stroke([voxel])
            self.eventually_in("As they are: slices none; regions: 1.", lambda: self.editor.status)
            self.assertEqual(len(self.editor.previews()), 1)
        with self.step("confirm a slice that would change"):
            SliceView(volume, 0, slices[-1])
            click(self.editor.effect.confirm)
            self.eventually_in(f"slices {slices[-1]}; regions: 1.", lambda: self.editor.status)
        with self.step("apply the rest"):
            self.editor.apply()
            changed = self.editor.voxels() ^ self.drawn
            self.assertFalse(changed[slices[-1]].any(), "the confirmed slice was changed")
            self.assertFalse(changed[voxel], "the clicked region was changed")
            self.assertTrue(np.array_equal(changed, changed & result.changed))

    def test_discard_leaves_the_drawing(self):
        self.previewed()
        with self.step("discard"):
            self.editor.discard()
            self.eventually(self.editor.previews, [])
            self.assertTrue(np.array_equal(self.editor.voxels(), self.drawn))
            self.eventually_in(f"Redrawn: axial slice {SLICE}.", lambda: self.editor.status)
        with self.step("propagate once more"):
            self.editor.propagate()
            self.assertEqual(len(self.editor.previews()), 1)

    def test_a_stroke_drops_the_preview(self):
        self.previewed()
        with self.step("paint while the preview is open"):
            self.editor.paint(0, 11, BESIDE)
            self.eventually(self.editor.previews, [])
            self.editor.open_effect()
            self.eventually_in("11", lambda: self.editor.status)

    def test_an_empty_segment_is_filled_with_the_prediction(self):
        self.started()
        with self.step("look at the prediction"):
            self.assertTrue(self.editor.voxels().any())
            self.eventually_in("Filled with the prediction", lambda: self.editor.status)
        with self.step("undo the prediction"):
            self.editor.undo()
            self.assertFalse(self.editor.voxels().any())

    def test_it_propagates_by_itself(self):
        self.started(ball())
        with self.step("switch it on, paint and wait"):
            click(self.editor.effect.auto)
            self.painted()
            process_events(until=lambda: self.editor.previews(), at_most=60)
            self.assertTrue(np.array_equal(self.editor.voxels(), self.drawn))
        with self.step("switch it off"):
            self.editor.discard()
            click(self.editor.effect.auto)
            self.assertFalse(self.editor.effect.auto.checked)

    def test_the_shortcut_propagates_and_applies(self):
        self.started(ball())
        with self.step("paint and press the shortcut"):
            self.painted()
            press_shortcut(self.editor.frame, SHORTCUT)
            wait()
            self.assertEqual(len(self.editor.previews()), 1)
        with self.step("press it again"):
            press_shortcut(self.editor.frame, SHORTCUT)
            process_events(0.1)
            self.eventually(self.editor.previews, [])
            self.assertTrue((self.editor.voxels() ^ self.drawn).any())
        with self.step("with another tool it is gone"):
            self.editor.tool("Paint")
            self.assertFalse(has_shortcut(self.editor.frame))

    def test_cancel_changes_nothing(self):
        self.started(ball())
        with self.step("cancel a propagation"):
            self.painted()
            click(self.editor.effect.propagate)
            if runner().busy:
                click(self.editor.effect.cancel)
                wait()
                self.eventually(self.editor.previews, [])
                self.eventually_in("Cancelled", lambda: self.editor.status)
            self.assertTrue(np.array_equal(self.editor.voxels(), self.drawn))

    def test_nothing_redrawn_is_told(self):
        self.started(ball())
        with self.step("press Propagate"):
            self.dialogs.answer("redraw at least one slice")
            self.editor.propagate()
            self.eventually(self.editor.previews, [])

    def test_several_slices_and_several_segments(self):
        self.started(ball())
        with self.step("paint two slices and propagate"):
            self.painted(6)
            self.painted(SLICE)
            self.editor.propagate()
            self.editor.apply()
            result = self.editor.voxels()
            for index in (6, SLICE):
                self.assertTrue(np.array_equal(result[index], self.drawn[index]))
        with self.step("another segment stays as it is"):
            click(self.editor_child("AddSegmentButton"))
            other = self.editor.segmentation.GetSegmentation().GetNthSegmentID(1)
            self.editor.select(other)
            self.eventually_in("Press Start", lambda: self.editor.status)
            self.editor.select("GTV")
            self.assertTrue(np.array_equal(self.editor.voxels(), result))

    def editor_child(self, name):
        from app_user import child

        return child(self.editor.widget, name)
