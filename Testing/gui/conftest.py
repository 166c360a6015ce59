"""The stand-in for the Slicer application, one for each test that asks for it."""

import importlib
import os
import sys

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

SHARE_SECONDS = 0.005
"""In place of the runner's own: the loop of these tests lets go of Python's lock, as Slicer's does not."""


@pytest.fixture(scope="session")
def installed_here():
    """What `installed_packages` found for this Python, which has hundreds: no test installs into it."""
    return {}


@pytest.fixture
def application(tmp_path, installed_here, monkeypatch):
    """A fresh application: `import qt`, `slicer.app`, `slicer.mrmlScene` and the rest work until the test ends."""
    pytest.importorskip("slicer")
    pytest.importorskip("PySide6")
    from stand_in_slicer import Application
    from stand_in_slots import failures, raise_failures

    failures.clear()
    running = Application(tmp_path)
    running.start()
    runner = importlib.import_module("context_propagation.gui.work.runner")
    packages = importlib.import_module("context_propagation.gui.packages.slicer_packages")
    look = packages.installed_packages

    def looked_up(path, names=None):
        if list(path) != sys.path or names is None:
            return look(path, names)
        wanted = tuple(path), tuple(names)
        if wanted not in installed_here:
            installed_here[wanted] = look(*wanted)
        return dict(installed_here[wanted])

    monkeypatch.setattr(packages, "installed_packages", looked_up)
    running.share_seconds, runner.SHARE_SECONDS = runner.SHARE_SECONDS, SHARE_SECONDS
    try:
        yield running
        raise_failures()
    finally:
        runner.SHARE_SECONDS = running.share_seconds
        running.stop()


@pytest.fixture
def models_loaded_once(monkeypatch):
    """For tests that are not about loading or accuracy: what was loaded before is copied, and its sessions take few
    steps.
    """
    pytest.importorskip("nnunetv2")
    from loaded_models import quick_model

    monkeypatch.setattr("context_propagation.core.bundle.bundle.load_model", quick_model)


@pytest.fixture(scope="session")
def effect_bundle(tmp_path_factory):
    """A small model with fusion networks; its own model is beside it. No test writes into them."""
    pytest.importorskip("nnunetv2")
    from effect_bench import write_models

    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def bench(application, effect_bundle, models_loaded_once):
    """The application with the module loaded, and "Propagate Edit" with one model."""
    from effect_bench import EffectBench

    bench = EffectBench(application, effect_bundle)
    yield bench
    bench.close()


@pytest.fixture
def modules_as_before():
    """For a test that reloads the module: it imports the package anew, and other tests hold the classes of before."""
    before = _own_modules()
    yield
    for name in _own_modules():
        del sys.modules[name]
    sys.modules.update(before)


def _own_modules():
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "context_propagation"}
