"""What happens to "Propagate Edit" when the world changes in the middle of a run, or with a preview open."""

import numpy as np
import pytest

from as_a_user import click, process_events, settle
from effect_bench import DRAWN, EFFECT, SHAPE, SLICE, ball


def loading(bench):
    bench.open_segment(ball())
    click(bench.widgets.start)


def predicting(bench):
    loading(bench)
    process_events(until=lambda: bench.status.startswith("Predict"))


def started(bench):
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)


def propagating(bench):
    started(bench)
    click(bench.widgets.propagate)


def propagated_and_not_told(bench):
    propagating(bench)
    bench.runner._worker.await_computed(60)


def previewed(bench):
    started(bench)
    bench.propagate()
    assert len(bench.previews()) == 1


def paired(first, second):
    """All pairs; `make test` runs some, in which each of both is there."""
    pairs = [(a, b, i % len(second) == j) for i, a in enumerate(first) for j, b in enumerate(second)]
    return [pytest.param(a, b, marks=() if quick else pytest.mark.long) for a, b, quick in pairs]


RUNS = [loading, predicting, propagating, propagated_and_not_told]
SITUATIONS = [*RUNS, previewed]


def delete_segment(bench):
    bench.segmentation.GetSegmentation().RemoveSegment("gtv")


def delete_volume(bench):
    bench.application.scene.RemoveNode(bench.ct)


def delete_segmentation(bench):
    bench.application.scene.RemoveNode(bench.segmentation)


def close_scene(bench):
    bench.application.scene.Clear(0)


def start_anew(bench):
    """On new nodes, in the editor that is open."""
    scene = bench.application.scene
    if bench.editor.node.GetScene() is None:
        scene.AddNode(bench.editor.node)
    bench.ct = bench.add_volume("Another CT", seed=5)
    bench.segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Another")
    bench.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(bench.ct)
    bench.open_segment(ball((7, 7, 7)))
    bench.start()
    assert "Redraw a slice" in bench.status
    bench.paint(DRAWN)
    bench.propagate()
    bench.apply()
    assert bench.status.endswith("it is found by itself.")
    assert not bench.application.texts("error")


@pytest.mark.parametrize(
    ("situation", "delete"), paired(SITUATIONS, [delete_segment, delete_volume, delete_segmentation, close_scene])
)
def test_what_is_worked_on_may_be_deleted(bench, situation, delete):
    situation(bench)

    delete(bench)
    settle()
    bench.wait()

    assert bench.logic.propagation is None
    assert "What was worked on is gone from the scene." in bench.status
    assert not bench.application.texts("error")
    assert bench.is_idle()
    classes = bench.node_classes()
    assert classes.get("vtkMRMLSegmentationDisplayNode", 0) == (delete is not close_scene)  # the user's own
    assert classes.get("vtkMRMLSegmentEditorNode", 0) == (delete is not close_scene)
    if delete in (delete_segmentation, close_scene):
        assert "vtkMRMLTextNode" not in classes
    start_anew(bench)


@pytest.mark.quick(situation=("predicting", "propagating", "previewed"))
@pytest.mark.parametrize("situation", SITUATIONS)
def test_another_effect_may_be_selected(bench, situation):
    situation(bench)

    bench.editor.setActiveEffect(None)
    bench.wait()
    bench.editor.setActiveEffect(EFFECT)

    if situation in (loading, predicting):
        assert bench.status == "Redraw a slice with any tool; it is found by itself."
    else:
        assert bench.status.startswith(f"Redrawn: axial slice {SLICE}; kept exactly")
        bench.apply()
    assert bench.is_idle()


def select_another_segment(bench):
    bench.segmentation.GetSegmentation().AddEmptySegment("organ", "Organ")
    bench.editor.selectSegment("organ")


def select_another_volume(bench):
    bench.editor.setVolume(bench.add_volume("Another CT", seed=5))


def select_another_segmentation(bench):
    other = bench.application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    other.SetReferenceImageGeometryParameterFromVolumeNode(bench.ct)
    other.GetSegmentation().AddEmptySegment("other", "Other")
    bench.editor.setSegmentation(other)
    bench.editor.setVolume(bench.ct)
    bench.editor.setActiveEffect(EFFECT)


def start_and_keep_what_was_drawn(bench, select):
    """The segment was drawn in before, whatever volume is beside it now; an empty one beside it stays empty."""
    bench.application.answers = [] if select is select_another_segmentation else [True]
    bench.start()
    bench.application.answers = []


SELECTIONS = [select_another_segment, select_another_volume, select_another_segmentation]


@pytest.mark.parametrize(("situation", "select"), paired(RUNS, SELECTIONS))
def test_a_run_is_stopped_when_something_else_is_selected(bench, situation, select):
    situation(bench)
    before = bench.voxels()

    select(bench)
    settle()
    bench.wait()

    assert np.array_equal(bench.voxels(), before)
    assert not bench.application.texts("error")
    assert bench.is_idle()
    start_and_keep_what_was_drawn(bench, select)
    assert "Redraw a slice" in bench.status
    assert bench.logic.selection == bench.panel._choice.selection


@pytest.mark.quick(select="select_another_segmentation")
@pytest.mark.parametrize("select", SELECTIONS)
def test_a_preview_waits_while_something_else_is_selected(bench, select):
    previewed(bench)

    select(bench)
    settle()

    assert bench.status == "The preview is of 'GTV': select it and its volume to apply, or discard."
    assert not bench.widgets.apply.enabled
    bench.discard()
    assert bench.is_idle()
    start_and_keep_what_was_drawn(bench, select)
    assert not bench.application.texts("error")


@pytest.fixture
def second_editor(bench):
    """Another Segment Editor on the same segment, with the effect active."""
    previewed(bench)
    first, bench.editor = bench.editor, bench.application.segment_editor()
    bench.editor.setSegmentation(bench.segmentation)
    bench.editor.setVolume(bench.ct)
    bench.editor.selectSegment("gtv")
    bench.choose_model("bundle")
    bench.editor.setActiveEffect(EFFECT)
    settle()
    yield bench
    bench.editor.close()
    bench.editor = first


def test_a_preview_may_be_discarded_in_another_editor(bench, second_editor):
    before = bench.voxels()
    assert bench.status == "A preview of 'GTV' waits in another Segment Editor: apply it there, or discard it."
    assert not bench.widgets.start.enabled
    assert not bench.widgets.apply.enabled

    bench.discard()

    assert bench.is_idle()
    assert np.array_equal(bench.voxels(), before)
    assert bench.logic.history == []


@pytest.mark.quick(situation=("loading", "previewed"))
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_editor_may_end(bench, situation):
    situation(bench)
    before = bench.voxels()

    bench.editor.close()
    bench.wait()

    assert not bench.previews()
    assert bench.logic.propagation is None
    assert np.array_equal(bench.voxels(), before)
    bench.editor = bench.application.segment_editor()
    bench.choose_model("bundle")
    start_anew(bench)


@pytest.mark.quick(situation="previewed")
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_module_may_be_reloaded(modules_as_before, bench, situation, monkeypatch):
    import slicer.ScriptedLoadableModule

    base = slicer.ScriptedLoadableModule.ScriptedLoadableModuleWidget
    monkeypatch.setattr(base, "onReload", lambda self: None, raising=False)
    module = bench.application.open_module("ContextPropagation")
    situation(bench)
    logic, runner, panel = bench.logic, bench.runner, bench.panel

    module.onReload()
    settle()

    assert not bench.previews()
    assert (logic.propagation, logic.loaded, runner.busy, panel.closed) == (None, None, False, True)
    assert bench.editor.effect is None
    assert bench.editor.effects[EFFECT].optionsLayout().count() == 0
    bench.editor.setActiveEffect(EFFECT)
    assert bench.panel is not panel
    start_anew(bench)
    bench.close()


def test_stop_here_shows_the_best_so_far_as_a_preview(bench):
    propagating(bench)
    drawn = bench.voxels()
    assert not bench.widgets.enough.isHidden()

    click(bench.widgets.enough)
    bench.wait()

    assert len(bench.previews()) == 1
    assert bench.widgets.enough.isHidden()
    assert np.array_equal(bench.voxels(), drawn)
    bench.apply()
    assert "Stopped early" in bench.status
    assert np.array_equal(bench.voxels()[SLICE], drawn[SLICE])


@pytest.mark.quick(situation=("loading", "propagating"))
@pytest.mark.parametrize("situation", RUNS)
def test_cancel_changes_nothing_and_the_next_run_works(bench, situation):
    situation(bench)
    before = bench.voxels()

    click(bench.widgets.cancel)
    assert "stopping" in bench.status
    bench.wait()

    assert bench.status.startswith("Cancelled; nothing was changed.")
    assert np.array_equal(bench.voxels(), before)
    assert bench.is_idle()
    if situation in (loading, predicting):
        bench.start()
        bench.paint(DRAWN)
    bench.propagate()
    bench.apply()
    assert np.array_equal(bench.voxels()[SLICE], (ball() | DRAWN)[SLICE])
    assert not bench.application.texts("error")


def test_cancel_of_start_on_an_empty_segment_leaves_it_empty(bench):
    bench.open_segment()
    click(bench.widgets.start)
    process_events(until=lambda: bench.status.startswith("Predict"))

    click(bench.widgets.cancel)
    bench.wait()

    assert not bench.voxels().any()
    bench.start()
    assert bench.voxels().any()


def test_a_stroke_that_the_preview_did_not_see_yet_is_not_overwritten(bench):
    previewed(bench)
    more = ball((8, 3, 3), (1, 2, 2))
    bench.editor.paint(more)

    click(bench.widgets.apply)

    assert "changed since it was propagated" in bench.application.texts("error")[0]
    assert np.array_equal(bench.voxels(), ball() | DRAWN | more)
    settle()
    assert bench.is_idle()
    assert bench.status == f"Redrawn: axial slice {SLICE}." or "axial slices" in bench.status


def test_an_error_that_nobody_foresaw_is_one_message_with_details(bench):
    started(bench)

    def fail(*args):
        raise RuntimeError("a bug")

    bench.logic.session.preview = fail
    bench.propagate()

    (message,) = [m for m in bench.application.messages if m.kind == "error"]
    assert "not foreseen" in message.text
    assert "RuntimeError: a bug" in message.details
    assert np.array_equal(bench.voxels(), ball() | DRAWN)
    assert bench.is_idle()
    del bench.logic.session.preview
    bench.propagate()
    assert len(bench.previews()) == 1


def test_an_error_that_was_foreseen_is_one_message_without_details(bench):
    bench.open_segment(np.ones(SHAPE, bool))
    bench.ct.SetAndObserveImageData(None)

    bench.start()

    (message,) = [m for m in bench.application.messages if m.kind == "error"]
    assert "'CT' has no voxels" in message.text
    assert not message.details
    assert bench.is_idle()
