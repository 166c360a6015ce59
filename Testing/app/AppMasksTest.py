"""What the Segment Editor forbids is obeyed: editable area, intensity range, overwriting of other segments."""

import numpy as np
import slicer

from app_panel import Editor, PanelTestCase
from app_volumes import SHAPE, add_ct, add_segmentation, ball, show

SLICE = 8
BESIDE = [(13, 5), (13, 11)]


class AppMasksTest(PanelTestCase):
    def previewed(self, prepare):
        """Start, paint a slice, set the editor up as told, and propagate."""
        with self.step("start, paint, set the masks, and propagate"):
            volume = add_ct()
            show(volume)
            everywhere = np.ones(SHAPE, bool)
            organ = np.zeros(SHAPE, bool)
            organ[:, :, :8] = True
            node = add_segmentation(volume, GTV=ball(), Organ=organ & ~ball(), All=everywhere)
            node.GetDisplayNode().SetSegmentVisibility("All", False)
            self.editor = editor = Editor(node, volume, "GTV")
            editor.node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
            editor.open_effect()
            editor.choose_model(self.model.name)
            editor.start()
            editor.paint(0, SLICE, BESIDE)
            self.drawn, self.organ = editor.voxels(), editor.voxels("Organ")
            prepare(editor)
            editor.open_effect()
            editor.propagate()

    def applied(self):
        """Apply; the segment and what changed."""
        self.editor.apply()
        result = self.editor.voxels()
        return result, result ^ self.drawn

    def test_the_editable_area_is_obeyed(self):
        def prepare(editor):
            modifying = editor.node.StartModify()  # the editor's list goes back to "everywhere" between the two
            editor.node.SetMaskSegmentID("Organ")
            editor.node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
            editor.node.EndModify(modifying)

        self.previewed(prepare)
        with self.step("apply inside one segment"):
            result, changed = self.applied()
            self.assertFalse((changed & ~self.organ).any(), "voxels outside the editable area were written")
            self.assertTrue(np.array_equal(result[SLICE], self.drawn[SLICE]))

    def test_the_intensity_range_is_obeyed(self):
        def prepare(editor):
            editor.node.SourceVolumeIntensityMaskOn()
            editor.node.SetSourceVolumeIntensityMaskRange(0.0, 100.0)

        self.previewed(prepare)
        with self.step("apply inside the range"):
            _result, changed = self.applied()
            intensities = slicer.util.arrayFromVolume(self.editor.volume)
            self.assertFalse((changed & (intensities < 0)).any(), "voxels outside the range were written")

    def test_other_segments_are_overwritten_only_where_the_user_wants_it(self):
        self.previewed(lambda editor: None)
        with self.step("apply with overlap allowed"):
            self.applied()
            self.assertTrue(np.array_equal(self.editor.voxels("Organ"), self.organ))

    def test_overwriting_takes_voxels_from_the_others(self):
        all_segments = slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments
        self.previewed(lambda editor: editor.node.SetOverwriteMode(all_segments))
        with self.step("apply with overwriting"):
            result, changed = self.applied()
            added = changed & result
            self.assertFalse((self.editor.voxels("Organ") & added).any(), "voxels belong to two segments")
