"""Save, close, load, go on; and a preview that was open when the scene was saved."""

import tempfile
from pathlib import Path

import numpy as np
import slicer
import vtk

from app_panel import PanelTestCase, logic
from app_user import choose_node, process_events
from app_volumes import nodes

SLICE = 8
OUTLINE = [(2, 2), (2, 9), (9, 9), (9, 2)]


class AppSceneTest(PanelTestCase):
    def propagated(self):
        """With one propagation in the scene."""
        with self.step("predict, redraw and propagate"):
            self.open_ct()
            self.predict()
            editor = self.open_editor()
            editor.draw(0, SLICE, OUTLINE)
            self.back_to_panel()
            self.propagate()
            self.eventually(lambda: self.rows, [("axial", str(SLICE), "propagated")])
        self.result = self.segment()

    def saved_closed_and_loaded(self):
        """Save the scene as a bundle, close it, load it."""
        folder = Path(tempfile.mkdtemp(prefix="context-propagation-scene-"))
        with self.step("save the scene"):
            self.assertTrue(slicer.util.saveScene(str(folder / "case.mrb")))
            self.assertGreater((folder / "case.mrb").stat().st_size, 1000)
        with self.step("close the scene"):
            slicer.mrmlScene.Clear(0)
            process_events(0.2)
            self.eventually(lambda: logic().propagation, None)
            self.eventually(lambda: self.ui.predictButton.enabled, False)
        with self.step("load the scene"):
            slicer.util.loadScene(str(folder / "case.mrb"))
            process_events(0.3)
            self.assertEqual(nodes("vtkMRMLScalarVolumeNode")[0].GetName(), "CT")
            loaded = nodes("vtkMRMLScalarVolumeNode")[0]
            self.eventually(lambda: self.ui.firstVolumeSelector.currentNode() is loaded, True)

    def test_a_saved_scene_is_replayed(self):
        self.propagated()
        self.saved_closed_and_loaded()
        with self.step("replay"):
            self.dialogs.answer("propagated edit(s)", "Yes")
            self.predict()
            self.assertTrue(np.array_equal(self.segment(), self.result), "replaying changed the segment")
            self.eventually(lambda: self.rows, [("axial", str(SLICE), "propagated")])
        with self.step("go on from there"):
            editor = self.open_editor()
            editor.draw(0, 4, OUTLINE)
            drawn = editor.voxels()
            self.back_to_panel()
            self.propagate()
            after = self.segment()
            self.assertTrue(np.array_equal(after[4], drawn[4]))
            self.assertTrue(np.array_equal(after[SLICE], drawn[SLICE]), "the first drawn slice was changed")

    def test_a_saved_scene_is_started_anew(self):
        self.propagated()
        self.saved_closed_and_loaded()
        with self.step("do not replay"):
            self.dialogs.answer("propagated edit(s)", "No")
            self.dialogs.answer("Keep them as they are?", "Yes")
            self.predict()
            self.assertTrue(np.array_equal(self.segment(), self.result))

    def test_a_preview_in_a_saved_scene_leaves_nothing_behind(self):
        with self.step("save with an open preview"):
            self.open_ct()
            self.predict()
            editor = self.open_editor()
            editor.open_effect()
            editor.choose_model(self.model.name)
            editor.draw(0, SLICE, OUTLINE)
            editor.open_effect()
            editor.propagate()
            self.assertEqual(len(editor.previews()), 1)
            self.open_panel()
        self.saved_closed_and_loaded()
        with self.step("look for what the preview left"):
            self.assertEqual(nodes("vtkMRMLSegmentationNode", "Propagation preview"), [])
            hierarchy, ids = slicer.mrmlScene.GetSubjectHierarchyNode(), vtk.vtkIdList()
            hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), ids, True)
            names = [hierarchy.GetItemName(ids.GetId(n)) for n in range(ids.GetNumberOfIds())]
            self.assertFalse([n for n in names if "preview" in n.lower() or n.startswith("would be")], names)

    def test_the_next_case_after_closing_gets_a_segment_of_its_own(self):
        with self.step("predict, close, predict another"):
            self.open_ct()
            self.predict()
            slicer.mrmlScene.Clear(0)
            process_events(0.2)
            second = self.open_ct(name="CT 2", seed=9)
            choose_node(self.ui.firstVolumeSelector, second)
            self.predict()
            self.assertEqual(logic().selection.volume_nodes[0].GetName(), "CT 2")
            self.assertTrue(self.segment().any())
