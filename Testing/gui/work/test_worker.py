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


# -- what is read and written in parts


def in_parts(log, fails_in=""):
    """An operation that reads two parts and writes two."""

    def parts(of):
        for number in (1, 2):
            log.append((f"{of} {number}", threading.current_thread().name))
            if fails_in == f"{of} {number}":
                raise UserInputError(f"not {of}")
            yield

    def compute(progress, cancelled):
        log.append(("compute", threading.current_thread().name))
        return "computed"

    def finish(computed):
        log.append((f"finish {computed}", threading.current_thread().name))
        return "result"

    def abandon():
        log.append(("abandon", threading.current_thread().name))

    return Operation("Parts", compute, finish, abandon, read=lambda: parts("read"), write=lambda _: parts("write"))


def said(log):
    return [what for what, _ in log]


ALL = ["read 1", "read 2", "compute", "write 1", "write 2", "finish computed"]


def test_parts_are_done_one_by_one_around_the_computation_where_it_is_drained(worker):
    log, results, seen = [], [], []
    worker.submit(in_parts(log), results.append)
    while worker.busy:
        seen.append(len(log))
        worker.drain()
        worker.await_computed(1)

    assert said(log) == ALL
    here = threading.current_thread().name
    assert {thread for what, thread in log if what != "compute"} == {here}
    assert results == ["result"]
    assert max(b - a for a, b in zip(seen, [*seen[1:], len(log)], strict=True)) <= 2  # one here, and the computation


@pytest.mark.parametrize("last", ["read 1", "read 2", "write 1", "write 2"])
def test_cancelled_between_two_parts_or_after_an_error_in_one_it_is_abandoned(worker, last):
    log, failures = [], []
    job = worker.submit(in_parts(log), on_failed=failures.append)
    while said(log)[-1] != last:
        worker.drain()
        worker.await_computed(1)
    job.cancel()
    assert worker.wait(5)
    assert said(log) == [*ALL[: ALL.index(last) + 1], "abandon"]
    assert isinstance(failures[0], Cancelled)

    log.clear()
    worker.submit(in_parts(log, fails_in=last), on_failed=failures.append)
    assert worker.wait(5)
    assert said(log) == [*ALL[: ALL.index(last) + 1], "abandon"]
    assert str(failures[1]) == f"not {last.split()[0]}"
    assert not worker.busy


def test_run_here_all_parts_are_done_or_it_is_abandoned():
    log = []
    assert in_parts(log).run() == "result"
    assert said(log) == ALL
    log.clear()
    with pytest.raises(UserInputError, match="not write"):
        in_parts(log, fails_in="write 1").run()
    assert said(log) == ["read 1", "read 2", "compute", "write 1", "abandon"]
