"""A preview shows what would change, and is applied, discarded or dropped; what was applied is undone."""

import re

import numpy as np
from PySide6 import QtCore, QtGui, QtTest

from as_a_user import click, screenshot, settle
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.session.preview import Preview
from effect_bench import DRAWN, EFFECT, SLICE, ball, on_slices

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


def test_every_widget_has_a_tool_tip_and_the_frame_looks_like_this(previewed, tmp_path):
    for name, widget in vars(previewed.widgets).items():
        if not name.startswith("_"):
            assert widget.toolTip, name
    frame = previewed.editor.effects[EFFECT].optionsFrame()
    frame._qt.resize(340, frame._qt.sizeHint().height())

    screenshot(frame, tmp_path / "propagate_edit.png")

    assert (tmp_path / "propagate_edit.png").stat().st_size > 1000


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
