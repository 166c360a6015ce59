"""The module's panel and the Segment Editor, as a person uses them in one test."""

from functools import lru_cache

import numpy as np
import slicer

from app_case import AppTestCase
from app_folders import temporary_folder
from app_models import write_model
from app_user import SliceView, child, choose, choose_node, click, open_module, process_events
from app_volumes import SHAPE, add_ct, show, voxels

MODULE = "ContextPropagation"
EFFECT = "Propagate Edit"
ALL_PLANES = ("axial", "coronal", "sagittal")


@lru_cache
def small_model(channels=1):
    """The folder of a small model, written once in a process."""
    folder = temporary_folder("model") / f"small{channels}"
    return write_model(folder, channels)


def runner():
    """The module's worker; looked up each time, as a reload makes a new one."""
    from context_propagation.gui.work.shared import shared

    return shared().runner


def logic():
    """The logic that panel and effect share."""
    from context_propagation.gui.work.shared import shared

    return shared().logic


def wait():
    """Until nothing runs."""
    process_events(until=lambda: not runner().busy)
    process_events(0.1)
    if runner().busy:  # what comes next may start a moment later
        wait()


def list_model(folder):
    """Put a model on the list, as the button "Add..." does with the folder that is chosen."""
    from context_propagation.gui.model_list import ModelList

    return ModelList().add(folder)


def panel_widgets():
    """The panel's widgets by name; those of before a reload stay in the same place, hidden."""
    panel = slicer.modules.contextpropagation.widgetRepresentation()
    for container in panel.children():
        if container.isWidgetType() and container.isVisible():
            found = slicer.util.childWidgetVariables(container)
            if hasattr(found, "predictButton"):
                return found
    raise AssertionError("the module's panel is empty; see the log")


class PanelTestCase(AppTestCase):
    """With the module's panel and a small model."""

    channels = 1

    def setUp(self):
        super().setUp()
        self.needs_packages()
        self.model = list_model(small_model(self.channels))
        self.addCleanup(lambda: self._forget_model(self.model.path))
        self.open_panel()
        self.widget.panel.inputs.models.list_again(self.model.path)  # as after the button "Add..."
        choose(self.ui.modelSelector, self.model.name)

    @staticmethod
    def _forget_model(path):
        from context_propagation.gui.model_list import ModelList

        ModelList().remove(path)

    def open_panel(self):
        """Switch to the module; its widgets by name are `self.ui`."""
        self.widget = open_module(MODULE)
        self.ui = panel_widgets()

    def open_ct(self, **how):
        """Add a volume, show it, and choose it in the panel."""
        volume = add_ct(**how)
        show(volume)
        choose_node(self.ui.firstVolumeSelector, volume)
        return volume

    def predict(self):
        """Press Predict and wait."""
        click(self.ui.predictButton)
        wait()

    def propagate(self):
        """Press Propagate and wait."""
        click(self.ui.propagateButton)
        wait()

    @property
    def state(self):
        """What the panel says of itself."""
        return self.ui.stateLabel.text

    @property
    def rows(self):
        """The table of edited slices."""
        table = self.ui.editsTable
        return [tuple(table.item(row, column).text() for column in range(3)) for row in range(table.rowCount)]

    def segment(self, shape=SHAPE):
        """The voxels of the segment that the module works on."""
        chosen = logic().selection
        return voxels(chosen.segmentation_node, chosen.segment_id, shape)

    def open_editor(self, segmentation=None, volume=None, segment_id=None):
        """Switch to the Segment Editor, on what the module works on unless it is named."""
        if segmentation is None:
            chosen = logic().selection
            segmentation, volume, segment_id = chosen.segmentation_node, chosen.volume_nodes[0], chosen.segment_id
        self.editor = Editor(segmentation, volume, segment_id)
        return self.editor

    def back_to_panel(self):
        """Switch to the module again."""
        self.open_panel()
        process_events(0.1)


class Editor:
    """The module Segment Editor with its tools."""

    def __init__(self, segmentation, volume, segment_id=None):
        self.widget = open_module("SegmentEditor").editor
        self.widget.setSegmentationNode(segmentation)
        self.widget.setSourceVolumeNode(volume)
        self.segmentation, self.volume = segmentation, volume
        self.shape = volume.GetImageData().GetDimensions()[::-1]
        process_events(0.05)
        if segment_id is None:
            click(child(self.widget, "AddSegmentButton"))
            segment_id = segmentation.GetSegmentation().GetNthSegmentID(
                segmentation.GetSegmentation().GetNumberOfSegments() - 1
            )
        self.select(segment_id)

    def select(self, segment_id):
        """Select a segment."""
        self.segment_id = segment_id
        self.widget.setCurrentSegmentID(segment_id)
        process_events(0.05)

    @property
    def node(self):
        """Slicer's node with masks and modes."""
        return self.widget.mrmlSegmentEditorNode()

    def voxels(self, segment_id=None):
        """A segment's voxels, by default those of the selected one."""
        return voxels(self.segmentation, segment_id or self.segment_id, self.shape)

    def tool(self, name):
        """Press a tool's button, if it is not pressed yet."""
        active = self.widget.activeEffect()
        if active is None or active.name != name:
            click(child(self.widget, name, "QToolButton"))
        active = self.widget.activeEffect()
        if active is None or active.name != name:
            raise AssertionError(f"{name} did not become active")
        return active

    def no_tool(self):
        """Press the arrow."""
        self.widget.setActiveEffect(None)
        process_events()

    # -- drawing with the mouse

    def paint(self, axis, index, points, millimetres=6.0, erase=False):
        """Paint or erase on one slice along a stroke; `points` are the slice's two other array axes, in their order."""
        effect = self.tool("Erase" if erase else "Paint")
        effect.setCommonParameter("BrushDiameterIsRelative", 0)
        effect.setCommonParameter("BrushAbsoluteDiameter", millimetres)
        SliceView(self.volume, axis, index).stroke([_on_slice(axis, index, p) for p in points])
        process_events(0.05)

    def erase(self, axis, index, points, millimetres=6.0):
        """Erase on one slice along a stroke."""
        self.paint(axis, index, points, millimetres, erase=True)

    def draw(self, axis, index, points):
        """Draw an outline with the tool Draw, and close it with the right button."""
        self.tool("Draw")
        view = SliceView(self.volume, axis, index)
        view.stroke([_on_slice(axis, index, p) for p in points])
        view.right_click()
        process_events(0.05)

    def undo(self):
        """The editor's Undo."""
        click(child(self.widget, "UndoButton"))
        process_events(0.1)

    def redo(self):
        """The editor's Redo."""
        click(child(self.widget, "RedoButton"))
        process_events(0.1)

    # -- the effect

    def open_effect(self):
        """Choose "Propagate Edit"; its widgets are `self.effect`."""
        effect = self.tool(EFFECT)
        self.frame = effect.optionsFrame()
        self.effect = effect.self().panel.widgets
        process_events(0.05)
        return self.effect

    def choose_model(self, name):
        """Choose a model in the effect."""
        choose(self.effect.model, name)

    def start(self):
        """Press Start and wait."""
        click(self.effect.start)
        wait()

    def propagate(self):
        """Press Propagate and wait for the preview."""
        click(self.effect.propagate)
        wait()

    def apply(self):
        """Press Apply."""
        click(self.effect.apply)
        process_events(0.1)

    def discard(self):
        """Press Discard."""
        click(self.effect.discard)
        process_events(0.1)

    @property
    def status(self):
        """What the effect says."""
        return self.effect.status.text

    def previews(self):
        """The previews in the scene."""
        found = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return [node for node in found if node.GetName().startswith("Propagation preview")]


def _on_slice(axis, index, point):
    place = list(point)
    place.insert(axis, index)
    return place


def changed_slices(before, after, axis=0):
    """Indices of the slices in which two masks differ."""
    others = tuple(a for a in range(3) if a != axis)
    return [int(n) for n in np.flatnonzero((before ^ after).any(axis=others))]
