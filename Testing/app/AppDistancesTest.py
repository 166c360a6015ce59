"""A CT with two slice distances, as Slicer loads it from DICOM: refused, copied with even slices, brought back."""

import numpy as np
import slicer

from app_panel import PanelTestCase, wait
from app_user import choose_node, click
from app_volumes import SHAPE, SPACING_MM, add_ct, move_slices, nodes, show, voxels

POSITIONS_MM = np.concatenate([np.arange(11) * 2.5, 25 + np.arange(1, 6) * 5])
"""Of 16 slices: the first ten steps are 2.5 mm, the last five 5 mm."""
EVEN = (21, *SHAPE[1:])
"""As many slices of 2.5 mm: the last one is at 50 mm."""
OF_ACQUIRED = [*range(11), 12, 14, 16, 18, 20]
"""Which of these lie where slices were acquired."""
OUTLINE = [(4, 4), (4, 11), (11, 11), (11, 4)]


class AppDistancesTest(PanelTestCase):
    def test_a_ct_with_two_slice_distances(self):
        with self.step("predict is refused, and says what to press"):
            ct = add_ct(spacing=(*SPACING_MM[:2], POSITIONS_MM[-1] / 15))
            move_slices(ct, POSITIONS_MM)
            show(ct)
            choose_node(self.ui.firstVolumeSelector, ct)
            self.dialogs.answer("press Make even slices")
            self.predict()
        with self.step("the panel says what a copy changes"):
            said = self.ui.distancesLabel.text
            self.assertIn("2.5 mm apart (slices 0 to 10) and 5 mm apart (slices 10 to 15)", said)
            self.assertIn("21 slices 2.5 mm apart in place of 16", said)
        with self.step("make even slices"):
            self.dialogs.answer("was made with 21 slices")
            click(self.ui.evenSlicesButton)
            wait()
            copy = self.ui.firstVolumeSelector.currentNode()
            self.assertEqual(copy.GetName(), "CT, even slices")
            self.assertIsNone(copy.GetParentTransformNode())
            made, acquired = slicer.util.arrayFromVolume(copy), slicer.util.arrayFromVolume(ct)
            self.assertTrue(np.array_equal(made[OF_ACQUIRED], acquired), "an acquired slice was changed")
        with self.step("predict, redraw an acquired slice, propagate"):
            self.predict()
            editor = self.open_editor()
            editor.draw(0, 14, OUTLINE)
            drawn = editor.voxels()
            self.back_to_panel()
            self.propagate()
            result = self.segment(EVEN)
            self.assertTrue(np.array_equal(result[14], drawn[14]), "the drawn slice changed")
        with self.step("bring the contours back on the acquired slices"):
            self.dialogs.answer("was made on the slices of 'CT'")
            click(self.ui.acquiredSlicesButton)
            wait()
            (back,) = [n for n in nodes("vtkMRMLSegmentationNode") if n.GetName().endswith("acquired slices")]
            self.assertIs(back.GetParentTransformNode(), ct.GetParentTransformNode())
            segment_id = back.GetSegmentation().GetNthSegmentID(0)
            self.assertTrue(np.array_equal(voxels(back, segment_id), result[OF_ACQUIRED]))
