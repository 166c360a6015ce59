"""Processes of the long jobs: they end with their parent and at Ctrl-C, and one that dies costs no other job."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.training import processes
from context_propagation.training.job_process import say_done
from context_propagation.training.processes import run_in_parallel
from other_processes import is_alive, waited_for
from worker_jobs import (
    die_at_first,
    map_in_a_process_of_its_own,
    refuse,
    stay,
    told_threads,
    torch_s_threads,
    torch_s_threads_after,
    wait_halfway,
)

SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with Ctrl-C ignored
from functools import partial
from context_propagation.training.processes import run_in_parallel
from worker_jobs import stay
run_in_parallel([partial(stay, sys.argv[1], number, float(sys.argv[2])) for number in range(400)], "jobs", 2)
"""


@pytest.fixture
def start(tmp_path):
    """A parent with two processes, each of which has begun a job: the parent, all processes below it."""
    parents = []

    def _start(seconds):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(seconds)]
        parent = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        parents.append(parent)
        assert waited_for(lambda: len(list(tmp_path.glob("process-*"))) == 2)
        return parent, psutil.Process(parent.pid).children(recursive=True)

    yield _start
    for parent in parents:
        parent.kill()
        parent.wait()
        parent.stderr.close()


def done_in(folder):
    return {path.name for path in folder.glob("done-*")}


# ---- one pool of processes, which costs seconds to start, for as many tests as it lives through


def test_results_are_in_the_order_of_the_jobs(tmp_path):
    jobs = [partial(stay, tmp_path, name, seconds) for name, seconds in (("slow", 0.3), ("quick", 0), ("last", 0))]
    assert run_in_parallel(jobs, "jobs", 2) == ["slow", "quick", "last"]
    assert run_in_parallel(jobs, "jobs", 1) == ["slow", "quick", "last"]
    assert run_in_parallel([], "jobs", 2) == []
    assert f"process-{os.getpid()}" in {path.name for path in tmp_path.glob("process-*")}  # one worker is this process


@pytest.mark.quick(finished=2)
@pytest.mark.parametrize("finished", [0, 2, 3])
def test_jobs_that_were_done_before_run_in_this_process_and_the_others_do_not(tmp_path, finished):
    leaves = [tmp_path / str(number) for number in range(3)]
    for path in leaves[3 - finished :]:
        path.touch()

    ran_in = run_in_parallel([os.getpid] * 3, "jobs", 2, leaves=leaves)

    assert [process == os.getpid() for process in ran_in] == [False] * (3 - finished) + [True] * finished


def test_a_job_may_start_processes_of_its_own():
    jobs = [partial(map_in_a_process_of_its_own, [-1, 2]), partial(map_in_a_process_of_its_own, [-3])]
    assert run_in_parallel(jobs, "jobs", 2) == [[1, 2], [3]]


@pytest.mark.quick(deaths=1)
@pytest.mark.parametrize("deaths", [1, 2])
def test_jobs_are_done_again_where_a_process_died(tmp_path, deaths):
    jobs = [partial(die_at_first, tmp_path, deaths), *(partial(stay, tmp_path, name, 0.1) for name in "abcdef")]
    assert run_in_parallel(jobs, "jobs", 2) == [deaths + 1, *"abcdef"]


def test_each_process_is_told_to_use_one_thread(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        monkeypatch.setenv(name, "2")

    assert run_in_parallel([told_threads, told_threads], "jobs", 2) == [["1", "1", 1]] * 2


@pytest.mark.long  # imports torch in each process
def test_torch_has_one_thread_in_each_process_also_in_place_of_one_that_died(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    jobs = [partial(torch_s_threads_after, tmp_path, 1), torch_s_threads]

    assert run_in_parallel(jobs, "jobs", 2) == [(2, 1), 1]


@pytest.mark.quick(attempts=1)
@pytest.mark.parametrize("attempts", [1, processes.ATTEMPTS])
def test_a_job_that_dies_at_every_attempt_is_named(tmp_path, monkeypatch, attempts):
    monkeypatch.setattr(processes, "ATTEMPTS", attempts)
    jobs = [*(partial(stay, tmp_path, name, 0) for name in "abc"), partial(die_at_first, tmp_path, 9)]
    with pytest.raises(UserInputError) as caught:
        run_in_parallel(jobs, "jobs", 2, ["a", "b", "c", "case_7"])
    assert str(caught.value) == (
        f"A worker process died, {attempts} times, while it ran 'case_7'; likely for lack of memory; "
        "give a smaller --jobs"
    )
    assert done_in(tmp_path) == {"done-a", "done-b", "done-c"}
    assert len(list(tmp_path.glob("start-*"))) == attempts


def test_an_error_of_a_job_reaches_the_caller(tmp_path):
    jobs = [partial(refuse, UserInputError("the case is empty; give another")), partial(stay, tmp_path, "long", 600)]
    with pytest.raises(UserInputError, match="the case is empty; give another"):
        run_in_parallel(jobs, "jobs", 2)
    assert done_in(tmp_path) == set()


def test_progress_begins_with_what_was_done_and_counts_jobs_that_run_by_what_they_say(tmp_path):
    """One of four was done; of the others, each of which waits halfway, two run at a time."""
    heard, leaves = [], [tmp_path / str(number) for number in range(4)]
    leaves[3].touch()
    jobs = [partial(wait_halfway, 1.0)] * 3 + [partial(stay, tmp_path, "done before", 0)]

    run_in_parallel(jobs, "jobs", 2, (), leaves, lambda stage, fraction: heard.append((stage, fraction)))

    fractions = [fraction for _, fraction in heard]
    assert {stage for stage, _ in heard} == {"jobs"}
    assert (fractions[0], fractions[-1]) == (0.25, 1.0)
    assert 0.5 in fractions  # one done and two halfway
    assert {0.875, 0.75} & set(fractions)  # one done before, two since, one that runs or is halfway


def test_progress_is_told_within_a_job_of_this_process_too():
    heard = []

    run_in_parallel(
        [partial(wait_halfway, 0.0)] * 2, "jobs", 1, progress=lambda stage, fraction: heard.append(fraction)
    )
    say_done(0.5)  # to no one

    assert heard == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


# ---- a parent that ends


def test_with_a_killed_parent_processes_end_and_write_nothing_more(start, tmp_path):
    """Also where nobody asks how the parent ended, so that it stays a zombie; short jobs, more of them in line."""
    parent, below = start(seconds=0.2)
    assert waited_for(lambda: len(done_in(tmp_path)) > 2)

    parent.kill()

    assert waited_for(lambda: not any(map(is_alive, below)), 60)
    done = done_in(tmp_path)
    time.sleep(0.6)  # three jobs' length
    assert done_in(tmp_path) == done


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a terminal's Ctrl-C, which goes to all processes at once")
def test_ctrl_c_ends_all_processes_at_once(start, tmp_path):
    parent, below = start(seconds=600)

    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=120)  # the jobs take ten minutes

    assert waited_for(lambda: not any(map(is_alive, below)), 60)
    assert parent.returncode != 0
    assert said.count("KeyboardInterrupt\n") == 1, said
    assert said.count("Traceback") == 1, said
    assert done_in(tmp_path) == set()
