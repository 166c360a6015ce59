import threading
import time

import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.gui.work.worker import Worker
from context_propagation.mrml.session.operation import Operation


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.close()


def counting(log, until=None):
    """An operation that counts until it is told to stop."""

    def compute(progress, cancelled):
        log.append(("computed on", threading.current_thread().name))
        count = 0
        while until is not None and not until.is_set():
            if cancelled():
                raise Cancelled
            count += 1
            progress("count", 0.5)
            time.sleep(0.001)
        return count

    def finish(count):
        log.append(("finished on", threading.current_thread().name))
        return "result"

    return Operation("Count", compute, finish, lambda: log.append(("abandoned on", threading.current_thread().name)))


def test_it_computes_on_one_thread_of_its_own_and_finishes_where_it_is_drained(worker):
    log, results = [], []
    for _ in range(2):
        worker.submit(counting(log), results.append)
        assert worker.busy
        assert worker.wait(5)

    here = threading.current_thread().name
    assert log == [("computed on", "context-propagation"), ("finished on", here)] * 2
    assert results == ["result", "result"]
    assert sum(thread.name == "context-propagation" for thread in threading.enumerate()) == 1


def test_nothing_is_finished_before_it_is_drained(worker):
    log = []
    job = worker.submit(counting(log))
    time.sleep(0.1)

    assert [what for what, _ in log] == ["computed on"]
    assert worker.busy
    assert not job.finished
    assert worker.drain()
    assert job.finished
    assert not worker.drain()


def test_a_second_operation_is_refused_while_one_runs(worker):
    until = threading.Event()
    worker.submit(counting([], until))

    with pytest.raises(UserInputError, match="'Count' is running"):
        worker.submit(counting([]))
    until.set()
    assert worker.wait(5)


def test_progress_can_be_read_while_it_runs_and_cancelling_abandons_it(worker):
    log, failures = [], []
    job = worker.submit(counting(log, threading.Event()), on_failed=failures.append)
    while job.stage != ("count", 0.5):
        time.sleep(0.001)

    job.cancel()
    assert worker.wait(5)
    assert isinstance(failures[0], Cancelled)
    assert log[-1] == ("abandoned on", threading.current_thread().name)


def test_only_in_its_stages_an_operation_is_asked_for_the_best_so_far(worker):
    asked, told = [], []
    go_on = threading.Event()

    def compute(progress, cancelled):
        for stage in ("update", "decode"):
            progress(stage, 0.0)
            told.append(stage)
            assert go_on.wait(5)
            go_on.clear()

    job = worker.submit(
        Operation("Propagate", compute, lambda _: None, settle=lambda: asked.append(1), settles_in=("update",))
    )
    for stage, settles in (("update", True), ("decode", False)):
        while told[-1:] != [stage]:
            time.sleep(0.001)
        job.settled = False
        assert job.settles is settles
        job.settle()
        go_on.set()
    assert worker.wait(5)
    assert asked == [1]


def test_cancelling_what_has_ended_but_was_not_finished_abandons_it_too(worker):
    log, results, failures = [], [], []
    job = worker.submit(counting(log), results.append, failures.append)
    time.sleep(0.1)

    job.cancel()
    assert worker.wait(5)
    assert results == []
    assert isinstance(failures[0], Cancelled)


@pytest.mark.parametrize("part", ["compute", "finish"])
def test_an_error_in_either_part_reaches_the_callback_and_the_worker_goes_on(worker, part):
    def fail(*_):
        raise ValueError(f"in {part}")

    parts = {"compute": lambda progress, cancelled: 1, "finish": lambda computed: computed, part: fail}
    failures, results = [], []
    worker.submit(Operation("Fail", **parts), results.append, failures.append)
    assert worker.wait(5)
    assert str(failures[0]) == f"in {part}"

    worker.submit(counting([]), results.append)
    assert worker.wait(5)
    assert results == ["result"]


def test_closing_it_cancels_what_runs_and_ends_the_thread():
    worker, failures = Worker(), []
    worker.submit(counting([], threading.Event()), on_failed=failures.append)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "context-propagation"]

    worker.close()

    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(failures[0], Cancelled)


def test_run_here_an_operation_does_both_parts_or_is_abandoned():
    log = []
    assert counting(log).run() == "result"
    with pytest.raises(Cancelled):
        counting(log, threading.Event()).run(cancelled=lambda: True)
    assert [what for what, _ in log] == ["computed on", "finished on", "computed on", "abandoned on"]
