"""Jobs on a real Dask cluster of two workers: as here, also where one dies; none left behind; refused before work."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from context_propagation.cli.main import main
from context_propagation.core.errors import UserInputError
from context_propagation.training import cluster as cluster_module
from context_propagation.training import cluster_opening, cluster_request, processes
from context_propagation.training.base import base_training
from context_propagation.training.cluster_opening import opened_cluster
from context_propagation.training.cluster_request import ClusterRequest
from context_propagation.training.cluster_worker import compared_versions
from context_propagation.training.places import jobs_run_at
from context_propagation.training.processes import run_in_parallel
from local_clusters import DAEMON, killed_in_the_middle, local_cluster
from other_processes import waited_for
from small_protocols import PROTOCOL, assert_measured_alike, write_balls
from worker_jobs import die_at_first, map_in_a_process_of_its_own, refuse, stay, told_threads, wait_halfway, write_on

pytest.importorskip("distributed")

CLIENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from functools import partial
from pathlib import Path
from context_propagation.training.cluster_opening import opened_cluster
from context_propagation.training.cluster_request import ClusterRequest
from context_propagation.training.places import jobs_run_at
from context_propagation.training.processes import run_in_parallel
from worker_jobs import write_on
file, folder = Path(sys.argv[1]), Path(sys.argv[2])
with opened_cluster(ClusterRequest(scheduler_file=file, writes=(folder,))) as cluster, jobs_run_at(cluster):
    run_in_parallel([partial(write_on, folder, number) for number in range(20)], "jobs")
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Two workers of one thread each."""
    with local_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def opened(started, tmp_path):
    with opened_cluster(ClusterRequest(scheduler_file=started.file, writes=(tmp_path,))) as cluster:
        waited_for(lambda: cluster.jobs_at_a_time() == 2)
        with jobs_run_at(cluster):
            yield cluster


def refusal(request):
    with pytest.raises(UserInputError) as caught, opened_cluster(request):
        pass
    return str(caught.value)


# ---- the same results


@pytest.fixture
def balls(tmp_path, monkeypatch):
    """A protocol of two test cases, and a base model of two steps that its runs share, here and elsewhere."""
    monkeypatch.delenv("CONTEXT_PROPAGATION_DATA", raising=False)
    monkeypatch.setattr(base_training, "STEPS_PER_EPOCH", 2)
    write_balls(tmp_path / "balls")
    brief = {"base_epochs": 1, "edits": 1, "several_edits_cases": 0}
    text = PROTOCOL.format(variant="clean") + 'model = "PSNN"\nlevel = 3\nrows = ["fusion"]\nregression_rates = []\n'
    for name, value in brief.items():
        text = re.sub(f"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    (tmp_path / "balls.toml").write_text(text)
    return tmp_path / "balls.toml"


def test_a_protocol_of_two_cases_measures_the_same_as_here_with_a_worker_killed_in_the_middle(started, balls, tmp_path):
    """From simulated edits to tables: every figure of every row, and of the summary, but the seconds."""
    words = ["evaluate", "--protocol", balls, "--device", "cpu", "--output"]
    assert main([*map(str, words), str(tmp_path / "here"), "--jobs", "1"]) == 0
    shutil.copytree(tmp_path / "here" / "work", tmp_path / "there" / "work", ignore=shutil.ignore_patterns("fold0"))

    with killed_in_the_middle(started, tmp_path / "there"):
        assert main([*map(str, words), str(tmp_path / "there"), "--scheduler-file", str(started.file)]) == 0

    assert_measured_alike(tmp_path / "there", tmp_path / "here")
    log = "".join(file.read_text() for file in started.folder.glob("*.log"))
    assert "Compute Failed" not in log
    assert "ball_00" not in log


def test_results_are_in_order_and_progress_counts_jobs_that_run_by_what_they_say(opened, tmp_path):
    heard = []
    jobs = [partial(wait_halfway, 1.0), partial(stay, tmp_path, "b", 0)]

    done = run_in_parallel(jobs, "jobs", progress=lambda stage, fraction: heard.append(fraction))

    assert done == [None, "b"]
    assert (heard[0], heard[-1]) == (0.0, 1.0)
    assert {0.25, 0.75} & set(heard)


def test_a_job_has_one_thread_and_may_start_processes(opened):
    jobs = [told_threads, partial(map_in_a_process_of_its_own, [-1, 2])]

    assert run_in_parallel(jobs, "jobs") == [["1", "1", 1], [1, 2]]


def test_a_job_whose_file_is_there_is_not_sent(opened, tmp_path):
    (tmp_path / "done").touch()

    ran_in = run_in_parallel([os.getpid, os.getpid], "jobs", leaves=[tmp_path / "done", tmp_path / "not done"])

    assert ran_in[0] == os.getpid()
    assert ran_in[1] != os.getpid()


def test_a_job_whose_process_died_is_done_again_and_named_where_that_is_no_use(opened, tmp_path, monkeypatch):
    assert run_in_parallel([partial(die_at_first, tmp_path, 1)], "jobs") == [2]

    monkeypatch.setattr(processes, "ATTEMPTS", 1)
    with pytest.raises(UserInputError) as caught:
        run_in_parallel([partial(die_at_first, tmp_path, 9)], "jobs", names=["case_7"])
    assert str(caught.value) == (
        "A worker process died, 1 times, while it ran 'case_7'; likely for lack of memory; give a job more memory, or "
        "workers fewer threads"
    )


# ---- none is left behind


def test_where_a_job_fails_the_others_end_and_none_writes_any_more(opened, tmp_path):
    jobs = [partial(stay, tmp_path, number, 1.0) for number in range(4)]

    with pytest.raises(UserInputError, match="the case is empty; give another"):
        run_in_parallel([partial(refuse, UserInputError("the case is empty; give another")), *jobs], "jobs")

    before = sorted(tmp_path.iterdir())
    time.sleep(1.5)
    assert sorted(tmp_path.iterdir()) == before
    assert not list(tmp_path.glob("done-*"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="ends a process as a system without memory does")
@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGINT, getattr(signal, "SIGKILL", None)], ids=["interrupted", "killed"])
def test_where_the_command_ends_its_jobs_end_and_none_writes_any_more(started, tmp_path, end):
    """Each job writes ten times a second; there are more than workers."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CLIENT, str(started.file), str(tmp_path)]
    client = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    assert waited_for(lambda: len(list(tmp_path.glob("job-*"))) == 2)

    os.kill(client.pid, end)
    client.wait(60)

    if end != signal.SIGINT:  # the scheduler notices, then the workers
        time.sleep(3.0)
    written = total(tmp_path)
    time.sleep(1.5)
    assert total(tmp_path) == written
    assert len(list(tmp_path.glob("job-*"))) == 2


def total(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("job-*"))


# ---- refused before any work


def test_a_gpu_or_memory_that_no_worker_has_is_refused_at_once(opened):
    with pytest.raises(
        UserInputError, match=r"No worker at 'tcp://.*' offers GPU=1, which 'networks' needs; start som"
    ):
        run_in_parallel([os.getpid], "networks", device="cuda")
    with pytest.raises(
        UserInputError, match=r"A job of 'cases' may need 9999\.0 GiB, and no worker at .* has more than"
    ):
        run_in_parallel([os.getpid], "cases", memory_bytes=lambda: 9999 * 2**30)
    assert opened.device("auto") == "cpu"


def test_jobs_wait_where_all_workers_have_just_gone_and_others_come(opened, monkeypatch):
    monkeypatch.setattr(opened, "_workers", list)
    assert len(run_in_parallel([os.getpid], "cases", memory_bytes=lambda: 2**30)) == 1


def test_another_version_on_the_workers_is_said(started, tmp_path, monkeypatch):
    other = tuple((name, "1.0" if name == "torch" else version) for name, version in compared_versions())
    monkeypatch.setattr(cluster_opening, "compared_versions", lambda: other)

    said = refusal(ClusterRequest(scheduler_file=started.file, writes=(tmp_path,)))

    installed = dict(compared_versions())["torch"]
    assert said.endswith(
        f" has torch {installed}, and this command runs with 1.0; start workers in the same environment"
    )


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="a path that is another one for each process")
def test_a_folder_that_is_not_shared_is_said(started, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)

    said = refusal(ClusterRequest(scheduler_file=started.file, writes=(Path("/proc/self/cwd/results"),)))

    assert "does not see '/proc/self/cwd/results' of this computer; give an --output that all workers share" in said
    assert not list((tmp_path / "results").iterdir())


def test_what_jobs_read_must_be_there(started, tmp_path):
    said = refusal(ClusterRequest(scheduler_file=started.file, writes=(tmp_path,), reads=(tmp_path / "images",)))

    assert f"does not see '{tmp_path / 'images'}' of this computer; put it where all workers see it" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_worker_whose_jobs_may_start_no_processes_is_refused(started, tmp_path):
    daemonic = started.start_worker(**{DAEMON: "True"})
    try:
        request = ClusterRequest(scheduler_file=started.file, writes=(tmp_path,))
        said = waited_for(lambda: said_of(request))
        assert f"may start no processes, and jobs need some; start workers with {DAEMON}=False" in said
    finally:
        below = psutil.Process(daemonic.pid).children(recursive=True)
        for process in (daemonic, *below):
            process.kill()


def said_of(request):
    """What is wrong; nothing as long as the worker has not come."""
    try:
        with opened_cluster(request):
            return None
    except UserInputError as error:
        return str(error)


@pytest.mark.parametrize(
    ("request_of", "said"),
    [
        ({"scheduler": "host:8786"}, "--scheduler 'host:8786' is no address; give one such as tcp://host:8786"),
        ({"scheduler": "http://host:8786"}, "is no address"),
        ({"scheduler": "tcp://h:1", "scheduler_file": Path("s.json")}, "both name a cluster; give one of them"),
        ({"scheduler_file": Path("missing.json")}, "--scheduler-file 'missing.json' cannot be read"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "No Dask scheduler answers at 'tcp://127.0.0.1:9'"),
    ],
)
def test_an_address_that_is_none_is_refused(request_of, said, monkeypatch):
    monkeypatch.setattr(cluster_opening, "SECONDS_TO_CONNECT", 0.5)
    monkeypatch.setattr(cluster_request, "SECONDS_FOR_THE_FILE", 0.5)
    with pytest.raises(UserInputError) as caught, opened_cluster(ClusterRequest(**request_of)):
        pass
    assert said in str(caught.value)


def test_resources_travel_with_jobs_and_a_scheduler_without_workers_is_refused(tmp_path, monkeypatch):
    with local_cluster(tmp_path, workers=0) as cluster:
        request = ClusterRequest(scheduler_file=cluster.file, writes=(tmp_path,))
        with monkeypatch.context() as change:
            change.setattr(cluster_module, "SECONDS_FOR_A_WORKER", 0.1)
            assert "has no worker; start some with dask worker" in refusal(request)

        cluster.start_worker("--resources", "GPU=1 MEMORY=4e9")
        with opened_cluster(request) as opened, jobs_run_at(opened):
            assert opened.device("auto") == "cuda"
            assert opened.device("cpu") == "cpu"
            ran_in = run_in_parallel([os.getpid], "networks", device="cuda", memory_bytes=lambda: 3 * 10**9)
            with pytest.raises(
                UserInputError, match=r"may need 4\.7 GiB, and no worker at .* has more than 3\.7 for it"
            ):
                run_in_parallel([os.getpid], "networks", device="cuda", memory_bytes=lambda: 5 * 10**9)

    assert ran_in != [os.getpid()]


@pytest.mark.long
def test_a_stage_that_begins_without_workers_waits_for_one_with_a_gpu_and_says_where_none_comes(tmp_path, monkeypatch):
    with local_cluster(tmp_path, workers=0) as cluster:
        first = cluster.start_worker("--resources", "GPU=1", "--no-nanny")
        request = ClusterRequest(scheduler_file=cluster.file, writes=(tmp_path,))
        with opened_cluster(request) as opened, jobs_run_at(opened):
            first.terminate()  # as where a cluster gives back workers that have nothing to do
            assert waited_for(lambda: opened._workers() == [])
            with monkeypatch.context() as change:
                change.setattr(cluster_module, "SECONDS_FOR_A_WORKER", 0.1)
                with pytest.raises(UserInputError, match=r"The Dask scheduler at 'tcp.* has no worker; start some"):
                    run_in_parallel([os.getpid], "networks", device="cuda")

            later = threading.Timer(1.0, cluster.start_worker, ["--resources", "GPU=1", "--no-nanny"])
            later.start()
            assert len(run_in_parallel([os.getpid], "networks", device="cuda")) == 1
            later.join()


@pytest.mark.long
def test_a_cluster_that_starts_workers_only_for_work_is_asked_for_one(tmp_path):
    """Dask's own adaptive cluster, as the recipe of docs/cluster.md for queues has it."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    closed = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.LocalCluster(n_workers=0, threads_per_worker=1, **closed) as cluster,
        distributed.Client(cluster) as client,
    ):
        cluster.adapt(minimum=0, maximum=1)
        client.write_scheduler_file(str(tmp_path / "scheduler.json"))
        request = ClusterRequest(scheduler_file=tmp_path / "scheduler.json", writes=(tmp_path,))

        with opened_cluster(request) as opened, jobs_run_at(opened):
            assert run_in_parallel([os.getpid], "jobs") != [os.getpid()]


@pytest.mark.long  # waits for Dask to give the scheduler up
def test_a_scheduler_that_dies_ends_the_command_and_all_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_opening, "SECONDS_TO_CONNECT", 5.0)
    jobs = [partial(write_on, tmp_path, number) for number in range(3)]
    with local_cluster(tmp_path, workers=1) as cluster:
        request = ClusterRequest(scheduler_file=cluster.file, writes=(tmp_path,))
        killer = threading.Thread(target=lambda: waited_for(lambda: total(tmp_path)) and cluster.processes[0].kill())
        killer.start()
        with pytest.raises(UserInputError) as caught, opened_cluster(request) as opened, jobs_run_at(opened):
            run_in_parallel(jobs, "cases")
        written = total(tmp_path)
        time.sleep(1.0)

        assert total(tmp_path) == written > 0
    assert str(caught.value).startswith("The Dask cluster lost a job of 'cases' (")
    assert str(caught.value).endswith("what is finished is kept; see to the cluster, then run the same command again")
