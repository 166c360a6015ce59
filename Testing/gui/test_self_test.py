"""The module's self-test: that it passes, and that it would notice."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

SHIPPED = Path(__file__).parents[2] / "SlicerContextPropagation"


@pytest.mark.long
def test_the_self_test_passes_in_slicers_own_harness(application):
    pytest.importorskip("nnunetv2")
    pytest.importorskip("monai")
    application.load_module(SHIPPED / "ContextPropagation.py")

    sys.modules["ContextPropagation"].ContextPropagationTest().runTest()

    assert application.texts("error") == []
    said = application.texts("delay")
    assert "Generating the phantom" in said
    assert said[-1].startswith("Passed: DSC ")


class FastLogic:
    """Does what the self-test asks for without a network: predicts nothing, propagates to the truth."""

    def __init__(self, scene):
        self.steps = []

    def __getattr__(self, name):
        if name in ("load_model", "predict", "close"):
            return lambda *args: None
        raise AttributeError(name)

    def select(self, volumes):
        from context_propagation.mrml.nodes.segments import segment_mask, segment_named

        (self.truth_node,) = volumes[0].GetScene().GetNodesByClass("vtkMRMLSegmentationNode")
        self.truth = segment_mask(self.truth_node, segment_named(self.truth_node, None), volumes[0])
        self.mask = np.zeros_like(self.truth)

    def edit_slice(self, index, mask):
        self.mask[index] = mask

    def propagate(self):
        self.steps, self.mask = [self.mask], self.truth.copy()

    def undo(self):
        self.steps, self.mask = [self.mask], self.steps[0]

    redo = undo

    def segment_mask(self):
        return self.mask.copy()

    def measure(self, reference):
        dsc = 2 * (self.mask & self.truth).sum() / (self.mask.sum() + self.truth.sum())
        return SimpleNamespace(comparison=SimpleNamespace(dsc=dsc))


class NothingPropagated(FastLogic):
    def propagate(self):
        pass


class DrawnSliceChanged(FastLogic):
    def propagate(self):
        super().propagate()
        self.mask[self.truth.sum(axis=(1, 2)).argmax()] = False


class UndoDoesNothing(FastLogic):
    def undo(self):
        pass


class RedoDoesNothing(FastLogic):
    def redo(self):
        pass


class NotBetter(FastLogic):
    def measure(self, reference):
        return SimpleNamespace(comparison=SimpleNamespace(dsc=0.5))


@pytest.fixture(scope="module")
def phantom():
    from context_propagation.core.phantom.phantom import make_phantom
    from context_propagation.core.phantom.unseen_phantoms import UNSEEN

    return make_phantom(UNSEEN)


@pytest.fixture
def run_with(monkeypatch, phantom):
    pytest.importorskip("slicer")
    from context_propagation.mrml import phantom_scene, self_test
    from context_propagation.mrml.nodes.scenes import new_scene

    monkeypatch.setattr(phantom_scene, "make_phantom", lambda settings: phantom)  # a second saved each time

    def run(logic_class):
        monkeypatch.setattr(self_test, "ContextPropagationLogic", logic_class)
        return self_test.run_self_test(new_scene(), lambda text: None)

    return run


def test_the_self_test_gives_the_measures_before_and_after(run_with):
    before, after = run_with(FastLogic)

    assert (before.comparison.dsc, after.comparison.dsc) == (0, 1)


def test_slicers_own_harness_finds_and_runs_it(application, monkeypatch, phantom):
    """All of it, with the real network, runs in `test_the_self_test_passes_in_slicers_own_harness`."""
    from context_propagation.mrml import phantom_scene, self_test

    monkeypatch.setattr(phantom_scene, "make_phantom", lambda settings: phantom)
    monkeypatch.setattr(self_test, "ContextPropagationLogic", FastLogic)
    application.load_module(SHIPPED / "ContextPropagation.py")

    sys.modules["ContextPropagation"].ContextPropagationTest().runTest()

    said = application.texts("delay")
    assert "Generating the phantom" in said
    assert said[-1] == "Passed: DSC 0.000 before, 1.000 after one edit"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (NothingPropagated, "nothing was propagated"),
        (DrawnSliceChanged, "the drawn slice is not as it was drawn"),
        (UndoDoesNothing, "Undo did not return to the drawing"),
        (RedoDoesNothing, "Redo did not return to the result"),
        (NotBetter, "the segment did not get better"),
    ],
)
def test_the_self_test_says_which_step_failed(run_with, broken, said):
    from context_propagation.core.errors import UserInputError

    with pytest.raises(UserInputError, match=f"The self-test failed: {said}"):
        run_with(broken)
