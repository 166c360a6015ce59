#!/usr/bin/env bash
# joblib runs jobs in processes of its own (loky). The process that waits for them may be killed: by the system for lack of memory, or by a
# cluster's job scheduler at the end of the time.
#
# Expected: the worker processes end with it, or at the latest with the job that they are in.
# Seen (joblib 1.6.0, Linux): they go on. Jobs that had been handed to the workers' queue when the parent was killed are begun after its
# death, and write their results; the workers leave when the queue is empty. A run that is started again meanwhile has two sets of writers.
# What to do: let each worker look whether its parent is alive (initializer=), and end itself; or write results by an atomic rename.
#
# Run it: bash findings/joblib_workers_outlive_a_killed_parent.sh   (about a minute; Linux, Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet joblib==1.6.0
cd "$folder"
mkdir begun
cat > jobs.py <<'PROGRAM'
import time
from pathlib import Path


def job(number):
    Path("begun", str(number)).touch()
    time.sleep(1.0)
PROGRAM
cat > parent.py <<'PROGRAM'
import joblib
from jobs import job

joblib.Parallel(2, batch_size=1, pre_dispatch="all")(joblib.delayed(job)(number) for number in range(12))
PROGRAM
cat > watch.py <<'PROGRAM'
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

print("python", platform.python_version(), "joblib", version("joblib"))
parent = subprocess.Popen([sys.executable, "parent.py"], stderr=subprocess.DEVNULL)
while len(list(Path("begun").iterdir())) < 2:
    time.sleep(0.05)
parent.send_signal(signal.SIGKILL)
parent.wait()
time.sleep(0.2)  # a job that was handed over in the same moment
at_death = len(list(Path("begun").iterdir()))
time.sleep(4.0)
later = len(list(Path("begun").iterdir()))
print(f"jobs of 12 that had begun when the parent was killed: {at_death}; four seconds later: {later}")
assert at_death <= 4 and later >= at_death + 2, "this has changed"
time.sleep(8.0)  # the rest of them
PROGRAM
venv/bin/python watch.py
