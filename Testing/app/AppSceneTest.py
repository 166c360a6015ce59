"""Save, close, load, go on; a preview that was open when the scene was saved; and what Slicer left when it died."""

import shutil
from pathlib import Path

import numpy as np
import slicer
import vtk

from app_folders import temporary_folder
from app_panel import PanelTestCase, logic
from app_user import choose_node, process_events
from app_volumes import nodes

SLICE = 8
OUTLINE = [(2, 2), (2, 9), (9, 9), (9, 2)]


def leave_journal_behind():
    """A copy of what is kept now, under the name of a process that is no more."""
    journal = logic().journal
    logic().keep_drawn()
    (own,) = (file for file in journal.folder.glob("*.json") if file not in journal.left_behind)
    return Path(shutil.copy(own, own.with_name(f"{0:032x}.1.journal.json")))


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
        folder = temporary_folder("scene")
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

    def test_what_was_drawn_before_slicer_died_comes_back(self):
        self.propagated()
        with self.step("redraw another slice, and leave the journal as a Slicer that dies does"):
            editor = self.open_editor()
            editor.draw(0, 4, OUTLINE)
            self.back_to_panel()
            drawn, left = self.segment(), leave_journal_behind()
        with self.step("close the scene"):
            slicer.mrmlScene.Clear(0)
            process_events(0.2)
            self.open_ct()
            self.eventually_in("Segments from before Slicer stopped", lambda: self.ui.journalLabel.text)
        with self.step("bring it back"):
            self.dialogs.answer("(drawn slices: 2). Bring it back?", "Yes")
            self.predict()
            self.assertTrue(np.array_equal(self.segment(), drawn), "the segment is not as it was")
            self.eventually(lambda: self.rows, [("axial", "4", "redrawn"), ("axial", str(SLICE), "propagated")])
            self.assertFalse(left.exists())
        with self.step("go on from what was brought back"):
            self.propagate()
            after = self.segment()
            self.assertTrue(np.array_equal(after[[4, SLICE]], drawn[[4, SLICE]]), "a drawn slice was changed")

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
