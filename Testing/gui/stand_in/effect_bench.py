"""A Segment Editor with "Propagate Edit", a CT and a small model, for tests to use as a user does."""

from pathlib import Path

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from as_a_user import click, process_events, settle

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
SHAPE = (16, 16, 16)
IJK_TO_LPS = np.diag([0.8, 1.1, 2.5, 1.0])
SLICE = 8
EFFECT = "Propagate Edit"


def write_models(folder, channels=1):
    """A bundle on a small nnU-Net with random weights."""
    from bundles import write_bundle
    from nnunet_folders import write_nnunet_folder

    base = write_nnunet_folder(folder / "base", seed=1, spacing=(2.5, 1.1, 0.8), features=(4, 8, 8), channels=channels)
    return write_bundle(folder / "bundle", base, channels=8, neighbours=2)


def ball(centre=(8, 8, 8), radii=(4, 4, 4), shape=SHAPE):
    return sum(((g - c) / r) ** 2 for g, c, r in zip(np.indices(shape), centre, radii, strict=True)) <= 1


def on_slices(mask, slices=(SLICE,), axis=0):
    """A mask on some slices only."""
    kept = np.zeros_like(mask)
    for index in slices:
        np.moveaxis(kept, axis, 0)[index] = np.moveaxis(mask, axis, 0)[index]
    return kept


DRAWN = on_slices(ball((8, 8, 10), (4, 6, 5)))
"""What a user paints on one slice: more to the front and the side."""


class EffectBench:
    """An application with the module loaded and the effect active."""

    def __init__(self, application, *models):
        from context_propagation.gui.model_list import ModelList

        self.application = application
        application.load_module(SHIPPED / "ContextPropagation.py")
        application.finish_startup()
        for model in models:
            ModelList().add(model)
        self.ct = self.add_volume("CT")
        self.segmentation = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.ct)
        self.editor = application.segment_editor()
        for model in models[-1:]:
            self.choose_model(model.name)

    def close(self):
        from context_propagation.gui.work.shared import release

        release()

    def add_volume(self, name, seed=3, ijk_to_lps=IJK_TO_LPS, shape=SHAPE):
        from context_propagation.core.image.source_volume import SourceVolume
        from context_propagation.mrml.nodes.volume_nodes import add_volume

        voxels = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
        return add_volume(self.application.scene, SourceVolume(voxels, ijk_to_lps), name)

    def open_segment(self, mask=None, name="GTV"):
        """Add a segment as a user would: empty, painted, and with the effect active."""
        segment_id = self.segmentation.GetSegmentation().AddEmptySegment(name.lower(), name)
        self.editor.setSegmentation(self.segmentation)
        self.editor.setVolume(self.ct)
        self.editor.selectSegment(segment_id)
        if mask is not None:
            self.editor.paint(mask)
        self.editor.setActiveEffect(EFFECT)
        settle()
        return segment_id

    # what is there

    @property
    def panel(self):
        return self.editor.effects[EFFECT].self().panel

    @property
    def widgets(self):
        return self.panel.widgets

    @property
    def status(self):
        return self.widgets.status.text

    @property
    def _shared(self):
        from context_propagation.gui.work.shared import shared

        return shared()

    @property
    def logic(self):
        return self._shared.logic

    @property
    def runner(self):
        return self._shared.runner

    def voxels(self, segment_id="gtv", node=None, shape=SHAPE):
        """A segment's voxels, read straight from Slicer; its grid must be the volume's."""
        import slicer

        image, mask = slicer.vtkOrientedImageData(), np.zeros(shape, bool)
        (node or self.segmentation).GetBinaryLabelmapRepresentation(segment_id, image)
        if not image.IsEmpty():
            values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]) > 0
            first, last = np.reshape(image.GetExtent(), (3, 2))[::-1].T
            start, end = np.maximum(first, 0), np.minimum(last + 1, shape)
            inside = tuple(map(slice, start, np.maximum(start, end)))
            mask[inside] = values[tuple(map(slice, start - first, np.maximum(start, end) - first))]
        return mask

    def previews(self):
        """The preview nodes in the scene."""
        return self._nodes("vtkMRMLSegmentationNode", "Propagation preview")

    def preview_masks(self):
        """What the one preview in the scene would add, and remove."""
        (node,) = self.previews()
        ids = node.GetSegmentation().GetSegmentIDs()
        by_name = {node.GetSegmentation().GetSegment(i).GetName(): self.voxels(i, node) for i in ids}
        nothing = np.zeros(SHAPE, bool)
        return by_name.get("would be added", nothing), by_name.get("would be removed", nothing)

    def node_classes(self):
        """How many nodes of each class the scene has."""
        scene = self.application.scene
        names = [scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes())]
        return {name: names.count(name) for name in sorted(set(names))}

    def _nodes(self, kind, name):
        scene = self.application.scene
        nodes = [scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind))]
        return [node for node in nodes if node.GetName().startswith(name)]

    # what a user does

    def choose_model(self, name):
        self.panel.activate()
        self.panel.deactivate()
        names = [self.widgets.model.itemText(n) for n in range(self.widgets.model.count)]
        self.widgets.model.setCurrentIndex(names.index(name))

    def wait(self):
        """Until nothing runs and everything was told."""
        process_events(until=lambda: not self.runner.busy)
        settle()

    def select(self, segment_id):
        self.editor.selectSegment(segment_id)
        settle()

    def start(self):
        click(self.widgets.start)
        self.wait()

    def paint(self, mask, erase=False):
        self.editor.paint(mask, erase)
        settle()

    def propagate(self):
        click(self.widgets.propagate)
        self.wait()

    def apply(self):
        click(self.widgets.apply)
        settle()

    def discard(self):
        click(self.widgets.discard)
        settle()

    def undo(self):
        self.editor.undo()
        settle()

    def redo(self):
        self.editor.redo()
        settle()

    def is_idle(self):
        """Nothing runs, no preview is open, and the effect can be started anew."""
        buttons = self.widgets
        return (
            not self.runner.busy
            and not self.previews()
            and buttons.start.enabled
            and not (buttons.apply.enabled or buttons.discard.enabled or buttons.cancel.visible)
        )
