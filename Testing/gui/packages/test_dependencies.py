"""Finding, installing and removing packages: the real pip, in a throw-away Python, from wheels made here."""

import os
import shutil
import subprocess
import sys
import threading
import time
import venv
import zipfile
from pathlib import Path

import pip
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.gui.packages.dependencies import DependencyInstaller
from context_propagation.gui.packages.installation_plan import (
    DICOM_REQUIREMENTS,
    MONAI_REQUIREMENTS,
    PINS,
    REQUIREMENTS,
    TORCH,
    TRAINING_REQUIREMENTS,
    plan_installation,
    read_requirements,
)
from context_propagation.gui.packages.installation_record import FILE_NAME, InstallationRecord, read_record
from context_propagation.gui.packages.slicer_packages import installed_packages
from wheels import make_wheel

ROOT = Path(__file__).parents[3]
PACKAGE_ROOT = ROOT / "SlicerContextPropagation"
PIP_RUNNER = Path(pip.__file__).parent / "__pip-runner__.py"
"""What `pip --python` starts in the other Python: started here at once, as each start costs half a second."""


def index_of(folder: Path) -> str:
    """Turn a folder of wheels into a package index; its address."""
    for wheel in sorted(folder.glob("*.whl")):
        page = folder / "simple" / wheel.name.split("-")[0].replace("_", "-") / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a", encoding="utf-8") as file:
            file.write(f'<a href="{wheel.as_uri()}">{wheel.name}</a>\n')
    return (folder / "simple").as_uri()


class ThrowAwayPython:
    """A Python with nothing in it, and this Python's pip to fill it."""

    def __init__(self, folder: Path, index: str) -> None:
        venv.create(folder, symlinks=os.name != "nt")
        scripts, python = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        self._python = folder / scripts / python
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        own = {"PIP_INDEX_URL": index, "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
        self._environment = plain | own | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self._site_packages = next(folder.rglob("site-packages"))

    def installed(self, names=None):
        return installed_packages([str(self._site_packages)], names)

    def install(self, arguments, log):
        self._pip(["install", *arguments], log)

    def uninstall(self, names, log):
        self._pip(["uninstall", "--yes", *names], log)

    def wait_until(self, done):
        while not done():
            time.sleep(0.01)

    def stop(self):
        raise NotImplementedError("test_downloads has what stops")

    def bring(self, *wheels):
        """Unpack wheels, in the place of other versions: what is there before the module comes."""
        for wheel in wheels:
            for old in self._site_packages.glob(f"{wheel.name.split('-')[0]}-*.dist-info"):
                shutil.rmtree(old)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(self._site_packages)

    def versions(self):
        return {name: package.version for name, package in self.installed().items()}

    def _pip(self, arguments, log):
        command = [str(self._python), str(PIP_RUNNER), *arguments]
        done = subprocess.run(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        for line in done.stdout.splitlines():
            log(line)
        done.check_returncode()


class TorchFromWheel:
    """Installs a build of torch of its own, as the PyTorch extension would."""

    def __init__(self, python: ThrowAwayPython, wheel: Path) -> None:
        self.asked: list[str] = []
        self._python = python
        self._wheel = wheel

    def install(self, specifier, log):
        self.asked.append(specifier)
        self._python.bring(self._wheel)


class NoPyTorchExtension:
    def install(self, specifier, log):
        raise UserInputError("The PyTorch extension is not installed")


class PyTorchThatGivesUp:
    def install(self, specifier, log):
        log("nothing for this computer")


@pytest.fixture
def wheels(tmp_path):
    """What a hospital's folder would hold; the newest versions are newer than the pinned ones."""
    folder = tmp_path / "hospital wheels"
    make_wheel(folder, "nnunetv2", "2.8.1", "torch>=2.1", "numpy>=1.24", "batchgenerators>=0.25", "helper")
    make_wheel(folder, "nnunetv2", "2.99", "torch>=2.1", "numpy>=1.24", "batchgenerators>=0.25", "helper")
    make_wheel(folder, "batchgenerators", "0.25.5")
    make_wheel(folder, "batchgenerators", "0.26")
    make_wheel(folder, "helper", "1.0")
    make_wheel(folder, "numpy", "2.9")
    make_wheel(folder, "psutil", "7.2.2")
    make_wheel(folder, "safetensors", "0.8.0")
    make_wheel(folder, "torch", "2.13.0", "numpy")
    return folder


@pytest.fixture
def python(tmp_path, wheels):
    return ThrowAwayPython(tmp_path / "python", index_of(wheels))


@pytest.fixture
def torch_installer(tmp_path, python):
    return TorchFromWheel(python, make_wheel(tmp_path / "build for this computer", "torch", "2.10.0+cu126"))


@pytest.fixture
def installer(tmp_path, python, torch_installer):
    return DependencyInstaller(python, torch_installer, tmp_path / "settings")


def test_in_an_empty_python_everything_is_missing(installer):
    assert [str(m) for m in installer.missing()] == [
        "torch!=2.9.*,>=2.4 (not installed)",
        "nnunetv2>=2.5 (not installed)",
        "psutil>=5.9 (not installed)",
        "safetensors>=0.4 (not installed)",
    ]


def test_a_version_that_is_too_old_is_missing(tmp_path, python, installer):
    python.bring(make_wheel(tmp_path / "old", "nnunetv2", "2.2"), make_wheel(tmp_path / "old", "torch", "2.9.1+cpu"))

    assert [(m.requirement.name, m.installed) for m in installer.missing()][:2] == [
        ("torch", "2.9.1+cpu"),
        ("nnunetv2", "2.2"),
    ]


def test_a_development_version_in_the_range_is_not_missing(tmp_path, python, installer):
    python.bring(make_wheel(tmp_path / "old", "nnunetv2", "2.7.dev3"))

    assert "nnunetv2" not in [m.requirement.name for m in installer.missing()]


def test_monai_is_missing_only_where_it_is_asked_for(installer):
    names = {m.requirement.name for m in installer.missing(MONAI_REQUIREMENTS)}

    assert names == {"torch", "monai", "pyyaml"}


def test_what_needs_a_newer_pydicom_than_slicer_s_is_not_asked_for(tmp_path, python, installer):
    asked = {}
    for version in ("2.4.4", "3.0.1"):
        python.bring(make_wheel(tmp_path / version, "pydicom", version))
        asked[version] = {m.requirement.name for m in installer.missing(MONAI_REQUIREMENTS, DICOM_REQUIREMENTS)}

    assert asked["2.4.4"] == {"torch", "monai", "pyyaml"}
    assert asked["3.0.1"] == {"torch", "monai", "pyyaml", "highdicom"}


def test_torch_comes_first_and_through_the_pytorch_extension(installer):
    plan = plan_installation(installer.missing())

    assert [(s.title, s.through_pytorch_extension) for s in plan.steps] == [
        ("PyTorch", True),
        ("nnunetv2, psutil, safetensors", False),
    ]


def test_a_folder_of_wheels_replaces_the_pytorch_extension_too(installer, wheels):
    plan = plan_installation(installer.missing(), wheels)

    assert [s.through_pytorch_extension for s in plan.steps] == [False, False]


def test_nothing_is_planned_where_nothing_is_missing():
    assert plan_installation(()).steps == ()


@pytest.mark.long
def test_installing_takes_the_pinned_versions_from_the_index(installer, python, torch_installer):
    done = installer.install(plan_installation(installer.missing()))

    assert torch_installer.asked == ["!=2.9.*,>=2.4"]
    assert installer.missing() == ()
    assert python.versions() == done.added
    assert (done.added["nnunetv2"], done.added["batchgenerators"]) == ("2.8.1", "0.25.5")
    assert done.changed == {}


@pytest.mark.long
def test_nnunet_brings_no_other_torch(installer, python):
    installer.install(plan_installation(installer.missing()))

    assert python.versions()["torch"] == "2.10.0+cu126"


@pytest.mark.long
def test_what_slicer_brought_is_kept(tmp_path, installer, python, wheels):
    python.bring(make_wheel(tmp_path / "slicer", "numpy", "2.4.dev1+slicer"))

    done = installer.install(plan_installation(installer.missing(), wheels))

    assert python.versions()["numpy"] == "2.4.dev1+slicer"
    assert "numpy" not in done.added


@pytest.mark.long
def test_a_package_in_the_range_is_left_as_it_is(tmp_path, installer, python):
    python.bring(make_wheel(tmp_path / "other extension", "nnunetv2", "2.6"))

    done = installer.install(plan_installation(installer.missing()))

    assert python.versions()["nnunetv2"] == "2.6"
    assert set(done.added) == {"torch", "psutil", "safetensors"}


@pytest.mark.long
def test_a_package_that_is_too_old_is_replaced_and_said_to_be(tmp_path, installer, python):
    python.bring(make_wheel(tmp_path / "other extension", "nnunetv2", "2.2"))

    done = installer.install(plan_installation(installer.missing()))

    assert python.versions()["nnunetv2"] == "2.8.1"
    assert done.changed == {"nnunetv2": "2.2"}


@pytest.mark.long
def test_without_a_network_everything_comes_from_the_folder_but_what_slicer_brought(tmp_path, wheels):
    python = ThrowAwayPython(tmp_path / "python", "http://127.0.0.1:9/simple")
    python.bring(make_wheel(tmp_path / "slicer", "numpy", "2.4.dev1+slicer"))
    installer = DependencyInstaller(python, NoPyTorchExtension(), tmp_path / "settings")

    done = installer.install(plan_installation(installer.missing(), wheels))

    assert installer.missing() == ()
    assert python.versions()["torch"] == "2.13.0"
    assert python.versions()["numpy"] == "2.4.dev1+slicer"
    assert "numpy" not in done.added


@pytest.mark.long
def test_progress_names_the_step_and_passes_on_what_pip_prints(installer, wheels):
    seen = []

    installer.install(plan_installation(installer.missing(), wheels), seen.append)

    assert (seen[0].step, seen[0].steps, seen[0].title, seen[0].line) == (1, 2, "PyTorch", "")
    assert (seen[-1].step, seen[-1].title) == (2, "nnunetv2, psutil, safetensors")
    assert any("Successfully installed" in progress.line for progress in seen)


def test_undoing_removes_the_pinned_versions_that_were_installed_and_nothing_else(
    tmp_path, installer, python, torch_installer
):
    python.bring(make_wheel(tmp_path / "slicer", "numpy", "2.4"), make_wheel(tmp_path / "slicer", "helper", "1.0"))
    before = python.versions()
    done = installer.install(plan_installation(installer.missing()))
    assert torch_installer.asked == ["!=2.9.*,>=2.4"]
    assert python.versions() == before | done.added
    assert (done.added["nnunetv2"], done.added["batchgenerators"]) == ("2.8.1", "0.25.5")
    assert done.changed == {}

    undone = installer.uninstall()

    assert python.versions() == before
    assert undone.removed == ("batchgenerators", "nnunetv2", "psutil", "safetensors", "torch")
    assert undone.left == {}
    assert installer.uninstall().removed == ()


@pytest.mark.long
def test_undoing_works_in_a_later_session_and_over_several_installations(tmp_path, installer, python, wheels):
    make_wheel(wheels, "monai", "1.6.1")
    make_wheel(wheels, "pyyaml", "6.0.3")
    installer.install(plan_installation(installer.missing(), wheels))
    installer.install(plan_installation(installer.missing(MONAI_REQUIREMENTS), wheels))

    later = DependencyInstaller(python, NoPyTorchExtension(), tmp_path / "settings")
    undone = later.uninstall()

    assert {"monai", "pyyaml", "torch", "nnunetv2"} <= set(undone.removed)
    assert python.versions() == {}


@pytest.mark.long
def test_undoing_leaves_what_others_need_or_have_replaced(tmp_path, installer, python):
    installer.install(plan_installation(installer.missing()))
    others = tmp_path / "other extension"
    python.bring(make_wheel(others, "segmenter", "1.0", "torch>=2"), make_wheel(others, "psutil", "8.0"))

    undone = installer.uninstall()

    assert undone.left == {"psutil": "it is 8.0 by now, not 7.2.2", "torch": "segmenter needs it"}
    assert set(python.versions()) == {"psutil", "torch", "segmenter"}


@pytest.mark.long
def test_undoing_does_not_remove_a_package_that_was_there_in_an_older_version(tmp_path, installer, python):
    python.bring(make_wheel(tmp_path / "other extension", "nnunetv2", "2.2"))
    installer.install(plan_installation(installer.missing()))

    undone = installer.uninstall()

    assert python.versions()["nnunetv2"] == "2.8.1"
    assert undone.left["helper"] == "nnunetv2 needs it"


@pytest.mark.long
def test_a_wheel_that_the_folder_lacks_is_named_and_what_came_before_can_be_undone(installer, python, wheels):
    (wheels / "helper-1.0-py3-none-any.whl").unlink()
    with pytest.raises(UserInputError, match="the folder '.*hospital wheels' has no wheel of 'helper'.*add it"):
        installer.install(plan_installation(installer.missing(), wheels))
    assert set(python.versions()) == {"torch", "numpy"}

    installer.uninstall()

    assert python.versions() == {}


def test_a_folder_without_wheels_is_refused_before_anything_is_installed(tmp_path):
    with pytest.raises(UserInputError, match="holds no wheel"):
        plan_installation((), tmp_path)
    with pytest.raises(UserInputError, match="holds no wheel"):
        plan_installation((), tmp_path / "missing")


def test_a_conflict_with_what_is_kept_names_both_sides_and_changes_nothing(tmp_path, installer, python, wheels):
    python.bring(make_wheel(tmp_path / "slicer", "numpy", "1.20"))
    before = python.versions()

    with pytest.raises(UserInputError, match=r"nnunetv2 [\d.]+ depends on numpy>=1\.24.*numpy==1\.20"):
        installer.install(plan_installation(installer.missing()[1:], wheels))

    assert python.versions() == before


def test_without_a_network_the_user_is_told_of_the_wheel_folder(tmp_path, torch_installer):
    python = ThrowAwayPython(tmp_path / "offline", "http://127.0.0.1:9/simple")
    installer = DependencyInstaller(python, torch_installer, tmp_path / "settings")

    with pytest.raises(UserInputError, match="cannot be reached.*folder of wheels"):
        installer.install(plan_installation(installer.missing()[1:]))


def test_without_the_pytorch_extension_nothing_is_installed(tmp_path, python):
    installer = DependencyInstaller(python, NoPyTorchExtension(), tmp_path / "settings")

    with pytest.raises(UserInputError, match="PyTorch extension is not installed"):
        installer.install(plan_installation(installer.missing()))

    assert python.versions() == {}


def test_an_installation_that_ends_without_the_package_is_an_error(tmp_path, python):
    installer = DependencyInstaller(python, PyTorchThatGivesUp(), tmp_path / "settings")

    with pytest.raises(UserInputError, match=r"ended without torch.*\(not installed\)"):
        installer.install(plan_installation(installer.missing()))


def test_other_threads_are_refused(installer):
    errors = []

    def work():
        for call in (lambda: installer.install(plan_installation(())), installer.uninstall):
            with pytest.raises(RuntimeError, match="main thread") as caught:
                call()
            errors.append(caught.value)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 2


def test_a_settings_folder_that_cannot_be_written_stops_before_anything_is_installed(tmp_path, python, torch_installer):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    installer = DependencyInstaller(python, torch_installer, blocked)

    with pytest.raises(UserInputError, match="list of installed packages"):
        installer.install(plan_installation(installer.missing()))

    assert python.versions() == {}


def test_a_broken_list_of_installed_packages_is_named(tmp_path):
    (tmp_path / FILE_NAME).write_text("[]")

    with pytest.raises(UserInputError, match=FILE_NAME):
        read_record(tmp_path)


def test_a_package_that_was_replaced_by_others_does_not_become_ours():
    first = InstallationRecord(added={"a": "1", "b": "1"})
    versions = {"a": "2", "b": "2", "c": "1", "d": "2"}

    both = first.then(InstallationRecord(added={"c": "1"}, changed={"b": "1", "d": "1"}), versions)

    assert both == InstallationRecord(added={"a": "1", "b": "2", "c": "1"}, changed={"d": "1"})


def test_the_required_ranges_are_those_of_the_pip_package():
    declared = (ROOT / "pyproject.toml").read_text("utf-8")

    files = (REQUIREMENTS, MONAI_REQUIREMENTS, TRAINING_REQUIREMENTS, DICOM_REQUIREMENTS)
    for requirement in (requirement for file in files for requirement in read_requirements(file)):
        assert f'"{requirement}"' in declared
    assert '"torch>=2.4"' in declared
    assert ">=2.4" in str(TORCH)


def test_what_a_training_imports_is_listed():
    from context_propagation.evaluation.validated_bundle import NEEDED

    files = (REQUIREMENTS, MONAI_REQUIREMENTS, TRAINING_REQUIREMENTS)
    listed = {requirement.name for file in files for requirement in read_requirements(file)}
    imported = {module.partition(".")[0] for modules in NEEDED.values() for module in modules}

    assert imported - listed == {"batchgeneratorsv2", "scipy"}  # nnU-Net's own, and Slicer's


def test_every_required_package_is_pinned_to_the_version_that_the_tests_run_with():
    tested = {r.name: str(r.specifier) for r in read_requirements(ROOT / "constraints.txt")}
    pins = {r.name: str(r.specifier) for r in read_requirements(PINS)}

    assert pins.items() <= tested.items()
    required = [r for file in (REQUIREMENTS, MONAI_REQUIREMENTS, DICOM_REQUIREMENTS) for r in read_requirements(file)]
    assert {r.name.lower() for r in required} <= {name.lower() for name in pins}


def test_importing_the_installer_imports_neither_torch_nor_slicer():
    heavy = "{'torch', 'slicer', 'numpy'} & set(sys.modules)"
    code = f"import sys, context_propagation.gui.packages.slicer_packages; sys.exit(bool({heavy}))"

    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, check=False).returncode == 0
