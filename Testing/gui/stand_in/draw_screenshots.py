"""Draw the pictures of docs/: `python Testing/gui/stand_in/draw_screenshots.py docs/images`.

The panel and the effect's options are driven as a user does, in the stand-in for Slicer that the tests use: real Qt,
real MRML, the shipped bundle and the phantom of Sample Data. Slicer's own style and icons differ.
"""

import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from as_a_user import click, process_events, screenshot, settle
from stand_in_slicer import Application

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
WIDTH = 540
"""Of the pictures of widgets: a usual one of Slicer's module panel."""
EFFECT = "Propagate Edit"
PAGE_WIDTH = 1300
SOFT_TISSUE_HU = (-140, 220)
ENLARGED = 2.5
VIEW_PIXELS = (400, 400)
"""Of the stand-in's slice views."""


class Session:
    """The phantom in an application, as after a click in Sample Data."""

    def __init__(self, application):
        from context_propagation.mrml.phantom_scene import add_phantom  # once `slicer` is in place

        self.application = application
        application.load_module(SHIPPED / "ContextPropagation.py")
        application.finish_startup()
        self.volume, self.truth_node = add_phantom(application.scene)

    @property
    def logic(self):
        from context_propagation.gui.work.shared import shared

        return shared().logic

    def wait(self):
        from context_propagation.gui.work.shared import shared

        process_events(until=lambda: not shared().runner.busy, at_most=600)
        settle()

    def truth(self):
        from context_propagation.mrml.nodes.segments import segment_mask, segment_named

        return segment_mask(self.truth_node, segment_named(self.truth_node, None), self.volume)

    def redraw(self, editor, index, contour):
        """Paint and erase one axial slice until it is as drawn."""
        now = self.logic.segment_mask()
        wanted = now.copy()
        wanted[index] = contour
        if (wanted & ~now).any():
            editor.paint(wanted & ~now)
        if (now & ~wanted).any():
            editor.paint(now & ~wanted, erase=True)
        settle()


def largest_slice(mask):
    """Index of the axial slice with most voxels: the one that the self-test redraws."""
    return int(mask.sum(axis=(1, 2)).argmax())


def draw_module_panel(session, folder):
    """The module after one propagation; and what it did to the phantom."""
    widget = session.application.open_module("ContextPropagation")
    ui = widget.panel.inputs._ui
    ui.firstVolumeSelector.setCurrentNode(session.volume)
    click(ui.predictButton)
    session.wait()
    editor = session.application.segment_editor()
    selection = session.logic.selection
    editor.setSegmentation(selection.segmentation_node)
    editor.setVolume(session.volume)
    editor.selectSegment(selection.segment_id)
    before, truth = session.logic.segment_mask(), session.truth()
    index = largest_slice(truth)
    session.redraw(editor, index, truth[index])
    click(ui.propagateButton)
    session.wait()
    draw_widget(widget.parent, folder / "module-panel.png")
    draw_first_edit(session, index, before, truth, folder / "first-edit.png")
    draw_case_summary(session, folder / "case-summary.png")
    draw_doubt(session, folder / "doubt.png")
    widget.cleanup()


def draw_first_edit(session, index, before, truth, path):
    """Three planes before and after, the redrawn slice marked."""
    from context_propagation.core.image.slices import SliceEdit
    from context_propagation.files.figure import write_figure
    from context_propagation.mrml.nodes.volume_nodes import deferred_source_volume

    volume = deferred_source_volume([session.volume])()
    write_figure(path, volume, before, session.logic.segment_mask(), [SliceEdit(0, index, truth[index])], truth)


def draw_case_summary(session, path):
    """The page as Qt's own view of rich text shows it, which is plainer than a browser."""
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QImage, QPainter, QTextDocument

    with tempfile.TemporaryDirectory() as folder:
        text = session.logic.summary(Path(folder) / "case.html", title="Phantom").read_text(encoding="utf-8")
    document = QTextDocument()
    document.setDefaultStyleSheet("h1, h2, p, td, th { font-size: 12px }")
    document.setHtml(text)
    document.setTextWidth(PAGE_WIDTH)
    picture = QImage(document.size().toSize(), QImage.Format.Format_RGB32)
    picture.fill(0xFFFFFFFF)
    painter = QPainter(picture)
    document.drawContents(painter)
    painter.end()
    picture.scaledToWidth(WIDTH * 3 // 2, Qt.TransformationMode.SmoothTransformation).save(str(path))


def draw_doubt(session, path):
    """The suggested slice in a slice view: as it is, with the probability, and with the uncertainty over it."""
    import slicer
    from matplotlib.image import imsave

    from context_propagation.gui.slice_views import jump_to_slice

    view = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    view.GetSliceCompositeNode().SetBackgroundVolumeID(session.volume.GetID())
    grey = slicer.vtkMRMLColorTableNode()  # the application has its own
    grey.SetTypeToGrey()
    display = session.volume.GetDisplayNode()
    display.SetAndObserveColorNodeID(session.application.scene.AddNode(grey).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*SOFT_TISSUE_HU)
    view.FitSliceToBackground(*VIEW_PIXELS)
    jump_to_slice(session.volume, session.logic.doubt.axis, session.logic.suggested_slice())
    width, height, depth = view.GetSliceNode().GetFieldOfView()
    view.GetSliceNode().SetFieldOfView(width / ENLARGED, height / ENLARGED, depth)
    pictures = [picture_of(view)]
    for what in ("probability", "uncertainty"):
        session.logic.maps.show(what)
        pictures.append(picture_of(view))
    session.logic.maps.hide()
    imsave(path, np.concatenate(pictures, axis=1))


def picture_of(view):
    """What a slice view draws of its volumes: uint8 `[y, x, 4]`, the first row on top."""
    from vtk.util.numpy_support import vtk_to_numpy

    view.UpdatePipeline()
    connection = view.GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*VIEW_PIXELS, 4)[::-1]


def draw_effect_options(session, folder):
    """The effect's options with an open preview."""
    node = session.application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(session.volume)
    segment_id = node.GetSegmentation().AddEmptySegment("gtv", "GTV")
    editor = session.application.segment_editor()
    editor.setSegmentation(node)
    editor.setVolume(session.volume)
    editor.selectSegment(segment_id)
    editor.setActiveEffect(EFFECT)
    widgets = editor.effects[EFFECT].self().panel.widgets
    settle()
    click(widgets.start)
    session.wait()
    truth = session.truth()
    index = largest_slice(truth)
    session.redraw(editor, index, truth[index])
    click(widgets.propagate)
    session.wait()
    draw_widget(SimpleNamespace(_qt=editor.options), folder / "effect-options.png")


def draw_widget(widget, path):
    """Save a picture of a widget, as high as it needs to be."""
    real = widget._qt
    real.show()
    real.resize(WIDTH, real.height())
    settle()
    real.resize(WIDTH, real.layout().totalHeightForWidth(WIDTH))
    settle()
    screenshot(widget, path)


def in_an_application(draw, folder):
    """A fresh application for one picture."""
    with tempfile.TemporaryDirectory() as settings:
        application = Application(Path(settings))
        application.start()
        try:
            draw(Session(application), folder)
            for error in application.texts("error"):
                raise RuntimeError(f"the user was told: {error}")
        finally:
            from context_propagation.gui.work.shared import release

            release()
            application.stop()


def main():
    """Draw all pictures into a folder."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python Testing/gui/stand_in/draw_screenshots.py FOLDER")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (draw_module_panel, draw_effect_options):
        in_an_application(draw, folder)


if __name__ == "__main__":
    main()
