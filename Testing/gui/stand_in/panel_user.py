"""A user of the module's panel: real Qt, real MRML, over the stand-in application."""

import numpy as np

from as_a_user import click, process_events, settle


class PanelUser:
    """What a user sees and does in the panel."""

    def __init__(self, application, models):
        from context_propagation.gui.model_list import ModelList
        from context_propagation.gui.work.shared import shared

        for model in models:
            ModelList().add(model)
        self.application = application
        self.widget = application.open_module("ContextPropagation")
        self.panel, self.shared = self.widget.panel, shared()
        self.ui = self.panel.inputs._ui

    def choose_model(self, folder):
        paths = [model.path for model in self.panel.inputs.models.listed]
        self.ui.modelSelector.setCurrentIndex(paths.index(folder))

    def wait(self):
        process_events(until=lambda: not self.shared.runner.busy, at_most=60)
        settle()

    def click(self, name):
        click(getattr(self.ui, name))

    def predict(self, volume):
        self.ui.firstVolumeSelector.setCurrentNode(volume)
        self.click("predictButton")
        self.wait()

    def sentence(self):
        """What the panel's top says of where the user is."""
        settle()
        return self.ui.stateLabel.text

    @property
    def selection(self):
        return self.shared.logic.selection

    def mask(self):
        return self.shared.logic.segment_mask()

    def redraw(self, index, mask):
        """Paint a slice in the Segment Editor, and wait until the panel has seen it."""
        editor = self.application.segment_editor()
        editor.setSegmentation(self.selection.segmentation_node)
        editor.setVolume(self.selection.volume_nodes[0])
        editor.selectSegment(self.selection.segment_id)
        now = self.mask()
        wanted = now.copy()
        wanted[index] = mask
        if (wanted & ~now).any():
            editor.paint(wanted & ~now)
        if (now & ~wanted).any():
            editor.paint(now & ~wanted, erase=True)
        settle()
        return editor

    def rows(self):
        table = self.ui.editsTable
        return [tuple(table.item(row, column).text() for column in range(3)) for row in range(table.rowCount)]


def a_slice():
    """A disc of four voxels' radius, bool `[16, 16]`, as a user may draw it into `ct`."""
    grid = np.indices((16, 16))
    return sum((g - 8) ** 2 for g in grid) <= 16
