"""The keys that go to suggested slices, in the Segment Editor: with any tool in hand, once the effect was chosen."""

import pytest

from as_a_user import settle
from effect_bench import EFFECT, ball

QtCore, QtTest = pytest.importorskip("PySide6.QtCore"), pytest.importorskip("PySide6.QtTest")
QtGui = pytest.importorskip("PySide6.QtGui")


@pytest.fixture
def started(bench):
    bench.open_segment(ball())
    bench.start()
    return bench


def press(bench, key):
    window = bench.editor.options  # in Slicer a part of the main window
    window.show()
    window.activateWindow()
    settle()
    keys = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
    QtTest.QTest.keyClick(window, key, keys)
    settle()


def shown(bench):
    from context_propagation.gui.slice_views import shown_slice

    return shown_slice(bench.ct, 0)


def test_they_work_with_the_effect_and_with_another_tool_in_hand(started):
    from context_propagation.gui.slice_views import jump_to_slice

    suggested = started.logic.suggested_slices()
    jump_to_slice(started.ct, 0, next(index for index in range(16) if index not in suggested))
    press(started, QtCore.Qt.Key.Key_Down)
    assert shown(started) == suggested[0]

    started.editor.setActiveEffect(None)  # as with Paint
    press(started, QtCore.Qt.Key.Key_Down)
    assert shown(started) == suggested[1]
    press(started, QtCore.Qt.Key.Key_Up)
    assert shown(started) == suggested[0]
    assert "Suggested slice 1 of" in started.application.status


def test_they_are_there_once_however_often_the_effect_is_chosen(started):
    for _ in range(3):
        started.editor.setActiveEffect(None)
        started.editor.setActiveEffect(EFFECT)
    settle()

    found = started.editor.options.findChildren(
        QtGui.QShortcut, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly
    )
    assert len(found) == 3


def test_they_are_silent_while_the_editor_is_hidden(started):
    before = shown(started)
    started.editor.options.hide()
    settle()
    keys = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
    QtTest.QTest.keyClick(started.editor.options, QtCore.Qt.Key.Key_Down, keys)
    settle()

    assert shown(started) == before
    assert "Suggested" not in started.application.status


def test_they_go_when_the_editor_ends(started):
    options = started.editor.options
    started.panel.close()
    settle()

    assert options.findChildren(QtGui.QShortcut) == []
