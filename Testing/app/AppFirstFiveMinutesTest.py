"""From the sample case to a propagated edit, with the model that ships; clicks and seconds are counted.

Where `AppInstallTest` installed the packages before (the runner starts a new process in between), all of it together
must take at most five minutes and twelve clicks; a stroke is no click, a switch to another module is one.
"""

import os
import time

import numpy as np
import slicer

from app_case import AppTestCase
from app_first_minutes import WHEELS, spend
from app_panel import MODULE, Editor, logic, panel_widgets, wait
from app_report import report
from app_user import child, click, counted, open_module, pick_node, process_events
from app_volumes import nodes, voxels

MINUTES, CLICKS = 5, 12


class AppFirstFiveMinutesTest(AppTestCase):
    def test_sample_predict_redraw_propagate(self):
        self.needs_packages()
        start = time.monotonic()
        counted["clicks"] = 0  # those of other tests in this process
        with self.step("Sample Data: the phantom"):
            open_module("SampleData")
            click(child(slicer.modules.sampledata.widgetRepresentation(), "NasopharynxPhantomPushButton"))
            (volume,) = nodes("vtkMRMLScalarVolumeNode")
        with self.step("open the module and predict"):
            open_module(MODULE)
            ui = panel_widgets()
            if ui.firstVolumeSelector.currentNode() is not volume:
                report().say("       the volume must be chosen: two clicks")
                counted["clicks"] += 2
                pick_node(ui.firstVolumeSelector, volume)
            click(ui.predictButton)
            wait()
            chosen = logic().selection
            self.assertIsNotNone(chosen, ui.stateLabel.text)
        shape = volume.GetImageData().GetDimensions()[::-1]
        node, segment = chosen.segmentation_node, chosen.segment_id
        predicted = voxels(node, segment, shape)
        with self.step("redraw a slice in the Segment Editor"):
            self.assertTrue(predicted.any())
            index = int(predicted.sum(axis=(1, 2)).argmax())
            row, column = (int(n) for n in np.argwhere(predicted[index]).mean(axis=0))
            clicks = counted["clicks"]
            editor = Editor(node, volume, segment)
            editor.paint(0, index, [(row - 8, column), (row + 8, column)], millimetres=12)
            report().say(f"       redrawing took {counted['clicks'] - clicks} clicks")
            drawn = voxels(node, segment, shape)
            self.assertTrue((drawn ^ predicted)[index].any())
        with self.step("propagate"):
            open_module(MODULE)
            process_events(until=lambda: ui.propagateButton.isEnabled(), at_most=10)
            click(ui.propagateButton)
            wait()
            result = voxels(node, segment, shape)
            self.assertTrue(np.array_equal(result[index], drawn[index]), "the drawn slice was changed")
            self.assertTrue((result ^ drawn).any(), "nothing was propagated")
        with self.step("count"):
            spent = spend(time.monotonic() - start, self.dialogs.clicks)
            report().say(f"       {spent['seconds']:.0f} s and {spent['clicks']} clicks")
            if os.environ.get(WHEELS):
                self.assertLessEqual(spent["seconds"], 60 * MINUTES)
                self.assertLessEqual(spent["clicks"], CLICKS)
