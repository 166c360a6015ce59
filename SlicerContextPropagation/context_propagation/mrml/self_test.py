"""The whole job on the phantom: what Slicer's own test harness runs, and our tests on slicer-core."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.measurements import Measurements
from context_propagation.mrml.nodes.segments import segment_mask, segment_named
from context_propagation.mrml.phantom_scene import add_phantom


def run_self_test(scene: slicer.vtkMRMLScene, say: Callable[[str], object]) -> list[Measurements]:
    """Predict, redraw the largest slice from the truth, propagate, undo, redo; each step is checked.

    Args:
        scene: An empty scene.
        say: Called with what is done next.

    Returns:
        The measurements before and after the edit, against the truth.

    Raises:
        UserInputError: A step did not do what it should; the message says which.
    """
    say("Generating the phantom")
    volume, truth_node = add_phantom(scene)
    truth = segment_mask(truth_node, segment_named(truth_node, None), volume)
    logic = ContextPropagationLogic(scene)
    try:
        say("Loading the model, and predicting")
        logic.load_model(shipped_bundle())
        logic.select([volume])
        logic.predict()
        before = logic.measure((truth_node, "GTV, truth"))
        index = int(truth.sum(axis=(1, 2)).argmax())
        say(f"Redrawing slice {index} and propagating")
        logic.edit_slice(index, truth[index])
        drawn = logic.segment_mask()
        logic.propagate()
        after, result = logic.measure((truth_node, "GTV, truth")), logic.segment_mask()
        _require(np.array_equal(result[index], truth[index]), "the drawn slice is not as it was drawn")
        _require(bool((result ^ drawn).any()), "nothing was propagated")
        logic.undo()
        _require(np.array_equal(logic.segment_mask(), drawn), "Undo did not return to the drawing")
        logic.redo()
        _require(np.array_equal(logic.segment_mask(), result), "Redo did not return to the result")
        assert before.comparison is not None  # a reference was given
        assert after.comparison is not None
        _require(after.comparison.dsc > before.comparison.dsc, "the segment did not get better")
    finally:
        logic.close()
    say(f"Passed: DSC {before.comparison.dsc:.3f} before, {after.comparison.dsc:.3f} after one edit")
    return [before, after]


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise UserInputError(f"The self-test failed: {otherwise}; install the extension again")
