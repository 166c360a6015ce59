"""Installing from the network: the real pip as Slicer starts it, over HTTP on this computer's loopback address."""

import itertools
import os
import subprocess
import sys
import time
import venv
import zipfile
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from as_a_user import click, process_events
from downloads import served, write_index, write_python_slicer
from wheels import make_wheel

pytestmark = pytest.mark.skipif(os.name == "nt", reason="PythonSlicer is a shell script here")
PIP = Version(os.environ.get("CONTEXT_PROPAGATION_TEST_PIP_VERSION", version("pip")))
says_how_far = pytest.mark.skipif(Version("24.1") > PIP, reason="pip 24.1 or later says in lines how far it is")
BIG = 4_000_000


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "index"
    make_wheel(folder, "nnunetv2", "2.8.1", "helper")
    make_wheel(folder, "helper", "1.0")
    (tmp_path / "big.bin").write_bytes(os.urandom(BIG))
    wheel = folder / "helper-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.write(tmp_path / "big.bin", "helper/big.bin")
    write_index(folder)
    return folder


@pytest.fixture
def python(tmp_path):
    venv.create(tmp_path / "python", symlinks=True)
    return tmp_path / "python" / "bin" / "python"


@pytest.fixture
def section(application, monkeypatch, tmp_path, wheels, python):
    """The panel's section on packages, in an application whose pip installs into another Python."""
    import slicer.util

    from context_propagation.gui.packages import slicer_packages as module
    from context_propagation.gui.packages.dependencies import DependencyInstaller
    from context_propagation.gui.packages.slicer_processes import SlicerProcesses

    monkeypatch.setattr(slicer.util, "pip_install", lambda a: slicer.util.executePythonModule("pip", ["install", *a]))
    monkeypatch.setattr(
        slicer.util, "pip_uninstall", lambda a: slicer.util.executePythonModule("pip", ["uninstall", "--yes", *a])
    )
    site_packages = next((tmp_path / "python").rglob("site-packages"))
    monkeypatch.setattr(
        module.SlicerPackages,
        "installed",
        lambda self, names=None: module.installed_packages([str(site_packages)], names),
    )
    if Version("24.1") <= PIP:
        monkeypatch.setattr(module, "pip_environment", lambda: {"PIP_PROGRESS_BAR": "raw"})
    application.load_module(
        os.path.join(os.path.dirname(__file__), "../../../SlicerContextPropagation/ContextPropagation.py")
    )
    panel = application.open_module("ContextPropagation").panel
    ui = panel.inputs._ui

    def installer():
        processes = SlicerProcesses()
        packages = module.SlicerPackages.of_application(processes)
        return DependencyInstaller(packages, module.PyTorchExtension(processes), tmp_path / "settings")

    section = panel.packages
    section._installer_of = installer
    section._missing = (_missing("nnunetv2>=2.5"),)
    section.update()
    yield SimpleNamespace(section=section, ui=ui, application=application, site_packages=site_packages, said=[])
    panel.close()
    from context_propagation.gui.work.shared import release

    release()


def _missing(requirement):
    from context_propagation.gui.packages.installation_plan import MissingPackage

    return MissingPackage(Requirement(requirement), None)


def _use_index(monkeypatch, tmp_path, python, index):
    program = write_python_slicer(tmp_path / "program", python, index)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def _note_what_is_shown(section):
    """What the label and the bar said, each time the application could work."""
    label, bar = section.ui.packagesLabel, section.ui.installProgress
    show = section.section._show_step

    def noting(step):
        show(step)
        section.said.append((label.text.replace("\u200b", ""), bar.value if bar.maximum else None))

    section.section._show_step = noting


@pytest.mark.long
def test_number_size_and_progress_are_shown_while_packages_are_downloaded(
    section, wheels, python, tmp_path, monkeypatch
):
    _note_what_is_shown(section)
    section.application.answers = [True]
    with served(wheels, pause_seconds=0.02) as index:
        _use_index(monkeypatch, tmp_path, python, index)
        click(section.ui.installButton)

    assert section.application.texts("error") == []
    assert {"nnunetv2", "helper"} <= {d.name.split("-")[0] for d in section.site_packages.glob("*.dist-info")}
    said = [text for text, _ in section.said]
    total = sum(w.stat().st_size for w in wheels.glob("*.whl")) / 1e6
    assert any(f"of 2: helper ({total:.1f} MB in all)" in text for text in said)
    assert any("installing 2 packages" in text for text in said)
    assert said[0] == "Step 1 of 1, nnunetv2: begins"
    assert not section.ui.installProgress.visible


@says_how_far
def test_the_bar_grows_with_the_bytes_of_the_download(section, wheels, python, tmp_path, monkeypatch):
    _note_what_is_shown(section)
    section.application.answers = [True]
    with served(wheels, pause_seconds=0.05) as index:
        _use_index(monkeypatch, tmp_path, python, index)
        click(section.ui.installButton)

    shares = [share for text, share in section.said if "helper (" in text and " MB of " in text]
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] > 90


@says_how_far
def test_cancel_ends_a_download_soon_and_nothing_is_installed(section, wheels, python, tmp_path, monkeypatch):
    show = section.section._show_step

    def cancel_when_bytes_come(step):
        show(step)
        text = section.ui.packagesLabel.text.replace("\u200b", "")
        if "helper (" in text and "MB of" in text and section.ui.stopInstallButton.enabled:
            section.said.append(time.monotonic())
            click(section.ui.stopInstallButton)

    section.section._show_step = cancel_when_bytes_come
    section.application.answers = [True]
    with served(wheels, pause_seconds=0.5) as index:
        _use_index(monkeypatch, tmp_path, python, index)
        click(section.ui.installButton)

    assert time.monotonic() - section.said[0] < 8
    assert section.application.texts("error") == []
    assert "Cancelled" in section.application.texts("information")[0]
    assert list(section.site_packages.glob("*.dist-info")) == []
    assert section.ui.installButton.enabled


def test_a_server_that_is_not_there_is_told_in_one_sentence(section, python, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_RETRIES", "0")
    _use_index(monkeypatch, tmp_path, python, "http://127.0.0.1:9/simple")
    section.application.answers = [True]

    click(section.ui.installButton)

    assert "cannot be reached" in section.application.texts("error")[0]


SILENT_UNTIL = """
import os, sys, time
for _ in range(3000):
    if os.path.exists(sys.argv[1]):
        break
    time.sleep(0.01)
else:
    sys.exit(0)
while True:
    print("still here", flush=True)
    time.sleep(0.01)
"""
"""A program that prints nothing before a file is there; where none comes, it ends well after half a minute."""


def test_the_application_goes_on_living_while_pip_is_silent_and_a_stopped_process_has_ended(application, tmp_path):
    import slicer.util

    from context_propagation.gui.packages.slicer_processes import SlicerProcesses
    from context_propagation.gui.work.timer import Timer

    processes, ticks, alive = SlicerProcesses(), itertools.count(1), tmp_path / "alive"

    def tick():
        if next(ticks) == 20:
            processes.stop()
            alive.touch()

    timer = Timer(5, tick)
    timer.start()
    with processes.watched(CONTEXT_PROPAGATION_TEST="1"):
        process = slicer.util.launchConsoleProcess(
            [sys.executable, "-c", SILENT_UNTIL, str(alive)], useStartupEnvironment=False
        )
        with pytest.raises(subprocess.CalledProcessError):
            slicer.util.logProcessOutput(process)
    timer.close()

    assert process.poll() is not None
    assert "CONTEXT_PROPAGATION_TEST" not in os.environ
    process_events()
