"""What is worked on disappears: segments, segmentations, volumes and scenes, with a preview open or in a run."""

import slicer

from app_panel import Editor, PanelTestCase, logic, runner, wait
from app_user import click, open_module, process_events
from app_volumes import add_ct, add_segmentation, ball, nodes, show

SLICE = 8
BESIDE = [(13, 5), (13, 11)]


class AppInterruptionTest(PanelTestCase):
    def previewed(self):
        """With a preview in the Segment Editor."""
        self.ready_to_propagate()
        with self.step("propagate"):
            self.editor.propagate()
            self.assertEqual(len(self.editor.previews()), 1)

    def ready_to_propagate(self):
        """With the effect started and a slice redrawn."""
        with self.step("start and paint"):
            self.volume = add_ct()
            show(self.volume)
            self.node = add_segmentation(self.volume, GTV=ball())
            self.editor = Editor(self.node, self.volume, "GTV")
            self.editor.open_effect()
            self.editor.choose_model(self.model.name)
            self.editor.start()
            self.editor.paint(0, SLICE, BESIDE)
            self.editor.open_effect()

    def nothing_is_left(self):
        """No preview, no session, no run."""
        process_events(until=lambda: not runner().busy, at_most=60)
        process_events(0.3)
        self.assertEqual(nodes("vtkMRMLSegmentationNode", "Propagation preview"), [])
        self.eventually(lambda: logic().propagation, None)

    def test_the_segment_is_removed_while_its_preview_is_open(self):
        self.previewed()
        with self.step("remove the segment"):
            self.node.GetSegmentation().RemoveSegment("GTV")
            self.nothing_is_left()

    def test_the_segmentation_is_deleted_while_its_preview_is_open(self):
        self.previewed()
        with self.step("delete the segmentation"):
            slicer.mrmlScene.RemoveNode(self.node)
            self.nothing_is_left()

    def test_the_volume_is_deleted_while_a_preview_is_open(self):
        self.previewed()
        with self.step("delete the volume"):
            slicer.mrmlScene.RemoveNode(self.volume)
            self.nothing_is_left()

    def test_the_scene_is_closed_while_a_preview_is_open(self):
        self.previewed()
        with self.step("close the scene"):
            slicer.mrmlScene.Clear(0)
            self.nothing_is_left()

    def test_the_preview_itself_is_deleted(self):
        self.previewed()
        with self.step("delete the preview's node"):
            (preview,) = self.editor.previews()
            slicer.mrmlScene.RemoveNode(preview)
            process_events(0.3)
            if self.editor.effect.discard.isEnabled():
                self.editor.discard()
            self.assertIsNotNone(self.node.GetScene())

    def test_the_segmentation_is_deleted_in_the_middle_of_a_run(self):
        self.ready_to_propagate()
        with self.step("press Propagate and delete the segmentation"):
            click(self.editor.effect.propagate)
            slicer.mrmlScene.RemoveNode(self.node)
            self.nothing_is_left()

    def test_the_scene_is_closed_in_the_middle_of_a_run(self):
        self.ready_to_propagate()
        with self.step("press Propagate and close the scene"):
            click(self.editor.effect.propagate)
            slicer.mrmlScene.Clear(0)
            self.nothing_is_left()

    def test_the_volume_is_deleted_in_the_middle_of_a_prediction(self):
        with self.step("press Predict and delete the volume"):
            volume = self.open_ct()
            click(self.ui.predictButton)
            slicer.mrmlScene.RemoveNode(volume)
            self.nothing_is_left()

    def test_a_stroke_stops_a_run(self):
        self.ready_to_propagate()
        with self.step("press Propagate and paint"):
            click(self.editor.effect.propagate)
            busy = runner().busy
            self.editor.paint(0, 10, BESIDE)
            wait()
            self.editor.open_effect()
            self.eventually(self.editor.previews, [])
            if busy:
                self.eventually_in("10", lambda: self.editor.status)

    def test_another_module_is_opened_in_the_middle_of_a_run(self):
        with self.step("press Predict and open Sample Data"):
            self.open_ct()
            click(self.ui.predictButton)
            open_module("SampleData")
            wait()
            self.open_panel()
            process_events(0.6)
            self.assertTrue(self.segment().any())
