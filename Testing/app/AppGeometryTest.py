"""Other planes, other grids, transforms."""

import numpy as np
import slicer
import vtk

from app_panel import Editor, PanelTestCase, changed_slices
from app_user import click, process_events
from app_volumes import add_ct, add_segmentation, ball, show, voxels

STROKES = {0: [(13, 5), (13, 11)], 1: [(5, 13), (11, 13)], 2: [(5, 13), (11, 13)]}
FINE = (32, 32, 32)
MARGIN = 4
"""Voxels that the editor may add around a finer grid, so that it covers the volume."""
PLANES = {0: "axial", 1: "coronal", 2: "sagittal"}


class AppGeometryTest(PanelTestCase):
    def started(self, volume, node):
        """With the effect started on the segment GTV."""
        show(volume)
        process_events(0.05)
        self.editor = Editor(node, volume, "GTV")
        self.editor.open_effect()
        self.editor.choose_model(self.model.name)
        self.editor.start()

    def redraw_and_apply(self, axis):
        """Paint slice 8 of a plane, propagate and apply; checks the drawn slice and that something was written."""
        editor = self.editor
        before = editor.voxels()
        editor.paint(axis, 8, STROKES[axis])
        drawn = editor.voxels()
        self.assertEqual(changed_slices(before, drawn, axis), [8])
        editor.open_effect()
        self.eventually_in(f"Redrawn: {PLANES[axis]} slice 8.", lambda: editor.status)
        editor.propagate()
        editor.apply()
        result = editor.voxels()
        self.assertTrue(np.array_equal(np.take(result, 8, axis), np.take(drawn, 8, axis)), "the drawn slice changed")
        self.assertTrue((result ^ drawn).any(), "nothing was written")

    def on_plane(self, axis):
        with self.step(f"redraw a {PLANES[axis]} slice, propagate and apply"):
            volume = add_ct()
            self.started(volume, add_segmentation(volume, GTV=ball()))
            self.redraw_and_apply(axis)

    def test_a_sagittal_slice(self):
        self.on_plane(2)

    def test_a_coronal_slice(self):
        self.on_plane(1)

    def test_an_axial_slice(self):
        self.on_plane(0)

    def test_volume_and_segmentation_under_one_transform(self):
        with self.step("move both, redraw, propagate and apply"):
            volume = add_ct()
            node = add_segmentation(volume, GTV=ball())
            transform = self.shift(7.0)
            for moved in (volume, node):
                moved.SetAndObserveTransformNodeID(transform.GetID())
            self.started(volume, node)
            self.redraw_and_apply(0)

    def test_a_segmentation_on_a_finer_grid(self):
        with self.step("redraw on a finer grid, propagate and apply"):
            volume = add_ct()
            fine = add_ct("fine", FINE, (0.4, 0.55, 1.25))
            node = add_segmentation(fine, GTV=ball((16, 16, 16), (8, 8, 8), FINE))
            slicer.mrmlScene.RemoveNode(fine)
            show(volume)
            self.started(volume, node)
            editor = self.editor
            before = voxels(node, "GTV", FINE, MARGIN)
            editor.paint(0, 8, STROKES[0])
            drawn = voxels(node, "GTV", FINE, MARGIN)
            self.assertTrue((before ^ drawn).any(), "the stroke changed nothing")
            editor.open_effect()
            self.eventually_in("Redrawn: axial slice", lambda: editor.status)
            editor.propagate()
            self.assertEqual(len(editor.previews()), 1)
            editor.apply()
            result, middle = voxels(node, "GTV", FINE, MARGIN), 16 + MARGIN
            self.assertTrue((result ^ drawn).any(), "nothing was written")
            self.assertTrue(np.array_equal(result[middle], drawn[middle]), "the middle of the drawn slice was changed")

    def test_two_segments_of_one_segmentation(self):
        with self.step("redraw the second segment"):
            volume = add_ct()
            node = add_segmentation(volume, Organ=ball((8, 3, 3), (3, 2, 2)), GTV=ball())
            organ = voxels(node, "Organ")
            overlap = slicer.vtkMRMLSegmentEditorNode.OverwriteNone
            self.started(volume, node)
            self.editor.node.SetOverwriteMode(overlap)
            self.redraw_and_apply(0)
            self.assertTrue(np.array_equal(voxels(node, "Organ"), organ))

    def test_the_plane_is_asked_for_where_none_stands_out(self):
        with self.step("change a cube, and name the plane"):
            volume = add_ct()
            self.started(volume, add_segmentation(volume, GTV=ball()))
            for index in (7, 8, 9):
                self.editor.draw(0, index, [(11, 11), (11, 14), (14, 14), (14, 11)])
            self.editor.open_effect()
            if "unclear which slices were redrawn" in self.editor.status:
                self.editor.effect.plane.setCurrentIndex(1)
                process_events(0.1)
            self.eventually_in("Redrawn: axial slices 7, 8, 9.", lambda: self.editor.status)
            click(self.editor.effect.propagate)
            process_events(until=lambda: self.editor.previews(), at_most=60)

    @staticmethod
    def shift(millimetres):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, millimetres)
        node.SetMatrixTransformToParent(matrix)
        return node
