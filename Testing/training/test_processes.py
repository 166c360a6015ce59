"""Processes of the long jobs end with the process that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, time
from context_propagation.cli.fusion_jobs import run_in_parallel
from functools import partial

def job(number):
    open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
    time.sleep(600)

if __name__ == "__main__":
    run_in_parallel([partial(job, 0), partial(job, 1)], "jobs", 2)
"""


def _waited_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


def _runs(process_id: int) -> bool:
    """Whether a process is there and no zombie."""
    status = Path(f"/proc/{process_id}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux which processes run")
def test_processes_end_when_their_parent_is_killed(tmp_path):
    (script := tmp_path / "jobs.py").write_text(SCRIPT)
    (started := tmp_path / "started").mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(started)], stderr=subprocess.DEVNULL)
    try:
        assert _waited_for(lambda: len(list(started.iterdir())) == 2)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    workers = [int(path.name) for path in started.iterdir()]
    assert _waited_for(lambda: not any(map(_runs, workers)), 20)
