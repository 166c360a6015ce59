"""Runs one script of the suite inside Slicer, and ends it: what `run_slicer.py` gives to `--python-script`."""

import os
import sys
import traceback
import unittest
from pathlib import Path

import slicer

SCRIPT = "CONTEXT_PROPAGATION_APP_SCRIPT"
"""Environment variable: the script's name."""

WINDOW = 1500, 950
"""Pixels; pictures of all screens are alike."""


def run(script):
    """Run one script; 0 where all of it passed."""
    from app_report import report

    report().say(f"Slicer {slicer.app.applicationVersion}, Python {sys.version.split()[0]}, {sys.platform}: {script}")
    suite = unittest.defaultTestLoader.loadTestsFromName(script)
    with (report().folder / f"{script}.log").open("w", encoding="utf-8") as stream:
        result = unittest.TextTestRunner(stream, verbosity=2).run(suite)
    for test, trace in [*result.errors, *result.failures]:
        report().say(f"FAILED  {test.id()}\n{trace}")
    report().say(f"ENDS {script}: {result.testsRun} tests, {len(result.errors) + len(result.failures)} failed")
    return 0 if result.wasSuccessful() else 1


def main():
    """Run the script that the environment names, then leave."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    slicer.util.mainWindow().resize(*WINDOW)
    try:
        code = run(os.environ[SCRIPT])
    except BaseException:
        traceback.print_exc()
        code = 2
    slicer.util.exit(code)


if __name__ == "__main__":
    main()
