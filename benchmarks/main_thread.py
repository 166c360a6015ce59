"""How long our work holds Slicer's main thread at once, on a CT of 512 x 512 x 160 voxels.

Run `python benchmarks/main_thread.py`. Effect and panel are used as a user does, from each click until nothing happens
any more, over the tests' stand-ins for Slicer's GUI: real MRML, real Qt, and the long parts on their own thread. The
shipped bundle; a phantom in a field of view of that size. Each run is a fresh process; the first click comes once the
imports after start-up are done.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "SlicerContextPropagation"
sys.path[:0] = [str(SHIPPED), str(ROOT / "Testing" / "gui" / "stand_in"), str(ROOT / "Testing" / "examples")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

SHAPE = (160, 512, 512)
SPACING_IJK_MM = (0.98, 0.98, 3.0)
SEED = 0
RUNS = 3
EFFECT = "Propagate Edit"
LOOK_SECONDS = 1.2
"""Two looks of the panel, and some."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="the medians of so many processes are printed")
    parser.add_argument("--stacks", type=float, metavar="MS", help="print all stacks where a hold lasts longer")
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = pool.map(_run, [arguments.stacks] * arguments.runs, chunksize=1)
    import pandas as pd

    from provenance import provenance
    from turns import median_steps

    print(provenance(SEED, arguments.runs))
    print(f"load average: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    print(f"{' x '.join(map(str, SHAPE[::-1]))} voxels; medians of {arguments.runs} processes\n")
    print(pd.DataFrame(median_steps([steps for steps, _ in results])).to_string(index=False))
    print("\nSingle calls into Slicer, which cannot be split\n")
    calls = pd.DataFrame([run for _, run in results])
    print(calls.median().round(1).rename("ms").to_string())


def _run(stacks_ms: float | None) -> tuple[list[Any], dict[str, float]]:
    """The steps of one process, and the milliseconds of single calls."""
    from stand_in_slicer import Application
    from turns import Turns

    turns = Turns(stacks_ms)
    with tempfile.TemporaryDirectory() as folder:
        application = Application(Path(folder))
        application.start()
        user = _User(application, turns)
        try:
            application.load_module(SHIPPED / "ContextPropagation.py")
            application.finish_startup()
            _look_around()
            user.choose_the_effect()
            user.load_the_case()
            user.use_the_effect()
            user.use_the_panel()
        finally:
            user.leave()
            application.stop()
    return turns.steps, _single_calls()


class _User:
    """What a user does with effect and panel."""

    def __init__(self, application: Any, turns: Any) -> None:
        self._application, self._turns = application, turns
        self._module: Any = None

    # -- the effect

    def choose_the_effect(self) -> None:
        """For the first time in this process."""
        self._turns.step("open the Segment Editor", self._open_editor, _at_once)
        self._turns.step("choose the effect", lambda: self._editor.setActiveEffect(EFFECT), self._idle, 0.5)
        self._editor.setActiveEffect(None)

    def load_the_case(self) -> None:
        """A CT, and a segmentation whose segment fills the whole grid, as after an import."""
        from context_propagation.mrml.nodes.segments import add_segmentation

        self._ct, self._truth = _add_case(self._application.scene)
        self._segmentation = add_segmentation(self._application.scene, self._ct, "Segmentation")
        first = np.roll(self._truth, 3, axis=2)
        segment_id = _add_whole_grid_segment(self._segmentation, first, self._ct, "GTV")
        self._editor.setSegmentation(self._segmentation)
        self._editor.setVolume(self._ct)
        self._editor.selectSegment(segment_id)

    def use_the_effect(self) -> None:
        """Start, redraw, propagate, look, apply, undo, redo, discard, cancel."""
        step, editor = self._turns.step, self._editor
        step("choose the effect again", lambda: editor.setActiveEffect(EFFECT), self._idle)
        widgets = self._panel.widgets
        step("effect: Start", widgets.start.click, self._idle)
        step("effect: after a stroke", self._stroke(0), self._idle)
        step("effect: Propagate", widgets.propagate.click, self._idle)
        assert self._panel._preview is not None, widgets.status.text
        step("effect: hide the preview", lambda: setattr(widgets.show, "checked", False), self._idle)
        step("effect: show the preview", lambda: setattr(widgets.show, "checked", True), self._idle)
        step("effect: Apply", widgets.apply.click, self._idle)
        step("effect: the editor's Undo", editor.undo, self._idle)
        step("effect: the editor's Redo", editor.redo, self._idle)
        step("effect: after a second stroke", self._stroke(2), self._idle)
        step("effect: Propagate again", widgets.propagate.click, self._idle)
        step("effect: Discard", widgets.discard.click, self._idle)
        step("effect: Propagate, cancelled", lambda: (widgets.propagate.click(), widgets.cancel.click()), self._idle)

    # -- the panel

    def use_the_panel(self) -> None:
        """Predict into a new segmentation, redraw, propagate, undo, redo, go to the other lesion and back, leave, come
        back, close the scene.
        """
        step = self._turns.step
        step("open the module", self._open_module, self._idle, LOOK_SECONDS)
        ui = self._module.panel.inputs._ui
        ui.firstVolumeSelector.setCurrentNode(self._ct)
        ui.segmentSelector.setCurrentNode(None)
        step("panel: Predict", ui.predictButton.click, self._idle, LOOK_SECONDS)
        selection = self._logic.selection
        self._editor.setActiveEffect(None)
        self._editor.setSegmentation(selection.segmentation_node)
        self._editor.selectSegment(selection.segment_id)
        step("panel: after a stroke", self._stroke(0), self._idle, LOOK_SECONDS)
        step("panel: Propagate", ui.propagateButton.click, self._idle, LOOK_SECONDS)
        assert self._logic.propagation.done_count == 1, ui.stateLabel.text
        step("panel: Undo", ui.undoButton.click, self._idle, LOOK_SECONDS)
        step("panel: Redo", ui.redoButton.click, self._idle, LOOK_SECONDS)
        for node in (self._segmentation, selection.segmentation_node):
            choose = partial(ui.segmentSelector.setCurrentNode, node)
            step("panel: choose another lesion", choose, self._idle, LOOK_SECONDS)
            assert self._logic.selection.segmentation_node is node, ui.stateLabel.text
        step("panel: nothing for two looks", _nothing, self._idle, LOOK_SECONDS)
        step("leave the module", self._module.exit, self._idle)
        step("enter the module", self._module.enter, self._idle, LOOK_SECONDS)
        step("panel: Predict again", ui.predictButton.click, self._idle, LOOK_SECONDS)
        step("close the scene", lambda: self._application.scene.Clear(False), self._idle)

    # -- parts

    def leave(self) -> None:
        """Slicer's end."""
        from context_propagation.gui.work.shared import release

        if self._module is not None:
            self._module.cleanup()
        release()

    def _open_editor(self) -> None:
        self._editor = self._application.segment_editor()

    def _open_module(self) -> None:
        self._module = self._application.open_module("ContextPropagation")

    @property
    def _panel(self) -> Any:
        return self._editor.effects[EFFECT].self().panel

    @property
    def _logic(self) -> Any:
        from context_propagation.gui.work.shared import shared

        return shared().logic

    def _idle(self) -> bool:
        from context_propagation.gui.work.shared import shared

        return not shared().runner.busy

    def _stroke(self, offset: int) -> Callable[[], None]:
        """A stroke that brings a slice closer to the truth. Painting itself is Slicer's, and is not timed."""
        index = int(self._truth.sum(axis=(1, 2)).argmax()) + offset
        stroke = np.zeros(SHAPE, bool)
        stroke[index] = self._truth[index]
        self._application.answers += [True] * 5
        self._editor.paint(stroke)
        return _nothing


def _look_around() -> None:
    """A person needs longer than the imports after start-up."""
    from as_a_user import process_events
    from context_propagation.gui.work.warm_up import STEPS

    process_events(until=lambda: STEPS[-1] in sys.modules, at_most=30)


def _nothing() -> None:
    """What follows comes from events."""


def _at_once() -> bool:
    return True


def _add_case(scene: Any) -> tuple[Any, np.ndarray]:
    """A phantom in the middle of a field of view of `SHAPE` voxels, and the mask of its true GTV.

    Around it is zero, which nnU-Net crops away: so the network, which runs elsewhere, does not take minutes.
    """
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    phantom = make_phantom(PhantomSettings("nasopharynx", SEED, 905, spacing_ijk_mm=SPACING_IJK_MM))
    margins = [((n - m) // 2, n - m - (n - m) // 2) for n, m in zip(SHAPE, phantom.gtv.shape, strict=True)]
    voxels = np.zeros(SHAPE, np.int16)
    voxels[tuple(slice(low, n - high) for (low, high), n in zip(margins, SHAPE, strict=True))] = phantom.ct
    ct = add_volume(scene, SourceVolume(voxels[None], np.diag([*SPACING_IJK_MM, 1.0])), "CT")
    return ct, np.pad(phantom.gtv, margins)


def _add_whole_grid_segment(node: Any, mask: np.ndarray, volume_node: Any, name: str) -> str:
    from context_propagation.core.image.boxes import whole
    from context_propagation.mrml.nodes.labelmap_images import image_from_mask
    from context_propagation.mrml.nodes.world_matrices import volume_ijk_to_world

    image = image_from_mask(mask, whole(mask.shape), volume_ijk_to_world(volume_node))
    return str(node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [0.9, 0.3, 0.2], ""))


def _single_calls() -> dict[str, float]:
    """Milliseconds of calls into Slicer, on a labelmap of the whole grid and on one of the segment's box."""
    from context_propagation.mrml.nodes.scenes import new_scene
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    scene = new_scene()
    ct, truth = _add_case(scene)
    found = {}
    for kind, add in (("whole grid", _add_whole_grid_segment), ("its box", add_segment_from_mask)):
        node = add_segmentation(scene, ct, kind)
        found |= {f"{name}, {kind}": ms for name, ms in _calls_on(scene, node, ct, truth, add(node, truth, ct, "GTV"))}
    return found


def _calls_on(scene: Any, node: Any, ct: Any, truth: np.ndarray, segment_id: str) -> Iterator[tuple[str, float]]:
    import slicer

    from context_propagation.core.image.boxes import bounding_box, slices_of
    from context_propagation.mrml.nodes.labelmap_images import image_from_mask
    from context_propagation.mrml.nodes.world_matrices import volume_ijk_to_world

    logic, editor = slicer.vtkSlicerSegmentEditorLogic(), scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(editor)
    editor.SetAndObserveSegmentationNode(node)
    moved = np.roll(truth, 3, axis=2)
    box = bounding_box(moved)
    modifier = image_from_mask(moved[slices_of(box)], box, volume_ijk_to_world(ct))
    write = node, segment_id, modifier, logic.ModificationModeAdd, list(modifier.GetExtent()), True, False
    yield "SaveStateForUndo", _ms(logic.SaveStateForUndo)
    yield "ModifySegmentByLabelmap", _ms(lambda: logic.ModifySegmentByLabelmap(*write))
    yield "Undo", _ms(logic.Undo)
    yield "Redo", _ms(logic.Redo)
    yield "CreateClosedSurfaceRepresentation", _ms(node.CreateClosedSurfaceRepresentation)
    yield "Undo, with the surface", _ms(logic.Undo)
    yield "ModifySegmentByLabelmap, with the surface", _ms(lambda: logic.ModifySegmentByLabelmap(*write))


def _ms(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
