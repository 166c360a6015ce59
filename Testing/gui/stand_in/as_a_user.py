"""What a user does to a GUI: click, wait, look."""

import time

from PySide6 import QtCore, QtWidgets

from stand_in_slots import raise_failures


def click(button):
    """Press a button, which must be there and enabled."""
    where = f"{button.className()} {button.text!r}"
    if not button.isEnabled():
        raise AssertionError(f"{where} is disabled")
    if not _shown(button._qt):
        raise AssertionError(f"{where} is hidden")
    button.click()
    raise_failures()


def choose(selector, node):
    """Choose a node in a `qMRMLNodeComboBox`."""
    combo = selector._own.combo
    index = combo.findData(node.GetID() if node is not None else None)
    assert index >= 0, f"{selector.className()} does not offer it"
    combo.setCurrentIndex(index)
    combo.activated.emit(index)
    raise_failures()


def _shown(widget):
    """Whether a widget is on the screen once its window is."""
    while widget is not None and not widget.isWindow():
        if widget.isHidden():
            return False
        widget = widget.parentWidget()
    return True


def process_events(seconds=0.0, until=None, at_most=60.0):
    """Let Qt work: for some seconds, or until a condition holds."""
    end = time.monotonic() + (seconds if until is None else at_most)
    loop = QtCore.QEventLoop()  # PySide's static `processEvents` takes a reference to None with each call
    while True:
        _process_once(loop)
        if until is not None and until():
            return
        if time.monotonic() >= end:
            if until is not None:
                raise AssertionError(f"{until} did not come true in {at_most} s")
            return
        time.sleep(0.002)


SECONDS_OF_A_RUN = 0.05


def settle():
    """Let Qt work until all that was caused is done, also what that causes; a run that goes on is not waited for."""
    loop, end, rounds = QtCore.QEventLoop(), time.monotonic() + SECONDS_OF_A_RUN, 0
    while _process_once(loop) and (rounds < 10 or time.monotonic() < end):
        rounds += 1


def _process_once(loop):
    """Whether there was something to do."""
    QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    worked = loop.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents)
    raise_failures()
    return worked


def screenshot(widget, path):
    """Save a picture of a widget as a user would see it."""
    if not widget._qt.grab().save(str(path)):
        raise OSError(f"could not write {path}")
