"""Runs the suite in a real Slicer, one process for each script, and says what broke.

    python Testing/app/run_slicer.py /path/to/Slicer [--module-paths FOLDER ...] [--only SCRIPT ...]

It needs nothing but Python. Slicer's settings are those of a new, empty folder; the user's are not touched.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULE = HERE.parents[1] / "SlicerContextPropagation"
SCRIPTS = (
    "AppInstallTest",  # then the restart that the first five minutes need
    "AppFirstFiveMinutesTest",
    "AppFirstStartTest",
    "AppPanelTest",
    "AppEffectTest",
    "AppDoubtTest",
    "AppMasksTest",
    "AppChannelsTest",
    "AppGeometryTest",
    "AppDistancesTest",
    "AppExportTest",
    "AppDicomTest",
    "AppSceneTest",
    "AppTrainingTest",
    "AppInterruptionTest",
    "AppReloadTest",
    "AppDocumentationTest",
    "AppMainThreadTest",
    "AppQuitTest",
)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slicer", type=Path, help="Slicer's launcher")
    parser.add_argument(
        "--module-paths", nargs="*", default=[], metavar="FOLDER", help="more folders with modules, such as PyTorch's"
    )
    parser.add_argument("--only", nargs="*", choices=SCRIPTS, default=SCRIPTS, help="scripts to run, by default all")
    parser.add_argument("--output", type=Path, help="folder for log and pictures; by default a new temporary one")
    parser.add_argument("--step-seconds", type=float, default=900, help="a step that takes longer hangs")
    parser.add_argument("--testing", action="store_true", help="start Slicer with --testing")
    parser.add_argument("--slicer-arguments", nargs=argparse.REMAINDER, default=[], help="more arguments for Slicer")
    return parser.parse_args()


def main():
    """Run the scripts; 0 where all passed."""
    given = arguments()
    if shutil.which(given.slicer) is None:
        raise SystemExit(f"'{given.slicer}' is no program that can be started; name Slicer's launcher")
    output = given.output or Path(tempfile.mkdtemp(prefix="context-propagation-app-"))
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    print(f"Log and pictures: {output}")
    troubles = []
    with tempfile.TemporaryDirectory(prefix="slicer-settings-") as settings:
        for script in given.only:
            print(f"{script} ...", flush=True)
            trouble = run_script(given, script, output, Path(settings))
            if trouble:
                troubles.append(f"{script}: {trouble}")
                print(f"  {trouble}")
    return conclude(output, troubles)


def conclude(output, troubles):
    """Print the table, write it beside the log, and tell whether all is well."""
    from app_report import FAILED, table

    rows = [json.loads(line) for line in _lines(output / "steps.jsonl")]
    failed = [row for row in rows if row["state"] == FAILED]
    if not rows and not troubles:
        troubles = ["no step was run"]
    text = table(rows)
    for row in failed:
        text += f"\n\nFAILED {row['test']}: {row['step']}\n{row['why']}"
    for trouble in troubles:
        text += f"\n\nTROUBLE {trouble}"
    (output / "table.txt").write_text(text + "\n", "utf-8")
    print(f"\n{text}\n\nLog and pictures: {output}")
    return 1 if failed or troubles else 0


def run_script(given, script, output, settings):
    """Run one script in its own Slicer.

    Returns:
        What went wrong with the process, or an empty text; failed steps are in the log.
    """
    console = output / f"{script}-console.log"
    began = len(_lines(output / "steps.log"))
    with console.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command(given), env=environment(script, output, settings), stdout=stream, stderr=subprocess.STDOUT
        )
        hung = wait_for(process, output / "steps.log", given.step_seconds)
    lines = _lines(output / "steps.log")[began:]
    last = next((line for line in reversed(lines) if " BEGINS " in line), "no step had begun")
    ended = any(f"ENDS {script}" in line for line in lines)
    if hung:
        return f"it hung and was ended; last: {last}; where: {output / 'crash.log'}"
    if not ended:
        return f"Slicer ended (code {process.returncode}) in the middle; last: {last}; see {console}"
    failed = any(" FAILED " in line for line in lines)
    if process.returncode != 0 and not failed:
        return f"Slicer ended with code {process.returncode} after all steps; see {console} and crash.log"
    return ""


def command(given):
    """The command line of Slicer."""
    paths = [str(MODULE), *(str(Path(p).resolve()) for p in given.module_paths)]
    words = [str(given.slicer), "--no-splash", "--ignore-slicerrc", "--additional-module-paths", *paths]
    words += ["--testing"] * given.testing
    words += [] if sys.platform.startswith("linux") else ["--disable-settings"]
    words += [*given.slicer_arguments, "--python-script", str(HERE / "run_in_slicer.py")]
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        if shutil.which("xvfb-run") is None:
            raise SystemExit("There is no screen (DISPLAY is empty), and xvfb-run is not installed")
        words = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1600x1000x24", *words]
    return words


def environment(script, output, settings):
    """Settings in an empty folder (on Linux; elsewhere Slicer's own temporary ones), and what the script needs."""
    return {
        **os.environ,
        "XDG_CONFIG_HOME": str(settings),
        "CONTEXT_PROPAGATION_APP_SCRIPT": script,
        "CONTEXT_PROPAGATION_APP_OUTPUT": str(output),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def wait_for(process, log, seconds):
    """Wait for a process as long as its log grows; True where it hung and was ended."""
    changed, size = time.monotonic(), -1
    while process.poll() is None:
        time.sleep(0.5)
        now = log.stat().st_size if log.is_file() else 0
        if now != size:
            changed, size = time.monotonic(), now
        if time.monotonic() - changed > seconds:
            _end(process)
            return True
    return False


def _end(process):
    """End a process that hangs; before, it writes where its Python is."""
    children = _children(process.pid)
    for pid in children if hasattr(signal, "SIGABRT") else []:
        try:
            os.kill(pid, signal.SIGABRT)
        except OSError:
            continue
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _children(pid):
    """A process and those that it started, the youngest first: Slicer's launcher is not Slicer."""
    if not Path("/proc").is_dir():
        return [pid]
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, new = [], [pid]
    while new:
        found += new
        new = [child for parent in new for child in parents.get(parent, [])]
    return found[::-1]


def _lines(file):
    return file.read_text("utf-8", "replace").splitlines() if file.is_file() else []


if __name__ == "__main__":
    sys.exit(main())
