"""The Python packages that the module needs: what is missing, installing it, removing it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.gui.packages.dependencies import DependencyInstaller, StepProgress
from context_propagation.gui.packages.installation_plan import (
    DICOM_REQUIREMENTS,
    MONAI_REQUIREMENTS,
    REQUIREMENTS,
    TORCH,
    MissingPackage,
    plan_installation,
    read_requirements,
)
from context_propagation.gui.packages.pip_progress import PipProgress
from context_propagation.gui.packages.slicer_packages import PyTorchExtension, SlicerPackages, imported
from context_propagation.gui.packages.slicer_processes import SlicerProcesses
from context_propagation.gui.texts import breakable
from context_propagation.gui.work.messages import confirmed, show_error, trusted
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible


def application_installer() -> DependencyInstaller:
    """The one that uses Slicer's pip and the PyTorch extension, and remembers beside this Slicer's own settings, which
    other versions may keep in the same folder under other names.
    """
    settings = qt.QFileInfo(slicer.app.slicerRevisionUserSettingsFilePath)
    folder = Path(settings.absolutePath()) / f"{settings.completeBaseName()}-ContextPropagation"
    processes = SlicerProcesses()
    return DependencyInstaller(SlicerPackages.of_application(processes), PyTorchExtension(processes), folder)


class PackageSection:
    """A label, a folder, buttons and a bar. Nothing is downloaded before the user agrees.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        on_changed: Called after something was installed or removed.
        installer_of: Makes the installer; looked up only when packages are.
        is_needed: Whether models run on this computer.
    """

    def __init__(
        self,
        ui: Any,
        shared: Shared,
        on_changed: Callable[[], None],
        installer_of: Callable[[], DependencyInstaller] = application_installer,
        is_needed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ui, self._shared, self._on_changed, self._installer_of = ui, shared, on_changed, installer_of
        self._is_needed = is_needed
        self._missing: tuple[MissingPackage, ...] | None = None
        self._shown = False
        self._running: DependencyInstaller | None = None
        self._pip, self._step = PipProgress(), 0
        ui.installButton.connect("clicked()", self.install)
        ui.stopInstallButton.connect("clicked()", self.stop)
        ui.uninstallButton.connect("clicked()", self.uninstall)
        ui.wheelFolder.filters = ctk.ctkPathLineEdit.Dirs  # else it browses for a file

    @property
    def missing(self) -> tuple[MissingPackage, ...]:
        """What is missing; found once, and again after an installation."""
        if self._missing is None:
            self._missing = self._installer_of().missing(REQUIREMENTS, MONAI_REQUIREMENTS, DICOM_REQUIREMENTS)
        return self._missing

    def prevents_running(self) -> bool:
        """Whether something is missing without which no model runs here; measuring needs more."""
        try:
            return self._is_needed() and any(package.requirement.name in _needed_names() for package in self.missing)
        except UserInputError:
            return True

    def update(self) -> None:
        """Bring the widgets in step."""
        running = self._running is not None
        set_visible(running, self._ui.installProgress, self._ui.stopInstallButton)
        if running:
            return
        idle = not self._shared.runner.busy
        self._ui.uninstallButton.enabled = idle
        try:
            missing = self.missing
        except UserInputError as error:
            self._ui.packagesLabel.text = breakable(str(error))
            self._ui.installButton.enabled = False
            return
        listed = "\n".join(str(package) for package in missing)
        here, there = _("Needed and missing:"), _("Not needed while a server computes; missing for this computer:")
        needed = f"{here if self._is_needed() else there}\n{listed}"
        self._ui.packagesLabel.text = needed if missing else _("All that is needed is installed.")
        self._ui.installButton.enabled = idle and bool(missing)
        if missing and self._is_needed() and not self._shown:
            self._shown = True
            self._ui.installSection.collapsed = False

    def install(self) -> None:
        """Ask, then install what is missing, showing each step."""
        if self.missing:
            self._install(self.missing)

    def install_for(self, requirements: Path) -> bool:
        """Install, once the user agrees, what a file of requirements names beside what the module needs.

        Returns:
            Whether all of it is there.

        Raises:
            UserInputError: Something runs, or a list of packages cannot be read.
        """
        files = (REQUIREMENTS, MONAI_REQUIREMENTS, requirements)
        if missing := self._installer_of().missing(*files):
            self._shared.runner.require_idle()
            self._ui.installSection.collapsed = False
            self._install(missing)
        return not missing or not self._installer_of().missing(*files)

    def _install(self, missing: Sequence[MissingPackage]) -> None:
        folder = Path(self._ui.wheelFolder.currentPath) if self._ui.wheelFolder.currentPath else None
        source = _("from '{folder}'").format(folder=folder) if folder else _("from the network")
        listed = "\n".join(str(package) for package in missing)
        question = _("These packages will be installed into Slicer's Python {source}:\n\n{listed}\n\nInstall them?")
        try:
            plan = plan_installation(missing, folder)
            if not confirmed(question.format(source=source, listed=listed)):
                return
            done = self._run(lambda installer: installer.install(plan, self._show_step))
        except UserInputError as error:
            show_error(error)
        except Cancelled:
            slicer.util.infoDisplay(_("Cancelled. What was installed before stays; Remove... takes it away again."))
        else:
            self._offer_restart(done.changed)

    def uninstall(self) -> None:
        """Ask, then remove what this module installed."""
        question = _(
            "Remove the packages that this module installed? If PyTorch is among them, other extensions may miss it."
        )
        if not confirmed(question):
            return
        try:
            undone = self._run(lambda installer: installer.uninstall())
        except UserInputError as error:
            show_error(error)
            return
        left = [f"{name}: {reason}" for name, reason in undone.left.items()]
        removed = ", ".join(undone.removed) or _("nothing")
        slicer.util.infoDisplay("\n".join([_("Removed: {names}").format(names=removed), *left]))

    def stop(self) -> None:
        """Cancel the installation; pip ends before it does anything else, and leaves nothing half done."""
        if self._running is not None:
            self._ui.stopInstallButton.enabled = False
            self._running.stop()

    def _run(self, act: Callable[[DependencyInstaller], Any]) -> Any:
        self._running = installer = self._installer_of()
        self._pip, self._step = PipProgress(), 0
        self._ui.installButton.enabled = self._ui.uninstallButton.enabled = False
        self._ui.stopInstallButton.enabled = True
        self._show_fraction(None)
        self.update()
        try:
            return act(installer)
        finally:
            self._running, self._missing = None, None
            self._on_changed()

    def _show_step(self, step: StepProgress) -> None:
        if step.step != self._step:
            self._pip, self._step = PipProgress(), step.step
        self._pip.read(step.line, step.size)
        text = _("Step {step} of {steps}, {title}: {words}").format(
            step=step.step, steps=step.steps, title=step.title, words=self._pip.words or _("begins")
        )
        self._ui.packagesLabel.text = breakable(text)
        self._show_fraction(self._pip.fraction)
        slicer.app.processEvents()

    def _show_fraction(self, fraction: float | None) -> None:
        """A bar that only moves where nobody can say how much is done."""
        self._ui.installProgress.maximum = 0 if fraction is None else 100
        self._ui.installProgress.value = int(100 * (fraction or 0))

    def _offer_restart(self, changed: Iterable[str]) -> None:
        """Where Python has loaded another version of a package than is installed now."""
        names = imported(changed)
        question = _(
            "Slicer still uses parts of the earlier version of {names}. Restart Slicer now? What was not saved is lost."
        )
        if names and trusted(question.format(names=", ".join(names))):
            slicer.util.restart()


def _needed_names() -> set[str]:
    return {requirement.name for requirement in (TORCH, *read_requirements(REQUIREMENTS))}
