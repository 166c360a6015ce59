"""A real Dask cluster on this computer: a scheduler that writes its file, and workers, as docs/cluster.md has them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from other_processes import waited_for

DAEMON = "DASK_DISTRIBUTED__WORKER__DAEMON"


@dataclass
class LocalCluster:
    """Processes of a cluster whose files lie in `folder`."""

    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    def start_scheduler(self) -> None:
        self.start("scheduler", "--scheduler-file", self.file, "--port", 0, log="scheduler.log")
        waited_for(self.file.exists)

    def start_worker(self, *arguments, **environment) -> subprocess.Popen:
        """One worker process below its nanny, which starts another in its place."""
        number = len(self.processes)
        options = ["--nworkers", 1, "--nthreads", 1, "--name", f"worker-{number}", "--local-directory", self.folder]
        return self.start(
            "worker", "--scheduler-file", self.file, *options, *arguments, log=f"worker-{number}.log", **environment
        )

    def start(self, *words, log, **environment) -> subprocess.Popen:
        words = (*words, "--dashboard-address", "127.0.0.1:0")
        command = [sys.executable, "-m", "dask", *map(str, words), "--host", "127.0.0.1"]
        variables = {**os.environ, DAEMON: "False", "PYTHONPATH": os.pathsep.join(sys.path), **environment}
        with open(self.folder / log, "w") as output:
            self.processes.append(subprocess.Popen(command, env=variables, stdout=output, stderr=output))
        return self.processes[-1]

    def stop(self) -> None:
        below = []
        for process in self.processes:
            if process.poll() is None:
                below += psutil.Process(process.pid).children(recursive=True)
                process.kill()
        for process in below:
            if process.is_running():
                process.kill()
        for process in self.processes:
            process.wait()


@contextmanager
def local_cluster(folder: Path, workers: int = 2) -> Iterator[LocalCluster]:
    cluster = LocalCluster(folder)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def killed_in_the_middle(cluster: LocalCluster, results: Path) -> Iterator[None]:
    """A protocol runs in the block: while it simulates edits, a worker is killed, as by a system without memory."""
    killed = []

    def kill() -> None:
        waited_for(lambda: any(results.rglob("examples")), 600)
        worker = waited_for(lambda: next(filter(is_at_work, workers_of(cluster)), None), 600)
        worker.kill()
        killed.append(worker)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    yield
    killer.join()
    assert not killed[0].is_running()


def workers_of(cluster: LocalCluster) -> list[psutil.Process]:
    """The processes that work, not those of their jobs."""
    children = [child for process in cluster.processes for child in psutil.Process(process.pid).children()]
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def is_at_work(worker: psutil.Process) -> bool:
    try:
        return any(child.cpu_times().user > 1 for child in worker.children(recursive=True))
    except psutil.NoSuchProcess:
        return False
