"""Slicer's functions and the PyTorch extension's, whose names differ between versions, and how they are called."""

import importlib.metadata
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.gui.packages.slicer_packages import PyTorchExtension, SlicerPackages, imported, printed_lines
from context_propagation.gui.packages.slicer_processes import SlicerProcesses


def nothing(*arguments):
    pass


def test_the_installed_packages_are_those_of_this_python():
    installed = SlicerPackages(nothing, nothing, SlicerProcesses()).installed()

    assert installed["numpy"].version == importlib.metadata.version("numpy")
    assert "numpy" in installed["nnunetv2"].needs
    assert "pre-commit" not in installed["nnunetv2"].needs, "only an extra needs it"


def test_what_an_old_egg_needs_is_read_from_a_file_beside_its_metadata(tmp_path, monkeypatch):
    egg = tmp_path / "aged-1.2.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.1\nName: aged\nVersion: 1.2\n")
    (egg / "requires.txt").write_text("numpy>=1\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    aged = SlicerPackages(nothing, nothing, SlicerProcesses()).installed(["aged"])["aged"]

    assert (aged.version, aged.needs) == ("1.2", {"numpy"})


def test_what_a_failed_removal_left_behind_is_not_installed(tmp_path, monkeypatch):
    left = tmp_path / "~orch-1.0.dist-info"
    left.mkdir()
    (left / "METADATA").write_text("Metadata-Version: 2.1\nName: left_behind\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert "left-behind" not in SlicerPackages(nothing, nothing, SlicerProcesses()).installed()


@pytest.fixture
def slicer(monkeypatch):
    """An application that notes how its functions are called."""
    calls = []
    modules = {
        "slicer": ModuleType("slicer"),
        "slicer.util": ModuleType("slicer.util"),
        "slicer.packaging": ModuleType("slicer.packaging"),
    }
    for name, module in modules.items():
        module.calls = calls
        monkeypatch.setitem(sys.modules, name, module)
    modules["slicer"].util = modules["slicer.util"]
    modules["slicer"].__path__ = []
    modules["slicer.util"].launchConsoleProcess = nothing
    modules["slicer.util"].pip_install = lambda requirements: calls.append(("util", requirements))
    modules["slicer.util"].pip_uninstall = lambda requirements: calls.append(("util", requirements))
    modules["slicer.packaging"].pip_install = lambda requirements, show_progress: calls.append(("new", requirements))
    modules["slicer.packaging"].pip_uninstall = lambda requirements: calls.append(("new", requirements))
    modules["slicer.packaging"].isPipInstallInProgress = lambda: False
    return modules


def test_slicer_5_12_installs_through_its_packaging_module(slicer):
    packages = SlicerPackages.of_application(SlicerProcesses())
    packages.install(("psutil>=5.9",), nothing)
    packages.uninstall(("psutil",), nothing)

    assert slicer["slicer"].calls == [("new", ["psutil>=5.9"]), ("new", ["psutil"])]


def test_an_older_slicer_installs_through_its_util_module(slicer, monkeypatch):
    monkeypatch.delitem(sys.modules, "slicer.packaging")

    packages = SlicerPackages.of_application(SlicerProcesses())
    packages.install(("psutil>=5.9",), nothing)
    packages.uninstall(("psutil",), nothing)

    assert slicer["slicer"].calls == [("util", ["psutil>=5.9"]), ("util", ["psutil"])]


def test_an_installation_by_another_extension_is_waited_for(slicer):
    slicer["slicer.packaging"].isPipInstallInProgress = lambda: True

    with pytest.raises(UserInputError, match="Another extension is installing"):
        SlicerPackages.of_application(SlicerProcesses()).install(("psutil",), nothing)


def test_what_slicer_prints_reaches_the_log_also_when_it_fails(slicer, capsys):
    def pip_install(arguments):
        print("Collecting psutil")
        sys.stdout.write("ERROR: No match")
        raise subprocess.CalledProcessError(1, arguments)

    lines = []
    with pytest.raises(subprocess.CalledProcessError):
        SlicerPackages(pip_install, nothing, SlicerProcesses()).install(["psutil"], lines.append)

    assert lines == ["Collecting psutil", "ERROR: No match"]
    assert capsys.readouterr().out == "Collecting psutil\nERROR: No match"


def test_a_log_that_prints_does_not_call_itself(capsys):
    with printed_lines(lambda line: print(f"[{line}]")):
        print("one")

    assert capsys.readouterr().out == "one\n[one]\n"


def test_only_packages_that_python_has_loaded_need_a_restart():
    import numpy  # noqa: F401

    assert imported(["numpy", "no-such-package"]) == ["numpy"]


def logic_of(signature):
    """A PyTorchUtilsLogic whose installTorch has this signature and prints what it was given."""
    namespace = {}
    exec(f"def install(self{signature}):\n    print({{n: v for n, v in locals().items() if n != 'self'}})", namespace)
    return type("PyTorchUtilsLogic", (), {"installTorch": namespace["install"]})


@pytest.mark.parametrize(
    ("signature", "given"),
    [
        ("", {}),
        (", confirm=True", {"confirm": False}),
        (
            ", askConfirmation=True, forceComputationBackend=None, torchVersionRequirement=None",
            {"askConfirmation": False, "forceComputationBackend": None, "torchVersionRequirement": ">=2.4"},
        ),
        (
            ", *, ask_confirmation=True, torch_version_requirement=''",
            {"ask_confirmation": False, "torch_version_requirement": ">=2.4"},
        ),
    ],
)
def test_the_pytorch_extension_of_any_year_is_called_by_its_own_names(slicer, monkeypatch, signature, given):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=logic_of(signature)))
    lines = []

    PyTorchExtension(SlicerProcesses()).install(">=2.4", lines.append)

    assert lines == [str(given)]


def test_without_the_pytorch_extension_the_user_is_sent_to_the_extensions_manager(monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)

    with pytest.raises(UserInputError, match="Extensions Manager"):
        PyTorchExtension(SlicerProcesses()).install(">=2.4", nothing)
