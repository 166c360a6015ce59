"""The stand-in for the Slicer application, one for each test that asks for it."""

import os

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture
def application(tmp_path):
    """A fresh application: `import qt`, `slicer.app`, `slicer.mrmlScene` and the rest work until the test ends."""
    pytest.importorskip("slicer")
    pytest.importorskip("PySide6")
    from stand_in_slicer import Application
    from stand_in_slots import failures, raise_failures

    failures.clear()
    running = Application(tmp_path)
    running.start()
    try:
        yield running
        raise_failures()
    finally:
        running.stop()
