"""What the panel installs and imports, and how it is set up."""

import subprocess
import sys
from pathlib import Path

from panel_user import PanelUser

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"


def test_missing_packages_are_listed_and_installed_after_a_yes(module, ct, bundle, tmp_path):
    from packaging.requirements import Requirement

    from context_propagation.gui.module.package_section import PackageSection
    from context_propagation.gui.packages.installation_plan import MissingPackage
    from context_propagation.gui.packages.installation_record import InstallationRecord

    class Installer:
        """pip itself is run in test_dependencies."""

        wanted, looked = (MissingPackage(Requirement("nnunetv2>=2.5"), None),), 0

        def missing(self, *files):
            self.looked += 1
            return self.wanted

        def install(self, plan, progress):
            self.installed = [str(r) for step in plan.steps for r in step.requirements]
            Installer.wanted = ()
            return InstallationRecord({}, {})

    user, installer = PanelUser(module, [bundle]), Installer()
    user.panel.packages = PackageSection(user.ui, user.shared, user.panel.update, lambda: installer)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.panel.update()
    assert "nnunetv2>=2.5 (not installed)" in user.ui.packagesLabel.text
    assert not user.ui.predictButton.enabled
    looked = installer.looked
    user.panel.update()
    assert installer.looked == looked  # it takes a fraction of a second

    assert "Python packages are missing" in user.ui.stateLabel.text
    module.answers = [False]
    user.click("installButton")
    assert not hasattr(installer, "installed")

    module.answers = [True]
    user.click("installButton")
    assert installer.installed == ["nnunetv2>=2.5"]
    assert "All that is needed" in user.ui.packagesLabel.text


def test_an_empty_wheel_folder_is_refused_before_anything_is_asked(module, ct, bundle, tmp_path):
    from packaging.requirements import Requirement

    from context_propagation.gui.packages.installation_plan import MissingPackage

    user = PanelUser(module, [bundle])
    user.panel.packages._missing = (MissingPackage(Requirement("nnunetv2>=2.5"), None),)
    user.ui.wheelFolder.currentPath = str(tmp_path)

    user.panel.packages.install()

    assert "holds no wheel" in module.texts("error")[0]


def test_starting_slicer_imports_nothing_heavy_and_what_panel_and_effect_need_in_small_steps(tmp_path):
    code = f"""
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path[:0] = [{str(SHIPPED)!r}, {str(Path(__file__).parents[1] / "stand_in")!r}]
from pathlib import Path
from stand_in_slicer import Application
application = Application(Path({str(tmp_path)!r}))
application.start()
application.load_module({str(SHIPPED / "ContextPropagation.py")!r})
application.finish_startup()
from as_a_user import process_events
from context_propagation.gui.work.warm_up import STEPS
print("at once:", [name for name in STEPS if "gui" in name and name in sys.modules])
process_events(until=lambda: STEPS[-1] in sys.modules, at_most=30)
print("soon:", all(name in sys.modules for name in STEPS))
heavy = [name for name in ("torch", "SimpleITK", "nnunetv2", "monai", "scipy", "pandas") if name in sys.modules]
application.stop()
print("heavy:", heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-3:] == ["at once: []", "soon: True", "heavy: []"], done.stdout + done.stderr


def test_the_wheel_folder_is_browsed_for_as_a_folder(user):
    import ctk

    assert not user.ui.wheelFolder.filters & ctk.ctkPathLineEdit.Files


def test_after_a_reload_the_panel_follows_the_drawing_at_once(module):
    opened = module.open_module("ContextPropagation")
    opened.panel.close()
    started = []
    opened.parent._own.__dict__["isEntered"] = True
    opened.enter = lambda: started.append(True)

    opened.setup()

    assert started == [True]


def test_a_panel_without_slicers_module_widget_around_it_is_set_up(module):
    """As a developer makes one in the console: its parent is a plain `qMRMLWidget`, which cannot be entered."""
    widget = sys.modules["ContextPropagation"].ContextPropagationWidget()

    assert widget.panel is not None
    widget.cleanup()
