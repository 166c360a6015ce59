"""Milliseconds of single calls into Slicer, which cannot be split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from holds.large_case import add_ct, add_whole_grid_segment, phantom_voxels


def single_calls(shape_kji: tuple[int, int, int]) -> dict[str, float]:
    """Of each, on a labelmap of the whole grid and on one of the segment's box."""
    from context_propagation.mrml.nodes.scenes import new_scene
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    scene = new_scene()
    voxels, truth = phantom_voxels(shape_kji)
    ct = add_ct(scene, voxels)
    found = {}
    for kind, add in (("whole grid", add_whole_grid_segment), ("its box", add_segment_from_mask)):
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
