"""How often the runner looks at what runs, and that a result never waits for a look."""

import threading

import pytest

pytest.importorskip("slicer")


@pytest.fixture
def runner(application):
    from context_propagation.gui.work.runner import Runner

    runner = Runner()
    yield runner
    runner.close()


def operation(compute):
    from context_propagation.mrml.session.operation import Operation

    return Operation("Count", lambda progress, cancelled: compute(progress), lambda computed: computed)


def test_listeners_are_told_before_a_result_is_handed_over_and_once_nothing_runs(runner):
    from as_a_user import process_events

    told, results = [], []
    runner.listeners.append(lambda job: told.append((job is not None, len(results))))

    runner.start(operation(lambda progress: 5), results.append)
    process_events(until=lambda: not runner.busy, at_most=10)

    assert results == [5]
    assert (True, 0) in told
    assert told[-1] == (False, 1)


@pytest.mark.parametrize(("seconds", "looked"), [(3600, False), (0, True)])
def test_while_it_computes_listeners_are_told_no_more_often_than_said(runner, monkeypatch, seconds, looked):
    from as_a_user import process_events
    from context_propagation.gui.work import runner as module

    told, goes_on = [], threading.Event()
    monkeypatch.setattr(module, "TELL_SECONDS", seconds)
    runner.listeners.append(told.append)

    runner.start(operation(lambda progress: goes_on.wait(10)))
    at_the_start = len(told)
    process_events(5 * module.SHARE_SECONDS)
    meanwhile = len(told) - at_the_start
    goes_on.set()
    process_events(until=lambda: not runner.busy, at_most=10)

    assert (meanwhile > 0) == looked
    assert len(told) >= at_the_start + meanwhile + 2  # before the result, and after it
