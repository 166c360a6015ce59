"""The module's panel: predict, redraw with the mouse, propagate, undo, redo, cancel, measure, suggest, plot."""

import numpy as np
import slicer

from app_folders import temporary_folder
from app_panel import PanelTestCase, changed_slices, list_model, logic, runner, small_model, wait
from app_user import SliceView, choose, choose_node, click, process_events
from app_volumes import SHAPE, add_segmentation, ball, nodes

SLICE = 8
STROKE = [(8, 5), (8, 8), (8, 11)]


class AppPanelTest(PanelTestCase):
    def predicted(self):
        """With a prediction of a CT."""
        with self.step("predict"):
            self.volume = self.open_ct()
            self.predict()
            self.assertTrue(self.segment().any())
            self.eventually_in("filled with the prediction", lambda: self.state)

    def redrawn(self):
        """With one slice painted and erased with the mouse."""
        with self.step("redraw a slice with the brush"):
            before = self.segment()
            editor = self.open_editor()
            row, column = self.free_row(before)
            editor.paint(0, SLICE, [(row, column), (row, column + 3)])
            painted = editor.voxels()
            self.assertEqual(changed_slices(before, painted), [SLICE], "the stroke is not on one slice alone")
            self.assertTrue((painted & ~before).any())
            self.back_to_panel()
            self.eventually(lambda: self.rows, [("axial", str(SLICE), "redrawn")])
        self.drawn = self.segment()

    @staticmethod
    def free_row(mask):
        """A place on the slice where the prediction is thin: a stroke there adds something."""
        row = int(mask[SLICE, 2:-2].sum(axis=1).argmin()) + 2
        columns = [mask[SLICE, row, c : c + 4].sum() for c in range(2, SHAPE[2] - 6)]
        return row, int(np.argmin(columns)) + 2

    def test_a_redrawn_slice_is_propagated_undone_and_redone(self):
        self.predicted()
        self.redrawn()
        with self.step("propagate"):
            self.propagate()
            result = self.segment()
            self.assertTrue(np.array_equal(result[SLICE], self.drawn[SLICE]), "the drawn slice was changed")
            self.assertTrue((result ^ self.drawn).any(), "nothing was propagated")
            self.eventually(lambda: self.rows, [("axial", str(SLICE), "propagated")])
            self.eventually_in("voxels changed", lambda: self.state)
        with self.step("undo"):
            click(self.ui.undoButton)
            self.assertTrue(np.array_equal(self.segment(), self.drawn), "Undo did not return the drawing")
            self.eventually(lambda: self.rows, [("axial", str(SLICE), "redrawn")])
        with self.step("redo"):
            click(self.ui.redoButton)
            self.assertTrue(np.array_equal(self.segment(), result))
            self.assertFalse(self.ui.redoButton.enabled)

    def surface_cells(self):
        """How many cells the segment's surface has that the 3D views show."""
        chosen = logic().selection
        name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        surface = chosen.segmentation_node.GetSegmentation().GetSegment(chosen.segment_id).GetRepresentation(name)
        shown = chosen.segmentation_node.GetDisplayNode().GetVisibility3D()
        return surface.GetNumberOfCells() if shown and surface is not None else 0

    def test_one_click_shows_the_segment_in_3d_and_it_follows_what_is_propagated(self):
        self.predicted()
        with self.step("show in 3D"):
            self.assertEqual(self.surface_cells(), 0)
            click(self.ui.show3dBox)
            self.eventually(lambda: self.surface_cells() > 0, True)
        self.redrawn()
        with self.step("propagate while it is shown in 3D"):
            drawn = self.surface_cells()
            self.propagate()
            self.eventually(lambda: self.surface_cells() not in (0, drawn), True)
        with self.step("undo while it is shown in 3D"):
            click(self.ui.undoButton)
            self.eventually(self.surface_cells, drawn)
        with self.step("no longer in 3D"):
            click(self.ui.show3dBox)
            self.eventually(self.surface_cells, 0)

    def test_an_erased_slice_is_found_and_propagated(self):
        self.predicted()
        with self.step("erase on a slice"):
            before = self.segment()
            editor = self.open_editor()
            editor.erase(0, SLICE, [(4, 4), (4, 11), (11, 11)], millimetres=4)
            self.assertEqual(changed_slices(before, editor.voxels()), [SLICE])
            self.assertFalse((editor.voxels() & ~before).any())
            self.back_to_panel()
            self.eventually(lambda: self.rows, [("axial", str(SLICE), "redrawn")])
        drawn = self.segment()
        with self.step("propagate what was erased"):
            self.propagate()
            self.assertTrue(np.array_equal(self.segment()[SLICE], drawn[SLICE]))

    def test_an_outline_drawn_with_the_mouse_is_found_and_propagated(self):
        self.predicted()
        with self.step("draw an outline"):
            before = self.segment()
            editor = self.open_editor()
            editor.draw(0, SLICE, [(2, 2), (2, 9), (9, 9), (9, 2)])
            self.assertEqual(changed_slices(before, editor.voxels()), [SLICE])
            self.assertTrue(editor.voxels()[SLICE, 4:8, 4:8].all(), "the inside of the outline was not filled")
            self.back_to_panel()
        drawn = self.segment()
        with self.step("propagate the outline"):
            self.propagate()
            self.assertTrue(np.array_equal(self.segment()[SLICE], drawn[SLICE]))

    def test_cancel_changes_nothing(self):
        self.predicted()
        self.redrawn()
        with self.step("cancel a propagation"):
            click(self.ui.propagateButton)
            if runner().busy:  # a small network may be through by now
                click(self.ui.cancelButton)
                wait()
                self.assertTrue(np.array_equal(self.segment(), self.drawn))
            self.assertFalse(self.ui.cancelButton.visible)

    def test_the_slice_in_view_is_confirmed_and_no_propagation_changes_it(self):
        self.predicted()
        self.redrawn()
        with self.step("confirm the slice in view"):
            SliceView(self.volume, 0, 10)
            before = self.segment()
            click(self.ui.confirmButton)
            self.eventually_in("Confirmed: axial slice 10", lambda: self.state)
            self.assertEqual(self.ui.undoLabel.text, "Undo takes back: confirmed axial slice 10.")
        with self.step("propagate"):
            self.propagate()
            self.assertTrue(np.array_equal(self.segment()[10], before[10]), "the confirmed slice was changed")
            self.assertIn(("axial", "10", "confirmed"), self.rows)
        with self.step("undo both"):
            click(self.ui.undoButton)
            click(self.ui.undoButton)
            self.assertFalse(self.ui.undoLabel.visible)

    def lesions(self):
        """The table of lesions: name, state, edits of each."""
        process_events(0.1)
        table = self.ui.lesionsTable
        return [tuple(table.item(row, c).text() for c in (0, 2, 3)) for row in range(table.rowCount)]

    def test_two_lesions_are_gone_on_with_in_turns_and_a_missed_one_is_drawn(self):
        with self.step("start on two lesions"):
            volume = self.open_ct()
            node = add_segmentation(volume, "Lesions", A=np.roll(ball(), -3, axis=2), B=np.roll(ball(), 3, axis=2))
            ids = node.GetSegmentation().GetSegmentIDs()
            choose_node(self.ui.segmentSelector, node)
            for segment_id in ids:
                self.ui.segmentSelector.setCurrentSegmentID(segment_id)
                self.predict()
            self.eventually(self.lesions, [("A", "ready", "0"), ("B", "ready", "0")])
        self.volume = volume
        self.redrawn()
        with self.step("propagate in B, and click A"):
            self.propagate()
            b = self.segment()
            self.eventually(
                lambda: self.lesions()[1], ("B", "ready", "1")
            )  # Slicer's brush may have taken voxels from A
            self.ui.lesionsTable.cellClicked(0, 0)
            process_events(0.1)
            self.assertEqual(logic().selection.segment_id, ids[0])
            self.assertNotIn(("axial", str(SLICE), "propagated"), self.rows)
        with self.step("back to B: its edit and its Undo are there"):
            self.ui.segmentSelector.setCurrentSegmentID(ids[1])
            self.eventually(lambda: self.rows, [("axial", str(SLICE), "propagated")])
            self.assertTrue(np.array_equal(self.segment(), b))
            click(self.ui.undoButton)
            self.assertTrue(np.array_equal(self.segment(), self.drawn))
        with self.step("start on an empty segment, and draw one slice of it"):
            missed = node.GetSegmentation().AddEmptySegment("", "missed")
            self.ui.segmentSelector.setCurrentSegmentID(missed)
            self.dialogs.answer("Is it for a lesion that the model missed?", "Yes")
            self.predict()
            self.eventually_in("Draw one slice of the lesion", lambda: self.state)
            self.assertFalse(self.segment().any())
            editor = self.open_editor()
            editor.draw(0, SLICE, [(2, 2), (2, 6), (6, 6), (6, 2)])
            self.back_to_panel()
            drawn = self.segment()
            self.propagate()
            self.assertTrue(np.array_equal(self.segment()[SLICE], drawn[SLICE]))
            self.assertEqual(len(self.lesions()), 3)

    def test_undo_is_refused_where_someone_painted_since(self):
        self.predicted()
        self.redrawn()
        with self.step("propagate, paint on, and press undo"):
            self.propagate()
            editor = self.open_editor()
            editor.paint(0, SLICE + 3, STROKE)
            painted = editor.voxels()
            self.back_to_panel()
            self.dialogs.answer("undo that edit first")
            click(self.ui.undoButton)
            self.assertTrue(np.array_equal(self.segment(), painted))

    def test_slices_drawn_before_are_asked_about(self):
        self.predicted()
        self.redrawn()
        self.propagate()
        with self.step("predict again and keep what was drawn"):
            self.dialogs.answer("Keep them as they are?", "Yes")
            self.predict()
            self.eventually_in(("axial", str(SLICE), "kept"), lambda: self.rows)

    def test_earlier_cases_move_the_next_contours_and_one_click_takes_that_back(self):
        with self.step("remember cases"):
            click(self.ui.profileBox)
        self.predicted()
        own = self.segment()
        with self.step("draw far outside the prediction, and propagate"):
            editor = self.open_editor()
            editor.draw(0, SLICE, [(1, 1), (1, 14), (14, 14), (14, 1)])
            self.back_to_panel()
            self.propagate()
            self.eventually_in("Cases with this model: 1", lambda: self.ui.profileLabel.text)
        with self.step("close the scene"):
            slicer.mrmlScene.Clear(0)
            process_events()
        self.predicted()
        with self.step("the next case begins moved outwards, and goes back"):
            self.assertGreater(self.segment().sum(), own.sum())
            self.eventually_in("moved", lambda: self.state)
            click(self.ui.ownContoursButton)
            self.assertTrue(np.array_equal(self.segment(), own))
            self.assertFalse(self.ui.ownContoursButton.visible)
        with self.step("forget what was remembered"):
            click(self.ui.forgetProfileButton)
            self.eventually_in("No case with this model is remembered yet.", lambda: self.ui.profileLabel.text)
            self.assertFalse(self.ui.forgetProfileButton.visible)
            click(self.ui.profileBox)

    def test_a_problem_report_is_copied_without_names(self):
        self.predicted()
        with self.step("copy the problem report"):
            self.volume.SetName("Roe_Jane")
            click(self.ui.problemReportButton)
            report = slicer.app.clipboard().text()
            self.assertIn("last messages:", report)
            self.assertIn("filled with the prediction", report)
            self.assertNotIn("Roe", report)

    def test_a_case_summary_tells_what_was_done_and_no_name(self):
        self.needs_packages("monai", "matplotlib", "jinja2")
        self.predicted()
        self.redrawn()
        self.propagate()
        with self.step("write the case summary"):
            self.volume.SetName("Roe_Jane")
            self.ui.measureSection.collapsed = False
            self.assertTrue(self.ui.summaryButton.enabled)
            page = temporary_folder("summary") / "case.html"
            self.widget.panel.summary.write_to(page)  # as after the button "Case summary..." and its file dialog
            wait()
            text = page.read_text(encoding="utf-8")
            self.assertIn("<td>axial</td><td>8</td>", text)
            self.assertEqual(text.count("data:image/png;base64,"), 2)
            self.assertNotIn("Roe_Jane", text)  # no letters that a picture's text may hold by chance
            self.eventually_in("case.html", lambda: self.ui.summaryLabel.text)

    def test_the_suggested_slice_is_shown_and_plotted(self):
        self.predicted()
        with self.step("show the suggested slice"):
            index = logic().suggested_slice()
            self.assertIn(f"slice {index}", self.ui.suggestionLabel.text)
            click(self.ui.goToButton)
            red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
            self.assertAlmostEqual(red.GetSliceToRAS().GetElement(2, 3) / 2.5, index, places=2)
        with self.step("plot"):
            self.needs("the module Plots", hasattr(slicer.modules, "plots"))
            click(self.ui.plotButton)
            self.assertEqual(len(nodes("vtkMRMLPlotChartNode")), 1)

    def test_the_volume_is_measured_and_compared(self):
        self.needs_packages("monai")
        self.predicted()
        with self.step("measure against another segment"):
            node = add_segmentation(self.volume, "Truth", expert=self.segment())
            self.ui.measureSection.collapsed = False
            choose_node(self.ui.referenceSelector, node)
            click(self.ui.measureButton)
            wait()
            table = self.ui.measureTable
            shown = {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}
            self.assertEqual(shown["DSC"], "1.000")

    def test_a_segment_that_was_drawn_stays_as_it_is(self):
        with self.step("predict on a drawn segment"):
            volume = self.open_ct()
            node = add_segmentation(volume, "Clinic", GTV=ball())
            choose_node(self.ui.segmentSelector, node)
            self.predict()
            self.assertTrue(np.array_equal(self.segment(), ball()))
            self.eventually_in("Ready", lambda: self.state)

    def test_contours_are_asked_about_before_they_become_voxels(self):
        with self.step("predict on a surface, and refuse"):
            volume = self.open_ct()
            node = add_segmentation(volume, "RTSTRUCT", GTV=ball())
            surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
            node.GetSegmentation().CreateRepresentation(surface)
            node.GetSegmentation().SetSourceRepresentationName(surface)
            choose_node(self.ui.segmentSelector, node)
            self.dialogs.answer("stored as contours or surface", "No")
            self.predict()
            self.assertEqual(node.GetSegmentation().GetSourceRepresentationName(), surface)
        with self.step("agree"):
            self.dialogs.answer("stored as contours or surface", "Yes")
            self.predict()
            self.assertTrue(self.segment().any())

    def test_an_address_that_is_no_server_s_is_refused_and_asked_for_nothing(self):
        with self.step("add a server with an address that is not encrypted"):
            click(self.ui.addServerButton)
            self.assertTrue(self.ui.serverFields.isVisible())
            self.ui.serverAddress.text = "http://gpu.example.org"
            count = self.ui.deviceSelector.count
            self.dialogs.answer("is not encrypted")
            click(self.ui.keepServerButton)
            self.assertEqual(self.ui.deviceSelector.count, count)
        with self.step("leave it"):
            click(self.ui.addServerButton)
            self.assertFalse(self.ui.serverFields.isVisible())

    def test_a_model_is_taken_from_the_list(self):
        with self.step("remove a model from the list"):
            added = list_model(small_model(2))
            self.widget.panel.inputs.models.list_again(added.path)
            count = self.ui.modelSelector.count
            choose(self.ui.modelSelector, added.name)
            click(self.ui.removeModelButton)
            self.assertEqual(self.ui.modelSelector.count, count - 1)
            self.assertTrue(added.path.is_dir())
        with self.step("the model that ships stays"):
            self.ui.modelSelector.setCurrentIndex(0)
            process_events()
            self.dialogs.answer("part of the extension")
            click(self.ui.removeModelButton)
