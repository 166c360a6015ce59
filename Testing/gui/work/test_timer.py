"""The timer that lets go of whom it calls: real Qt."""

import gc
import weakref

import pytest

from as_a_user import process_events


@pytest.fixture
def timer_class(application):
    from context_propagation.gui.work.timer import Timer

    return Timer


class Called:
    def __init__(self):
        self.count = 0

    def call(self):
        self.count += 1


def test_it_calls_again_and_again_until_it_is_stopped(timer_class):
    called = Called()
    timer = timer_class(1, called.call)
    timer.start()
    process_events(until=lambda: called.count >= 3)
    timer.stop()
    count = called.count
    process_events(0.02)
    assert called.count == count


def test_once_means_once_after_each_start(timer_class):
    called = Called()
    timer = timer_class(1, called.call, once=True)
    timer.start()
    process_events(until=lambda: called.count == 1)
    process_events(0.01)
    timer.start()
    process_events(until=lambda: called.count == 2)
    process_events(0.01)
    assert called.count == 2


def test_closed_it_keeps_nothing_alive_and_may_be_closed_again(timer_class):
    called = Called()
    alive, timer = weakref.ref(called), timer_class(1, called.call)
    timer.start()
    timer.close()
    timer.close()
    process_events(0.02)
    assert called.count == 0
    del called, timer
    gc.collect()
    assert alive() is None


def test_it_calls_once_by_what_python_reaches_of_qt(timer_class):
    """In the application, `QTimer.singleShot = True` raises: panel and effect were dead."""
    timer = timer_class(1, lambda: None, once=True)

    assert timer._timer.isSingleShot()
    assert not timer_class(1, lambda: None)._timer.isSingleShot()
