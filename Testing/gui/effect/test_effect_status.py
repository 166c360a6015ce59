"""What the effect's status says is true after every event."""

import numpy as np
import pytest

from as_a_user import click, settle
from effect_bench import DRAWN, SLICE, ball

REDRAW = "Redraw a slice with any tool; it is found by itself."
REDRAWN = f"Redrawn: axial slice {SLICE}."
SELECT = "Select a segment and a source volume."
START = "Press Start before you redraw."
GONE = f"What was worked on is gone from the scene.\n{SELECT}"


@pytest.fixture
def applied(bench):
    """Started, a slice redrawn and propagated, and that applied."""
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)
    bench.propagate()
    bench.apply()
    assert "voxels changed" in bench.status
    return bench


def test_each_step_of_a_whole_edit(bench):
    bench.open_segment(ball())
    assert bench.status == START
    bench.start()
    assert bench.status == REDRAW
    bench.paint(DRAWN)
    assert bench.status == REDRAWN
    bench.propagate()
    assert bench.status.startswith(f"Redrawn: axial slice {SLICE}; kept exactly as drawn.\nWould change")
    bench.discard()
    assert bench.status == f"Discarded; what was drawn stays.\n{REDRAWN}"
    click(bench.widgets.propagate)
    click(bench.widgets.cancel)
    bench.wait()
    assert bench.status == f"Cancelled; nothing was changed.\n{REDRAWN}"
    bench.undo()
    assert bench.status == REDRAW


def close_the_scene(bench):
    bench.application.scene.Clear(False)
    settle()


def remove_the_segment(bench):
    bench.segmentation.GetSegmentation().RemoveSegment("gtv")
    settle()


def remove_the_volume(bench):
    bench.application.scene.RemoveNode(bench.ct)
    settle()


def undo_in_the_editor(bench):
    bench.undo()


def undo_in_the_module(bench):
    bench.logic.use_writer(None)
    bench.paint(np.roll(DRAWN, 1, axis=2))


def close_the_session_elsewhere(bench):
    bench.logic.close_session()
    bench.runner.tell()


def choose_another_model(bench):
    bench.widgets.model.setCurrentIndex(0)


def select_another_segment(bench):
    bench.segmentation.GetSegmentation().AddEmptySegment("other", "other")
    bench.select("other")


@pytest.mark.quick(event=("remove_the_segment", "undo_in_the_editor", "choose_another_model"))
@pytest.mark.parametrize(
    ("event", "said"),
    [
        (close_the_scene, GONE),
        (remove_the_segment, GONE),
        (remove_the_volume, GONE),
        (undo_in_the_editor, REDRAWN),
        (undo_in_the_module, REDRAWN),
        (close_the_session_elsewhere, START),
        (choose_another_model, START),
        (select_another_segment, START),
    ],
)
def test_what_was_done_is_not_said_of_something_else(applied, event, said):
    event(applied)

    assert applied.status == said


def test_what_is_gone_is_forgotten_when_something_else_is_selected(applied):
    remove_the_segment(applied)
    select_another_segment(applied)

    assert applied.status == START


def test_a_run_that_fails_leaves_no_words_of_it(bench, monkeypatch):
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)

    def fail(*args, **kwargs):
        raise RuntimeError("for this test")

    monkeypatch.setattr(bench.logic.session, "preview", fail)
    bench.propagate()

    assert bench.application.texts("error")
    assert bench.status == REDRAWN
