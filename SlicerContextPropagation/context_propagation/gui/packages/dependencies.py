"""The Python packages that the module needs beyond Slicer's: what is missing, installing it, undoing that.

Nothing happens at import, and the network is used in `DependencyInstaller.install` alone, which the user asks for.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.gui.packages.download_size import DownloadSize, addresses_in, download_size
from context_propagation.gui.packages.installation_plan import (
    PINS,
    REQUIREMENTS,
    TORCH,
    InstallationPlan,
    InstallationStep,
    MissingPackage,
    missing_packages,
    read_requirements,
)
from context_propagation.gui.packages.installation_record import InstallationRecord, read_record, write_record
from context_propagation.gui.packages.pip_errors import pip_error

KEPT = ("numpy", "pydicom", "scipy", "simpleitk", "torch", "torchaudio", "torchvision", "vtk")
"""Never replaced: Slicer has loaded them, or they were built for this computer."""


FAILURES = (ImportError, OSError, RuntimeError, subprocess.SubprocessError)
"""What Slicer and the PyTorch extension raise when an installation fails."""


Log = Callable[[str], None]


@dataclass(frozen=True)
class InstalledPackage:
    """A distribution that is installed.

    Attributes:
        version: Its version.
        requires: What it requires, as its metadata have it, for extras and other systems too.
    """

    version: str
    requires: tuple[str, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Canonical names of what it needs here; to find out takes longer than to read the metadata."""
        return frozenset(_needs(self.requires))


def _needs(requires: Iterable[str]) -> Iterator[str]:
    for line in requires:
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield canonicalize_name(requirement.name)


class Packages(Protocol):
    """The packages of one Python, and its pip. The calls block."""

    def installed(self, names: Iterable[str] | None = None) -> dict[str, InstalledPackage]:
        """These distributions, as far as they are installed, or all there are; by canonical name, read anew."""

    def install(self, arguments: Sequence[str], log: Log) -> None:
        """Run `pip install` with these arguments; raise one of `FAILURES` if it fails."""

    def uninstall(self, names: Sequence[str], log: Log) -> None:
        """Run `pip uninstall` without a question; raise one of `FAILURES` if it fails."""

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Let the application work until something is done."""

    def stop(self) -> None:
        """Let what runs, and what would still be run, end without leaving anything half done."""


class TorchInstaller(Protocol):
    """What chooses the build of torch for this computer."""

    def install(self, specifier: str, log: Log) -> None:
        """Install torch in a version such as `>=2.4`; raise UserInputError or one of `FAILURES` if it fails."""


@dataclass(frozen=True)
class StepProgress:
    """Where an installation stands.

    Attributes:
        step: Number of the step, from 1.
        steps: How many there are.
        title: The step's title.
        line: The last line that was printed, or "" at the start of the step.
        size: What this step downloads, once that is known.
    """

    step: int
    steps: int
    title: str
    line: str = ""
    size: DownloadSize | None = None


@dataclass(frozen=True)
class Uninstalled:
    """What undoing an installation did.

    Attributes:
        removed: Names of the packages that were removed.
        left: Names of those that this module installed and left, with the reason.
    """

    removed: tuple[str, ...]
    left: dict[str, str]


Progress = Callable[[StepProgress], None]


class DependencyInstaller:
    """Finds, installs and removes what the module needs. Use it on the main thread."""

    def __init__(self, packages: Packages, torch_installer: TorchInstaller, settings_folder: Path) -> None:
        """Hold the collaborators; nothing is looked up yet.

        Args:
            packages: Runs pip: Slicer's in the application.
            torch_installer: Installs torch: the PyTorch extension in the application.
            settings_folder: Where the list of what was installed is kept. It must outlive the session.
        """
        self._packages = packages
        self._torch_installer = torch_installer
        self._settings_folder = settings_folder
        self._stopped = False

    def missing(self, *files: Path) -> tuple[MissingPackage, ...]:
        """What is missing of torch and of requirement files, `REQUIREMENTS` where none is named.

        A file that needs another version of a package that is never replaced cannot be met here: it is left out.
        """
        needed = {file: read_requirements(file) for file in files or (REQUIREMENTS,)}
        versions = self._versions(r.name for r in (TORCH, *(r for file in needed.values() for r in file)))
        found = [missing_packages(requirements, versions) for requirements in needed.values()]
        usable = [of_file for of_file in found if not any(m.installed and m.requirement.name in KEPT for m in of_file)]
        return (*missing_packages((TORCH,), versions), *(m for of_file in usable for m in of_file))

    def install(self, plan: InstallationPlan, progress: Progress = lambda step: None) -> InstallationRecord:
        """Install what was planned, step by step; what earlier steps installed stays if a later one fails.

        Returns:
            What was added and changed. Where something was changed that is loaded, Slicer should be restarted.

        Raises:
            UserInputError: A step failed; the message says what to do.
            Cancelled: `stop` was called.
        """
        _refuse_other_threads()
        at_start = self._versions()
        for number, step in enumerate(plan.steps, start=1):
            start = StepProgress(number, len(plan.steps), step.title)
            progress(start)
            self._run_and_record(step, plan.wheel_folder, _Lines(start, progress))
        return InstallationRecord.between(at_start, self._versions())

    def stop(self) -> None:
        """End `install` as soon as nothing is half done: `progress` may call it."""
        self._stopped = True
        self._packages.stop()

    def uninstall(self) -> Uninstalled:
        """Remove what `install` added, and nothing else.

        A package stays if another one that is not ours needs it by now, or if someone replaced it with another version.

        Raises:
            UserInputError: pip failed; what it could not remove can be tried again.
        """
        _refuse_other_threads()
        record = read_record(self._settings_folder)
        installed = self._packages.installed()
        left = _reasons_to_leave(record.added, installed)
        names = sorted(name for name in record.added if name in installed and name not in left)
        said: list[str] = []
        try:
            if names:
                self._packages.uninstall(names, said.append)
        except FAILURES as error:
            raise pip_error(f"Removing {', '.join(names)} failed", [*said, str(error)], None) from error
        finally:
            still_there = self._versions()
            kept = {name: version for name, version in record.added.items() if name in still_there}
            write_record(self._settings_folder, InstallationRecord(kept, record.changed))
        return Uninstalled(tuple(names), left)

    def _versions(self, names: Iterable[str] | None = None) -> dict[str, str]:
        return {name: package.version for name, package in self._packages.installed(names).items()}

    def _run_and_record(self, step: InstallationStep, wheel_folder: Path | None, log: _Lines) -> None:
        record = read_record(self._settings_folder)
        write_record(self._settings_folder, record)  # a folder that cannot be written is found before anything changes
        before = self._versions()
        try:
            self._require_wanted()
            self._run(step, wheel_folder, log)
        except FAILURES as error:
            self._require_wanted()
            raise pip_error(f"Installing {step.title} failed", [*log.said, str(error)], wheel_folder) from error
        finally:
            after = self._versions()
            done = InstallationRecord.between(before, after)
            write_record(self._settings_folder, record.then(done, after))
        still_missing = missing_packages(step.requirements, after)
        if still_missing:
            names = ", ".join(str(m) for m in still_missing)
            raise UserInputError(f"Installing {step.title} ended without {names}; restart Slicer and try again")

    def _require_wanted(self) -> None:
        if self._stopped:
            raise Cancelled

    def _run(self, step: InstallationStep, wheel_folder: Path | None, log: _Lines) -> None:
        if step.through_pytorch_extension:
            self._torch_installer.install(str(step.requirements[0].specifier), log)
            return
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            lines = _constraints(step.requirements, self._versions(), pinned=wheel_folder is None)
            constraints.write_text("".join(f"{line}\n" for line in lines), "utf-8")
            source = ["--no-index", "--find-links", str(wheel_folder)] if wheel_folder else ["--prefer-binary"]
            wanted = [str(r) for r in step.requirements]
            arguments = [*wanted, *source, "--constraint", str(constraints), "--no-input"]
            if wheel_folder is None:
                log.size = self._look_up(arguments, Path(folder) / "report.json", log)
                self._require_wanted()
            self._packages.install(arguments, log)

    def _look_up(self, arguments: Sequence[str], report: Path, log: Log) -> DownloadSize:
        """What these arguments make pip download; nothing is installed by it."""
        self._packages.install([*arguments, "--dry-run", "--report", str(report)], log)
        return download_size(addresses_in(report), self._packages.wait_until)


class _Lines:
    """A log that keeps what it passes on, with the size of the download once that is known."""

    def __init__(self, start: StepProgress, progress: Progress) -> None:
        self.said: list[str] = []
        self.size: DownloadSize | None = None
        self._start, self._progress = start, progress

    def __call__(self, line: str) -> None:
        self.said.append(line)
        self._progress(replace(self._start, line=line, size=self.size))


def _refuse_other_threads() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Packages are installed and removed on the main thread alone")


def _constraints(wanted: Sequence[Requirement], versions: Mapping[str, str], pinned: bool) -> list[str]:
    """What pip may not change, and for what is not there yet the version to take."""
    replaced = {canonicalize_name(r.name) for r in wanted}
    kept = [f"{name}=={versions[name]}" for name in KEPT if name in versions and name not in replaced]
    if not pinned:
        return kept
    pins = read_requirements(PINS)
    return kept + [str(p) for p in pins if (name := canonicalize_name(p.name)) in replaced or name not in versions]


def _reasons_to_leave(added: Mapping[str, str], installed: Mapping[str, InstalledPackage]) -> dict[str, str]:
    reasons = {
        name: f"it is {installed[name].version} by now, not {version}"
        for name, version in added.items()
        if name in installed and installed[name].version != version
    }
    users = [name for name in installed if name not in added or name in reasons]
    while users:
        user = users.pop()
        needed = [n for n in installed[user].needs if n in added and n in installed and n not in reasons]
        reasons.update(dict.fromkeys(needed, f"{user} needs it"))
        users.extend(needed)
    return reasons
