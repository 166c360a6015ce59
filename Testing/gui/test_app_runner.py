"""The outer runner of Testing/app: it tells where a Slicer that crashed, hung or never began had got to."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "app"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script that can be started is written")

LAUNCHER = """\
#!{python}
import os, signal, sys, time
sys.path.insert(0, {app!r})
from app_report import PASSED, FAILED, Row, report
script = os.environ["CONTEXT_PROPAGATION_APP_SCRIPT"]
assert "--additional-module-paths" in sys.argv and os.environ["XDG_CONFIG_HOME"]
{what}
report().say(f"ENDS {{script}}: 1 tests")
"""
ONE_STEP = "report().began(script, 'press Predict')\n"
PASSES = (
    ONE_STEP + "report().ended(Row(script, 'press Predict', PASSED, 1.0, 0.25, 0.05, 'click: 250 ms, 50 of them ours'))"
)


def run(tmp_path, what, *more):
    launcher = tmp_path / "Slicer"
    launcher.write_text(LAUNCHER.format(python=sys.executable, app=str(APP), what=textwrap.dedent(what)), "utf-8")
    launcher.chmod(0o755)
    words = [sys.executable, str(APP / "run_slicer.py"), str(launcher), "--only", "AppPanelTest"]
    words += ["--output", str(tmp_path / "out"), *more]
    return subprocess.run(words, env={**os.environ, "DISPLAY": ":99"}, capture_output=True, text=True, check=False)


def test_a_run_without_failures_ends_with_0_and_a_table(tmp_path):
    done = run(tmp_path, PASSES)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "press Predict" in done.stdout
    assert "1 steps: 1 passed, 0 FAILED, 0 skipped" in done.stdout
    assert "press Predict: click: 250 ms, 50 of them ours" in done.stdout
    assert (tmp_path / "out" / "table.txt").is_file()


def test_a_failed_step_is_told_with_its_reason(tmp_path):
    done = run(tmp_path, ONE_STEP + "report().ended(Row(script, 'press Predict', FAILED, why='the slice was changed'))")

    assert done.returncode == 1
    assert "FAILED AppPanelTest: press Predict\nthe slice was changed" in done.stdout


def test_a_crash_is_told_with_the_step_that_had_begun(tmp_path):
    done = run(tmp_path, ONE_STEP + "os.kill(os.getpid(), signal.SIGSEGV)")

    assert done.returncode == 1
    assert "BEGINS AppPanelTest: press Predict" in done.stdout
    assert "Slicer ended (code -11) in the middle" in done.stdout
    assert "Segmentation fault" in (tmp_path / "out" / "crash.log").read_text("utf-8")


def test_a_crash_at_the_end_is_no_success(tmp_path):
    done = run(tmp_path, PASSES + "\nreport().say(f'ENDS {script}: 1 tests')\nos._exit(139)")

    assert done.returncode == 1
    assert "ended with code 139 after all steps" in done.stdout


@pytest.mark.long
def test_a_hang_is_ended_and_its_place_is_in_the_log(tmp_path):
    done = run(tmp_path, ONE_STEP + "def wait_for_ever(): time.sleep(600)\nwait_for_ever()", "--step-seconds", "2")

    assert done.returncode == 1
    assert "it hung and was ended; last" in done.stdout
    assert "wait_for_ever" in (tmp_path / "out" / "crash.log").read_text("utf-8")


def test_what_is_no_program_is_said_at_once(tmp_path):
    words = [sys.executable, str(APP / "run_slicer.py"), str(tmp_path / "nothing")]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "is no program that can be started" in done.stderr
