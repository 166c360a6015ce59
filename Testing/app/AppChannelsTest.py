"""A model of two channels: which volumes it reads, and a PET that is brought onto the CT's grid, both ways."""

import numpy as np
import slicer

from app_panel import Editor, PanelTestCase, wait
from app_user import choose_node, click, pick_node
from app_volumes import SHAPE, add_ct, add_segmentation, ball, show


class AppChannelsTest(PanelTestCase):
    channels = 2

    def test_both_volumes_are_read(self):
        with self.step("one volume is not enough"):
            self.open_ct()
            self.assertTrue(self.ui.secondVolumeSelector.isVisible())
            choose_node(self.ui.secondVolumeSelector, None)
            self.assertFalse(self.ui.predictButton.enabled)
        with self.step("predict with two"):
            choose_node(self.ui.secondVolumeSelector, add_ct("PET", seed=5))
            self.predict()
            self.assertTrue(self.segment().any())
        with self.step("redraw and propagate"):
            before = self.segment()
            editor = self.open_editor()
            editor.draw(0, 8, [(2, 2), (2, 9), (9, 9), (9, 2)])
            drawn = editor.voxels()
            self.assertFalse(np.array_equal(before, drawn))
            self.back_to_panel()
            self.propagate()
            self.assertTrue(np.array_equal(self.segment()[8], drawn[8]))

    def choose_pet_on_another_grid(self):
        self.open_ct()
        self.pet = smooth(add_ct("PET", (10, 12, 12), (1.2, 1.6, 4.0), seed=5))
        choose_node(self.ui.secondVolumeSelector, self.pet)

    def test_a_pet_on_another_grid_is_refused_and_resampled_on_request(self):
        with self.step("predict is refused"):
            self.choose_pet_on_another_grid()
            self.dialogs.answer("is not on the grid of 'CT'")
            self.predict()
        with self.step("align, and think better of it"):
            self.dialogs.answer("Also register it", "Cancel")
            click(self.ui.alignButton)
            self.assertIs(self.ui.secondVolumeSelector.currentNode(), self.pet)
        with self.step("align: resample only"):
            self.dialogs.answer("Also register it", "No")
            self.dialogs.answer("was made.")
            click(self.ui.alignButton)
            wait()
            aligned = self.ui.secondVolumeSelector.currentNode()
            self.assertEqual(slicer.util.arrayFromVolume(aligned).shape, SHAPE)
        with self.step("predict with the aligned PET"):
            self.predict()
            self.assertTrue(self.segment().any())

    def test_a_pet_is_registered_on_request(self):
        with self.step("align: register"):
            volume = smooth(add_ct(shape=(16, 24, 24), spacing=(3.0, 3.0, 3.0)))
            pet = smooth(add_ct("PET", (16, 24, 24), (3.0, 3.0, 3.0), origin=(3.0, 0.0, 0.0)))
            choose_node(self.ui.firstVolumeSelector, volume)
            choose_node(self.ui.secondVolumeSelector, pet)
            self.dialogs.answer("Also register it", "Yes")
            self.dialogs.answer("was made.")
            click(self.ui.alignButton)
            wait()
            aligned = self.ui.secondVolumeSelector.currentNode()
            self.assertIsNot(aligned, pet)
            self.assertEqual(slicer.util.arrayFromVolume(aligned).shape, (16, 24, 24))

    def test_the_effect_asks_for_the_second_volume(self):
        with self.step("start with one volume"):
            volume, pet = add_ct(), add_ct("PET", seed=5)
            show(volume)
            node = add_segmentation(volume, GTV=ball())
            editor = Editor(node, volume, "GTV")
            effect = editor.open_effect()
            editor.choose_model(self.model.name)
            self.dialogs.answer("select one volume per channel")
            editor.start()
        with self.step("choose the second and start"):
            pick_node(effect.second, pet)
            editor.start()
            self.eventually_in("Redraw a slice", lambda: editor.status)


def smooth(volume):
    """Make a volume's noise into blobs with an edge: something that can be registered."""
    voxels = slicer.util.arrayFromVolume(volume)
    centre = [n / 2 for n in voxels.shape]
    voxels[:] = 100 * ball(centre, [n / 4 for n in voxels.shape], voxels.shape) + 0.1 * voxels
    slicer.util.arrayFromVolumeModified(volume)
    return volume
