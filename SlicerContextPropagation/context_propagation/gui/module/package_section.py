"""The Python packages that the module needs: what is missing, installing it, removing it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.packages.dependencies import DependencyInstaller, StepProgress
from context_propagation.gui.packages.installation_plan import (
    MONAI_REQUIREMENTS,
    REQUIREMENTS,
    MissingPackage,
    plan_installation,
)
from context_propagation.gui.packages.slicer_packages import PyTorchExtension, SlicerPackages
from context_propagation.gui.work.messages import confirmed, show_error
from context_propagation.gui.work.shared import Shared


def application_installer() -> DependencyInstaller:
    """The one that uses Slicer's pip and the PyTorch extension, and remembers beside this Slicer's own settings, which
    other versions may keep in the same folder under other names.
    """
    settings = qt.QFileInfo(slicer.app.slicerRevisionUserSettingsFilePath)
    folder = Path(settings.absolutePath()) / f"{settings.completeBaseName()}-ContextPropagation"
    return DependencyInstaller(SlicerPackages.of_application(), PyTorchExtension(), folder)


class PackageSection:
    """A label, a folder and two buttons. Nothing is downloaded before the user agrees.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        inputs: What is chosen.
        installer_of: Makes the installer; looked up only when packages are.
    """

    def __init__(
        self,
        ui: Any,
        shared: Shared,
        inputs: InputSection,
        installer_of: Callable[[], DependencyInstaller] = application_installer,
    ) -> None:
        self._ui, self._shared, self._inputs, self._installer_of = ui, shared, inputs, installer_of
        self._missing: tuple[MissingPackage, ...] | None = None
        self._prevents: bool | None = None
        self._shown = False
        self._installing = self._offered = False
        ui.installButton.connect("clicked()", self.install)
        ui.uninstallButton.connect("clicked()", self.uninstall)
        ui.wheelFolder.filters = ctk.ctkPathLineEdit.Dirs  # else it browses for a file

    @property
    def missing(self) -> tuple[MissingPackage, ...]:
        """What is missing; found once, and again after an installation."""
        if self._missing is None:
            self._missing = self._installer_of().missing(REQUIREMENTS, MONAI_REQUIREMENTS)
        return self._missing

    def prevents_running(self) -> bool:
        """Whether something is missing without which no model runs; measuring needs more. Looked up once, as it takes
        a fraction of a second.
        """
        if self._prevents is None:
            try:
                self._prevents = bool(self._installer_of().missing(REQUIREMENTS)) if self.missing else False
            except UserInputError:
                self._prevents = True
        return self._prevents

    def offer(self) -> None:
        """At first use: say what is missing, and install it if the user wants to."""
        if not self._offered and self._can_be_read() and self.missing:
            self._offered = True
            self.install()

    def _can_be_read(self) -> bool:
        """Whether the installed packages can be looked up; `update` shows why not."""
        try:
            return self.missing is not None
        except UserInputError:
            return False

    def update(self) -> None:
        """Bring the widgets in step."""
        idle = not self._shared.runner.busy and not self._installing
        try:
            missing = self.missing
        except UserInputError as error:
            self._ui.packagesLabel.text = str(error)
            return
        listed = "\n".join(str(package) for package in missing)
        needed = _("Needed and missing:") + f"\n{listed}"
        self._ui.packagesLabel.text = needed if missing else _("All that is needed is installed.")
        self._ui.installButton.enabled = idle and bool(missing)
        self._ui.uninstallButton.enabled = idle
        if missing and not self._shown:
            self._shown = True
            self._ui.installSection.collapsed = False

    def install(self) -> None:
        """Ask, then install what is missing, showing each step."""
        if not self.missing:
            return
        folder = Path(self._ui.wheelFolder.currentPath) if self._ui.wheelFolder.currentPath else None
        source = _("from '{folder}'").format(folder=folder) if folder else _("from the network")
        listed = "\n".join(str(package) for package in self.missing)
        question = _("These packages are installed into Slicer's Python {source}:\n\n{listed}\n\nInstall them?")
        try:
            plan = plan_installation(self.missing, folder)
            if not confirmed(question.format(source=source, listed=listed)):
                return
            self._run(lambda: self._installer_of().install(plan, self._show_step))
        except UserInputError as error:
            show_error(error)

    def uninstall(self) -> None:
        """Ask, then remove what this module installed."""
        question = _(
            "Remove the packages that this module installed? If PyTorch is among them, other extensions may miss it."
        )
        if not confirmed(question):
            return
        try:
            undone = self._run(lambda: self._installer_of().uninstall())
        except UserInputError as error:
            show_error(error)
            return
        left = [f"{name}: {reason}" for name, reason in undone.left.items()]
        removed = ", ".join(undone.removed) or _("nothing")
        slicer.util.infoDisplay("\n".join([_("Removed: {names}").format(names=removed), *left]))

    def _run(self, act: Callable[[], Any]) -> Any:
        self._installing = True
        self._ui.installButton.enabled = self._ui.uninstallButton.enabled = False
        try:
            return act()
        finally:
            self._installing, self._missing, self._prevents = False, None, None
            self.update()
            self._inputs.update()

    def _show_step(self, step: StepProgress) -> None:
        self._ui.packagesLabel.text = _("Step {step} of {steps}, {title}: {line}").format(
            step=step.step, steps=step.steps, title=step.title, line=step.line[:120]
        )
        slicer.app.processEvents()
