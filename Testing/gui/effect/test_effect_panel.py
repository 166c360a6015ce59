"""The effect "Propagate Edit", driven as a user does: real Qt, real MRML, a real nnU-Net in a bundle."""

import re
import threading
import time

import numpy as np
import pytest
import vtk
from PySide6 import QtCore, QtGui, QtTest
from torch.nn.modules.module import register_module_forward_pre_hook

from as_a_user import click, process_events, screenshot, settle
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.session.preview import Preview
from effect_bench import DRAWN, EFFECT, IJK_TO_LPS, SLICE, ball, on_slices


@pytest.fixture
def started(bench):
    """With a segment that was started on."""
    bench.open_segment(ball())
    bench.start()
    return bench


@pytest.fixture
def previewed(started):
    """With one slice redrawn and propagated."""
    started.paint(DRAWN)
    started.propagate()
    return started


def look_at(bench, index):
    """Move the views to an axial slice."""
    from context_propagation.gui.slice_views import jump_to_slice

    jump_to_slice(bench.ct, 0, index)
    settle()


def click_at(bench, voxel_kji):
    """Press the left button in the axial view where a voxel is."""
    import slicer

    look_at(bench, voxel_kji[0])
    view = slicer.app.layoutManager().sliceWidget("Red")
    world = np.array([-1, -1, 1, 1]) * (IJK_TO_LPS @ [*voxel_kji[::-1], 1])
    xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.mrmlSliceNode().GetXYToRAS())) @ world
    interactor = view.interactorStyle().GetInteractor()
    interactor.SetEventPosition(round(xy[0]), round(xy[1]))
    effect = bench.editor.effects[EFFECT]
    effect._call("processInteractionEvents", interactor, vtk.vtkCommand.LeftButtonPressEvent, view)  # as Slicer does
    settle()


# -- start


def test_the_effect_is_registered_at_start_up_under_its_name(bench):
    assert EFFECT in bench.editor.effects


def test_start_shows_its_stages_and_leaves_a_segment_as_it_is(bench):
    bench.open_segment(ball())
    assert bench.status == "Press Start before you redraw."
    seen = []
    bench.runner.listeners.append(lambda job: seen.append(bench.status) if job else None)

    click(bench.widgets.start)
    assert not bench.widgets.cancel.isHidden()
    assert not bench.widgets.start.enabled
    bench.wait()

    stages = [re.split("[:\n]", text)[0] for text in seen]
    assert list(dict.fromkeys(stages)) == ["Load model", "Check volumes", "Predict"]
    assert np.array_equal(bench.voxels(), ball())
    assert bench.status == "Redraw a slice with any tool; it is found by itself."
    assert bench.widgets.start.text == "Start again"


def test_an_empty_segment_is_filled_with_the_prediction(bench):
    bench.open_segment()

    bench.start()

    predicted = bench.voxels()
    assert np.array_equal(predicted, bench.logic.session.segmentation)
    assert predicted.any()
    assert f"Filled with the prediction ({predicted.sum()} voxels)." in bench.status
    bench.undo()
    assert not bench.voxels().any()


@pytest.mark.parametrize("keeps", [True, False])
def test_start_again_takes_the_segment_as_it_is_now_and_asks_what_becomes_of_drawn_slices(started, keeps):
    started.paint(DRAWN)
    started.application.answers = [keeps]

    started.start()

    (question,) = started.application.texts("question")
    assert f"These slices were drawn or confirmed before: axial {SLICE}. Keep them as they are?" in question
    assert "Redraw a slice" in started.status
    assert np.array_equal(started.voxels(), ball() | DRAWN)
    assert [kept.index for kept in started.logic.kept] == ([SLICE] if keeps else [])


def test_the_memory_is_told_before_the_image_is_cached(bench):
    told = []

    def listen(job):
        if job is not None and "Memory: needs" in bench.status:
            told.append(job.operation.title)

    bench.open_segment(ball())
    bench.runner.listeners.append(listen)
    bench.start()

    assert "Predict" in told
    assert bench.logic.memory.peak_bytes >= bench.logic.memory.kept_bytes > 0


def test_what_does_not_fit_into_memory_is_refused_and_the_session_goes_on(started, monkeypatch):
    monkeypatch.setattr("context_propagation.core.session.memory_forecast.available_bytes", lambda device: -(2**40))
    session = started.logic.session

    started.start()

    (error,) = started.application.texts("error")
    assert "Caching the target needs" in error
    assert started.logic.session is session
    started.paint(DRAWN)
    assert "Redrawn: axial" in started.status


# -- what was redrawn


def test_a_redrawn_slice_is_found_and_shown_before_it_is_propagated(started):
    started.paint(DRAWN)

    assert started.status == f"Redrawn: axial slice {SLICE}."


def test_slices_drawn_while_another_effect_is_active_are_shown_when_the_user_comes_back(started):
    started.editor.setActiveEffect(None)
    started.paint(DRAWN)
    started.paint(on_slices(ball(), [6]), erase=True)

    started.editor.setActiveEffect(EFFECT)

    assert started.status == f"Redrawn: axial slices 6, {SLICE}."


def test_erased_voxels_are_noticed_and_so_is_their_return(started):
    started.paint(on_slices(ball()), erase=True)
    assert started.status == f"Redrawn: axial slice {SLICE}."

    started.undo()
    assert "Redraw a slice" in started.status


def test_edits_on_two_planes_at_once_are_told_and_propagate_says_why_not(started):
    started.paint(ball((8, 8, 8), (6, 6, 6)))
    assert "unclear which slices were redrawn" in started.status

    started.propagate()

    assert len(started.application.texts("error")) == 1
    assert "unclear which slices were redrawn" in started.application.texts("error")[0]
    assert started.is_idle()


def test_a_sagittal_edit_is_found_on_its_plane(started):
    drawn = on_slices(ball((8, 8, 8), (7, 7, 7)), [9], axis=2)
    started.paint(drawn)
    assert started.status == "Redrawn: sagittal slice 9."

    started.propagate()
    started.apply()

    after = started.voxels()
    assert np.array_equal(after[:, :, 9], (ball() | drawn)[:, :, 9])
    assert not np.array_equal(after, ball() | drawn)


def test_propagate_with_nothing_redrawn_says_what_to_do(started):
    started.propagate()

    assert "redraw at least one slice" in started.application.texts("error")[0]
    assert started.is_idle()


# -- preview


def test_the_preview_shows_what_changes_and_the_segment_stays_as_drawn(previewed):
    added, removed = previewed.preview_masks()
    drawn = ball() | DRAWN
    slices = np.flatnonzero((added | removed).any(axis=(1, 2)))

    assert np.array_equal(previewed.voxels(), drawn)
    assert not (added & drawn).any()
    assert not (removed & ~drawn).any()
    assert SLICE not in slices
    assert len(slices)
    assert previewed.status == (
        f"Redrawn: axial slice {SLICE}; kept exactly as drawn.\n"
        f"Would change: slices {slices[0]} to {slices[-1]} ({len(slices)}), "
        f"{added.sum()} voxels more, {removed.sum()} less; whole volume (trained for this model)."
    )


def test_the_preview_says_on_how_many_slices_the_network_is_not_sure_enough(started, monkeypatch):
    monkeypatch.setattr(Preview, "_thresholds", lambda preview: FarThresholds(1.0, 1.0))
    started.paint(DRAWN)

    started.propagate()

    said = re.search(r"Slices left alone for thin evidence: (\d+)\.$", started.status)
    assert said
    assert int(said[1]) > 0


def test_show_result_toggles_between_after_and_before(previewed):
    (node,) = previewed.previews()
    display = node.GetDisplayNode()
    assert previewed.widgets.show.checked
    assert display.GetVisibility()

    click(previewed.widgets.show)
    assert not display.GetVisibility()
    click(previewed.widgets.show)
    assert display.GetVisibility()


def test_apply_writes_what_the_preview_showed_and_takes_it_away(previewed):
    added, removed = previewed.preview_masks()

    previewed.apply()

    assert np.array_equal(previewed.voxels(), ((ball() | DRAWN) | added) & ~removed)
    assert previewed.status.startswith(f"{(added | removed).sum()} voxels changed")
    assert previewed.is_idle()


def test_discard_leaves_the_drawing_and_it_can_be_propagated_again(previewed):
    first = previewed.preview_masks()

    previewed.discard()
    assert previewed.is_idle()
    assert np.array_equal(previewed.voxels(), ball() | DRAWN)
    assert f"Redrawn: axial slice {SLICE}." in previewed.status

    previewed.propagate()
    assert np.array_equal(previewed.preview_masks(), first)


def test_a_stroke_drops_the_preview_and_is_found(previewed):
    more = on_slices(ball((8, 8, 10), (9, 5, 5)), [10])

    previewed.paint(more)

    assert previewed.is_idle()
    assert "the preview was dropped" in previewed.status
    assert f"Redrawn: axial slices {SLICE}, 10." in previewed.status


def test_a_stroke_on_another_segment_leaves_the_preview(previewed):
    previewed.editor.node.SetOverwriteMode(previewed.editor.node.OverwriteNone)
    previewed.segmentation.GetSegmentation().AddEmptySegment("organ", "Organ")
    previewed.editor.selectSegment("organ")
    previewed.paint(ball((3, 3, 3), (3, 3, 3)))
    assert len(previewed.previews()) == 1
    assert "select it and its volume to apply" in previewed.status
    assert not previewed.widgets.apply.enabled

    previewed.editor.selectSegment("gtv")
    settle()
    previewed.apply()
    assert previewed.status.endswith("it is found by itself.")


# -- undo


def test_the_first_undo_takes_the_propagation_back_and_the_second_the_drawing(previewed):
    previewed.apply()
    applied = previewed.voxels()
    assert len(previewed.logic.history) == 1

    previewed.undo()
    assert np.array_equal(previewed.voxels(), ball() | DRAWN)
    assert f"Redrawn: axial slice {SLICE}." in previewed.status
    assert previewed.logic.history == []

    previewed.undo()
    assert np.array_equal(previewed.voxels(), ball())

    previewed.redo()
    previewed.redo()
    assert np.array_equal(previewed.voxels(), applied)
    assert len(previewed.logic.history) == 1
    assert "Redraw a slice" in previewed.status


def test_where_the_drawing_was_erased_the_first_undo_keeps_that_too(started):
    started.paint(DRAWN)
    erased = on_slices(ball((8, 8, 4), (4, 9, 3)))
    started.paint(erased, erase=True)
    drawn = (ball() | DRAWN) & ~erased
    started.propagate()
    started.apply()

    started.undo()
    assert np.array_equal(started.voxels(), drawn)
    started.undo()
    assert np.array_equal(started.voxels(), ball() | DRAWN)
    started.undo()
    assert np.array_equal(started.voxels(), ball())


def test_after_undo_the_next_propagation_starts_from_the_drawing(previewed):
    first = previewed.preview_masks()
    previewed.apply()
    previewed.undo()

    previewed.propagate()

    assert np.array_equal(previewed.preview_masks(), first)
    previewed.apply()
    assert [[e.index for e in done.edits] for done in previewed.logic.history] == [[SLICE]]


def test_a_second_edit_after_the_first_is_one_more_step(previewed):
    previewed.apply()
    once = previewed.voxels()
    more = on_slices(ball((8, 8, 5), (9, 5, 5)), [4])
    previewed.paint(more)
    assert previewed.status == "Redrawn: axial slice 4."

    previewed.propagate()
    previewed.apply()

    assert np.array_equal(previewed.voxels()[4], (once | more)[4])
    assert np.array_equal(previewed.voxels()[SLICE], once[SLICE])
    assert [[e.index for e in done.edits] for done in previewed.logic.history] == [[SLICE], [4]]
    previewed.undo()
    assert np.array_equal(previewed.voxels(), once | more)


# -- by itself


def test_it_is_off_by_default_and_kept_in_the_editors_node(started):
    assert not started.widgets.auto.checked
    assert started.editor.node.GetAttribute("Propagate Edit.AutoPropagate") == "0"

    click(started.widgets.auto)

    assert started.editor.node.GetAttribute("Propagate Edit.AutoPropagate") == "1"
    started.editor.node.SetAttribute("Propagate Edit.AutoPropagate", "0")
    started.editor.setActiveEffect(None)
    started.editor.setActiveEffect(EFFECT)
    assert not started.widgets.auto.checked


def test_it_waits_for_a_second(bench):
    from context_propagation.gui.effect.redrawn_slices import AUTO_DELAY_MS

    assert AUTO_DELAY_MS == 1000


@pytest.fixture
def short_pause(application, monkeypatch):
    """The seconds that it waits in place of that one."""
    monkeypatch.setattr("context_propagation.gui.effect.redrawn_slices.AUTO_DELAY_MS", 250)
    return 0.25


def test_it_propagates_a_pause_after_the_last_stroke_with_any_tool(short_pause, started):
    click(started.widgets.auto)
    started.editor.setActiveEffect(None)
    started.paint(on_slices(DRAWN & ball((8, 8, 10), (4, 3, 3))))
    process_events(0.6 * short_pause)
    last_stroke = time.monotonic()
    started.paint(DRAWN)

    process_events(until=lambda: started.runner.busy)
    assert time.monotonic() - last_stroke > 0.9 * short_pause
    started.wait()

    assert len(started.previews()) == 1
    assert np.array_equal(started.voxels(), ball() | DRAWN)


def test_a_stroke_during_its_run_stops_it_and_it_starts_again(short_pause, started):
    click(started.widgets.auto)
    started.paint(DRAWN)
    process_events(until=lambda: started.runner.busy)

    more = on_slices(ball((8, 8, 10), (9, 5, 5)), [10])
    started.paint(more)
    process_events(until=lambda: started.previews(), at_most=20)

    assert f"Redrawn: axial slices {SLICE}, 10;" in started.status
    started.apply()
    assert np.array_equal(started.voxels()[10], (ball() | more)[10])


def test_a_stroke_during_a_run_that_was_asked_for_stops_it_and_says_so(started):
    started.paint(DRAWN)
    click(started.widgets.propagate)

    started.paint(on_slices(ball((8, 8, 10), (9, 5, 5)), [10]))
    started.wait()

    assert "The segment was changed, so the propagation was stopped." in started.status
    assert f"Redrawn: axial slices {SLICE}, 10." in started.status
    assert started.is_idle()


def test_an_undo_of_a_propagation_is_no_stroke(short_pause, previewed):
    previewed.apply()
    click(previewed.widgets.auto)
    runs = []
    previewed.runner.listeners.append(runs.append)

    previewed.undo()
    process_events(1.6 * short_pause)

    assert not any(runs)
    assert not previewed.previews()


# -- shortcut


def press_shortcut(bench):
    window = bench.editor.options  # in Slicer a part of the main window
    window.show()
    window.activateWindow()
    settle()
    keys = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_P, keys)
    bench.wait()


def test_the_shortcut_propagates_and_then_applies(started):
    started.paint(DRAWN)

    press_shortcut(started)
    added, removed = started.preview_masks()
    press_shortcut(started)

    assert np.array_equal(started.voxels(), ((ball() | DRAWN) | added) & ~removed)


def test_the_shortcut_is_gone_when_another_effect_is_active(started):
    started.paint(DRAWN)
    started.editor.setActiveEffect(None)

    press_shortcut(started)

    assert not started.previews()
    assert not started.editor.effects[EFFECT].optionsFrame()._qt.findChildren(QtGui.QShortcut)


# -- looks


def test_every_widget_has_a_tool_tip_and_the_frame_looks_like_this(previewed, tmp_path):
    for name, widget in vars(previewed.widgets).items():
        if not name.startswith("_"):
            assert widget.toolTip, name
    frame = previewed.editor.effects[EFFECT].optionsFrame()
    frame._qt.resize(340, frame._qt.sizeHint().height())

    screenshot(frame, tmp_path / "propagate_edit.png")

    assert (tmp_path / "propagate_edit.png").stat().st_size > 1000


@pytest.fixture
def threads(monkeypatch):
    """Each long part, and the names of the threads that it ran on."""
    from context_propagation.core.bundle import bundle
    from context_propagation.core.session.session import Session

    ran_on = {}

    def note(part):
        ran_on.setdefault(part, set()).add(threading.current_thread().name)

    def noted(part, run):
        return lambda *args, **options: (note(part), run(*args, **options))[1]

    for owner, name in ((bundle, "load_model"), (Session, "set_image"), (Session, "preview")):
        monkeypatch.setattr(owner, name, noted(name, getattr(owner, name)))
    hook = register_module_forward_pre_hook(lambda network, inputs: note("network"))
    yield ran_on
    hook.remove()


def test_what_takes_long_runs_on_the_worker_s_thread_and_never_on_the_user_s(bench, threads):
    """How long the user's thread is held nevertheless, benchmarks/main_thread.py and Testing/app measure."""
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)
    bench.propagate()
    bench.apply()

    assert set(threads) == {"load_model", "set_image", "preview", "network"}
    assert set.union(*threads.values()) == {"context-propagation"}


def test_a_session_that_the_module_started_is_watched_too(bench):
    bench.open_segment(ball())
    selection = bench.panel._choice.selection
    bench.logic.load_model(bench.panel._choice.model.path, device="cpu")
    bench.logic.select(selection.volume_nodes, selection.segmentation_node, selection.segment_id)
    bench.logic.predict()
    bench.panel.update()

    bench.paint(DRAWN)

    assert "Redrawn: axial slice" in bench.status


# -- a part of a preview, and confirmed slices


def test_a_slice_that_is_confirmed_in_the_preview_stays_as_it_is_and_the_totals_follow(previewed):
    result, drawn = previewed.logic.propagation.pending.result, previewed.voxels()
    counts = dict(result.changed_per_slice)
    index = max(counts, key=counts.get)
    before = previewed.status

    look_at(previewed, index)
    click(previewed.widgets.confirm)

    assert f"As they are: slices {index}; regions: 0." in previewed.status
    assert f"({len(counts) - 1})" in previewed.status
    click(previewed.widgets.confirm)
    assert previewed.status == before
    click(previewed.widgets.confirm)
    click(previewed.widgets.apply)

    after = previewed.voxels()
    assert np.array_equal(after[index], drawn[index])
    assert np.array_equal(after ^ drawn, result.changed & (np.arange(len(after)) != index)[:, None, None])
    assert [[edit.index for edit in done.confirmed] for done in previewed.logic.history] == [[index]]


def test_a_region_that_is_clicked_is_left_out_and_protected(previewed):
    from context_propagation.core.session.changed_region import changed_region

    result, drawn = previewed.logic.propagation.pending.result, previewed.voxels()
    voxel = tuple(int(n) for n in np.argwhere(result.changed)[0])
    region = changed_region(result, voxel)
    (node,) = previewed.previews()

    click_at(previewed, voxel)

    assert "As they are: slices none; regions: 1." in previewed.status
    assert previewed.previews() != [node]
    click_at(previewed, voxel)
    assert "As they are" not in previewed.status
    click_at(previewed, voxel)
    click(previewed.widgets.apply)

    assert np.array_equal(previewed.voxels() ^ drawn, result.changed & ~region)
    assert previewed.logic.session.protected[region].all()


def test_a_click_beside_the_changed_regions_does_nothing(previewed):
    before = previewed.status

    click_at(previewed, (0, 0, 0))

    assert previewed.status == before


def test_a_drawn_slice_cannot_be_left_out_of_its_own_preview(previewed):
    look_at(previewed, SLICE)
    click(previewed.widgets.confirm)

    assert f"Slices to confirm: {SLICE}" in previewed.application.texts("error")[-1]
    assert "As they are" not in previewed.status


def test_a_slice_without_voxels_of_a_thicker_segment_cannot_be_left_out_of_a_preview(bench):
    thick = IJK_TO_LPS @ np.diag([1, 1, 4, 1])
    thick[2, 3] = 2.5
    planes = [1, 5, 9, 13]  # the middles of the segment's own slices
    bench.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(
        bench.add_volume("thick", ijk_to_lps=thick, shape=(4, 16, 16))
    )
    bench.open_segment(ball()[planes])
    bench.start()
    bench.paint(on_slices(ball((8, 8, 10), (4, 6, 5))[planes], (2,)))
    bench.propagate()
    before = bench.status

    look_at(bench, 11)
    click(bench.widgets.confirm)

    assert "none belongs to slice 11; confirm the one before or after it" in bench.application.texts("error")[-1]
    assert bench.status == before
    look_at(bench, 5)
    click(bench.widgets.confirm)
    assert "As they are: slices 5; regions: 0." in bench.status
    click(bench.widgets.apply)
    assert [[edit.index for edit in done.confirmed] for done in bench.logic.history] == [[5]]


def test_the_slice_in_view_is_confirmed_without_a_preview_too(started):
    look_at(started, 10)

    click(started.widgets.confirm)

    assert "Confirmed: axial slice 10; it stays as it is." in started.status
    before = started.voxels()
    started.paint(DRAWN)
    started.propagate()
    click(started.widgets.apply)
    assert np.array_equal(started.voxels()[10], before[10])
