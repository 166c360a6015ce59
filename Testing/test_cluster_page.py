"""docs/cluster.md: every command is one that there is, and its recipes start clusters that do jobs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from context_propagation.cli.commands import COMMANDS, build_parser
from context_propagation.training.cluster_opening import opened_cluster
from context_propagation.training.cluster_request import ClusterRequest
from context_propagation.training.places import jobs_run_at
from context_propagation.training.processes import run_in_parallel
from other_processes import waited_for

PAGE = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\w*\n(.*?)```", PAGE, re.DOTALL)
LONG = ("evaluate", "train-fusion", "build-demo", "train-psnn", "propagate-cohort")


def block_with(text):
    (found,) = [block for block in BLOCKS if text in block]
    return found


def commands():
    text = "\n".join(BLOCKS) + "\n".join(re.findall(r"`(context-propagation [^`]+)`", PAGE))
    return [
        line for line in re.findall(r"context-propagation ([a-z].*?)[\"`]?$", text, re.MULTILINE) if "[" not in line
    ]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_can_be_parsed(command):
    words = [word.replace("$SLURM_ARRAY_TASK_ID", "1") for word in shlex.split(command)]

    assert build_parser(words).parse_args(words).command in LONG


@pytest.mark.parametrize("name", LONG)
def test_every_long_command_takes_a_scheduler_and_all_but_one_training_take_parts(name):
    parser = build_parser([name])
    options = COMMANDS[name], parser._subparsers._group_actions[0].choices[name].format_help()

    assert "--scheduler-file" in options[1]
    assert ("--parts" in options[1]) == (name != "train-psnn")


def does_a_job(file, folder):
    with opened_cluster(ClusterRequest(scheduler_file=file, writes=(folder,))) as cluster, jobs_run_at(cluster):
        return run_in_parallel([os.getpid], "jobs")[0] != os.getpid()


def listened_at(process):
    """Addresses at which a process and those below it can be reached."""
    below = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return {c.laddr.ip for one in below for c in one.net_connections() if c.status == psutil.CONN_LISTEN}


def end(process):
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()


def started(command, folder):
    bin_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": bin_folder + os.pathsep + os.environ["PATH"]}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with open(folder / "log.txt", "w") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


@pytest.mark.skipif(os.name == "nt", reason="a shell's commands")
def test_the_recipe_for_one_machine_starts_a_cluster_that_does_jobs_and_is_reached_from_it_alone(tmp_path):
    pytest.importorskip("distributed")
    lines = [line for line in block_with("--nworkers 2").splitlines() if not line.startswith("context-propagation")]
    process = started(["bash", "-c", "\n".join([*lines, "wait"])], tmp_path)
    try:
        assert waited_for((tmp_path / "scheduler.json").exists)
        assert does_a_job(tmp_path / "scheduler.json", tmp_path)
        assert listened_at(process) == {"127.0.0.1"}
    finally:
        end(process)


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="a queue's shell")
def test_the_recipe_for_queues_starts_a_cluster_that_does_jobs(tmp_path, monkeypatch):
    """With a command in place of Slurm's that runs the script of its job at once, on this computer."""
    pytest.importorskip("dask_jobqueue")
    queue = tmp_path / "sbatch"
    queue.write_text("#!/bin/bash\ncp $1 job.sh\nbash job.sh &\necho $! > job.pid\necho Submitted batch job 7\n")
    queue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    loopback = next(
        name for name, found in psutil.net_if_addrs().items() if any(one.address == "127.0.0.1" for one in found)
    )
    recipe = block_with("SLURMCluster(").replace('"ib0"', f'"{loopback}"').replace("jobs=20", "jobs=1")
    (tmp_path / "cluster.py").write_text(recipe, encoding="utf-8")
    process = started([sys.executable, "cluster.py"], tmp_path)
    try:
        assert waited_for((tmp_path / "scheduler.json").exists), (tmp_path / "log.txt").read_text()
        assert does_a_job(tmp_path / "scheduler.json", tmp_path), (tmp_path / "log.txt").read_text()
        assert listened_at(process) == {"127.0.0.1"}
        assert listened_at(psutil.Process(int((tmp_path / "job.pid").read_text()))) == {"127.0.0.1"}
    finally:
        end(process)
        end(psutil.Process(int((tmp_path / "job.pid").read_text())))
    assert "#SBATCH --mem=8G" in (tmp_path / "job.sh").read_text()


@pytest.mark.skipif(os.name == "nt", reason="a shell's commands")
@pytest.mark.long
def test_the_recipe_for_tls_lets_in_who_has_the_certificate_alone(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    options = "--dashboard-address 127.0.0.1:0 --nworkers 1 --nthreads 1 --host tls://127.0.0.1"
    worker = f"dask worker --scheduler-file scheduler.json {options} &"
    lines = block_with("openssl").splitlines()
    daemon = "export DASK_DISTRIBUTED__WORKER__DAEMON=False"
    text = "\n".join(["set -e", daemon, *lines[:-1], f"{lines[-1]} &", worker, "wait"])
    process = started(["bash", "-c", text], tmp_path)
    try:
        assert waited_for((tmp_path / "scheduler.json").exists), (tmp_path / "log.txt").read_text()
        environment = {"CA_FILE": "cert.pem", "CLIENT__CERT": "cert.pem", "CLIENT__KEY": "key.pem"}
        script = (
            "import sys; sys.path[:0] = %r; from test_cluster_page import does_a_job; from pathlib import Path\n"
            "if __name__ == '__main__': print(does_a_job(Path('scheduler.json'), Path.cwd()))"
        ) % [str(Path(__file__).parent), *[path for path in sys.path if path]]
        for name, file in environment.items():
            monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}", str(tmp_path / file))
        with_certificate = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
        for name in environment:
            monkeypatch.delenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}")
        without = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    finally:
        end(process)
    assert with_certificate.stdout.strip() == "True", with_certificate.stderr
    assert "No Dask scheduler answers at 'tls://127.0.0.1:" in without.stderr
