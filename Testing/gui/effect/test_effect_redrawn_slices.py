"""Slices that were redrawn with any tool are found, told, and propagated by themselves where the user wants that."""

import time

import numpy as np
import pytest

from as_a_user import click, process_events
from effect_bench import DRAWN, EFFECT, SLICE, ball, on_slices

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


def test_a_session_that_the_module_started_is_watched_too(bench):
    bench.open_segment(ball())
    selection = bench.panel._choice.selection
    bench.logic.load_model(bench.panel._choice.model.path, device="cpu")
    bench.logic.select(selection.volume_nodes, selection.segmentation_node, selection.segment_id)
    bench.logic.predict()
    bench.panel.update()

    bench.paint(DRAWN)

    assert "Redrawn: axial slice" in bench.status


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
