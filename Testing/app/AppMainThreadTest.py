"""How long a CT of a usual size holds the main thread, with the model that ships; figures, no verdict.

`CONTEXT_PROPAGATION_APP_CT` names another size: "k,j,i".
"""

import os

import numpy as np
import slicer

from app_case import AppTestCase
from app_panel import MODULE, Editor, logic, panel_widgets, wait
from app_user import choose_node, click, open_module, process_events
from app_volumes import add_segmentation, ball, show, voxels

SHAPE = "CONTEXT_PROPAGATION_APP_CT"
SPACING_MM = (0.9, 0.9, 3.0)


def add_large_ct(shape):
    """A patient of water in air, with a dense ball where a tumour might be."""
    k, j, i = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    radius = (0.2 * k**2)[:, None, None] + (j**2)[None, :, None] + (i**2)[None, None, :]
    ct = np.full(shape, -1000, np.int16)
    ct[radius < 0.7] = 20
    ct[(4 * k**2)[:, None, None] + (25 * j**2)[None, :, None] + (25 * i**2)[None, None, :] < 1] = 90
    ct += np.random.default_rng(0).integers(-20, 20, shape, dtype=np.int16)
    return slicer.util.addVolumeFromArray(ct, np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0]), "CT")


class AppMainThreadTest(AppTestCase):
    def test_a_large_ct_with_a_tumour_of_usual_size(self):
        """It was contoured before; the segment lies in a small box."""

        def contoured(volume, shape):
            k, j, i = (n // 2 for n in shape)
            tumour = ball((k, j, i), (max(shape[0] // 20, 2), shape[1] // 16, shape[2] // 16), shape)
            return add_segmentation(volume, GTV=tumour)

        self.use_panel_and_effect(contoured)

    def test_a_large_ct_with_voxels_all_over(self):
        """The model predicts on what it was never trained for: the segment's box is nearly the volume."""
        self.use_panel_and_effect(lambda volume, shape: None)

    def use_panel_and_effect(self, contoured):
        self.needs_packages()
        shape = tuple(int(n) for n in os.environ.get(SHAPE, "160,512,512").split(","))
        with self.step(f"make and show a CT of {shape}"):
            volume = add_large_ct(shape)
            before = contoured(volume, shape)
            show(volume)
            process_events(3.0)  # a person looks at it; meanwhile the imports after start-up are done
        with self.step("open the module and choose the CT"):
            open_module(MODULE)
            ui = panel_widgets()
            ui.modelSelector.setCurrentIndex(0)
            choose_node(ui.firstVolumeSelector, volume)
            if before is not None:
                choose_node(ui.segmentSelector, before)
        with self.step("predict"):
            click(ui.predictButton)
            wait()
            self.assertIsNotNone(logic().propagation, ui.stateLabel.text)
        chosen = logic().selection
        node, segment = chosen.segmentation_node, chosen.segment_id
        with self.step("open the Segment Editor"):
            editor = Editor(node, volume, segment)
        middle, rows, columns = shape[0] // 2, shape[1] // 2, shape[2] // 2
        with self.step("draw an outline"):
            redraw(editor, middle, rows, columns, shape[1] // 16)
        drawn = voxels(node, segment, shape)
        self.use_panel(ui, drawn, lambda: voxels(node, segment, shape))
        with self.step("open the Segment Editor again"):
            editor = Editor(node, volume, segment)
        self.use_effect(editor, lambda: redraw(editor, middle + 4, rows, columns, shape[1] // 16))

    def use_panel(self, ui, drawn, segment_now):
        """Propagate, undo and redo what was drawn."""
        middle = len(drawn) // 2
        with self.step("back to the module"):
            open_module(MODULE)
            process_events(until=lambda: ui.propagateButton.isEnabled(), at_most=60)
        with self.step("propagate from the panel"):
            click(ui.propagateButton)
            wait()
            self.assertTrue(np.array_equal(segment_now()[middle], drawn[middle]))
        with self.step("undo"):
            click(ui.undoButton)
            process_events(1.0)
            self.assertTrue(np.array_equal(segment_now(), drawn))
        with self.step("redo"):
            click(ui.redoButton)
            process_events(1.0)

    def use_effect(self, editor, redraw_again):
        """Redraw another slice, propagate, look, apply, undo."""
        with self.step("choose the effect"):
            editor.open_effect()
            process_events(1.0)
        with self.step("choose another tool, and the effect again"):
            editor.tool("Paint")
            editor.open_effect()
            process_events(1.0)
        with self.step("draw another outline"):
            redraw_again()
            editor.open_effect()
            process_events(until=lambda: "Redrawn" in editor.status, at_most=60)
        with self.step("propagate from the effect"):
            editor.propagate()
            self.assertEqual(len(editor.previews()), 1)
        with self.step("hide and show the preview"):
            click(editor.effect.show)
            click(editor.effect.show)
        with self.step("apply"):
            editor.apply()
            process_events(1.0)
        with self.step("the editor's undo"):
            editor.undo()
            process_events(1.0)


def redraw(editor, index, row, column, radius):
    """Draw an outline's inside, or erase there where all of it is drawn already."""
    before = editor.voxels()
    editor.draw(0, index, outline(row, column, radius))
    if not (editor.voxels() ^ before).any():
        editor.erase(0, index, [(row, column - radius), (row, column + radius)], millimetres=radius * SPACING_MM[1])
    if not (editor.voxels() ^ before)[index].any():
        raise AssertionError("neither drawing nor erasing changed the slice")


def outline(row, column, radius):
    """A circle's points around a voxel of a slice."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return [(row + radius * np.sin(a), column + radius * np.cos(a)) for a in angles]
