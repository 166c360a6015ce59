"""The scripts of Testing/app run over the stand-ins, so that they are tried before they meet the application."""

import ast
import importlib
import sys
import unittest
from pathlib import Path

import pytest

pytest.importorskip("slicer")
QtCore = pytest.importorskip("PySide6.QtCore")
furnish = importlib.import_module("stand_in_suite").furnish  # before an application replaces functions of Slicer's

APP = Path(__file__).parents[1] / "app"
SHIPPED = Path(__file__).parents[2] / "SlicerContextPropagation"
SCRIPTS = sorted(file.stem for file in APP.glob("App*Test.py"))
AT_FULL_DEPTH = (
    "AppChannelsTest",
    "AppDistancesTest",
    "AppDocumentationTest",
    "AppDoubtTest",
    "AppEffectTest",
    "AppExportTest",
    "AppFirstFiveMinutesTest",
    "AppFirstStartTest",
    "AppGeometryTest",
    "AppInterruptionTest",
    "AppMainThreadTest",
    "AppMasksTest",
    "AppPanelTest",
    "AppReloadTest",
    "AppSceneTest",
    "AppTrainingTest",
)
"""Scripts that `make test-long` runs: what they look at, other tests look at in `make test`."""
NEVER_SKIPPED = ("predict", "redraw", "propagate", "apply", "undo", "save", "load")

MISSING_HERE = {
    "AppDicomTest": "Slicer's DICOM module",
    "AppInstallTest": "Slicer's own pip: nothing is installed",
}
"""Scripts that skip over the stand-ins, and what they miss."""


@pytest.fixture
def running(application, modules_as_before, tmp_path, monkeypatch):
    """The application with its modules, views, tools and files, as far as the suite needs them."""
    pytest.importorskip("nnunetv2")
    pytest.importorskip("monai")
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setenv("CONTEXT_PROPAGATION_APP_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("CONTEXT_PROPAGATION_APP_CT", "48,64,64")
    modules = [m for m in sys.modules if m.startswith(("app_", "App"))]
    for name in modules:
        monkeypatch.delitem(sys.modules, name)
    application.load_module(SHIPPED / "ContextPropagation.py")
    furnished = furnish(application)
    application.finish_startup()
    yield furnished
    furnished.close()
    importlib.import_module("context_propagation.gui.work.shared").release()


@pytest.mark.parametrize(
    "script", [pytest.param(s, marks=pytest.mark.long) if s in AT_FULL_DEPTH else s for s in SCRIPTS]
)
def test_the_script_passes_over_the_stand_ins(running, script):
    module = importlib.import_module(script)
    result = unittest.TestResult()

    in_an_event_loop(lambda: unittest.defaultTestLoader.loadTestsFromModule(module).run(result))

    broken = "\n".join(f"{test.id()}\n{trace}" for test, trace in [*result.errors, *result.failures])
    assert not broken, broken
    assert result.testsRun > 0
    assert bool(result.skipped) == (script in MISSING_HERE), result.skipped


def in_an_event_loop(run):
    """As in the application: what is deleted later, is deleted after the script has come back."""
    loop, broken = QtCore.QEventLoop(), []

    def call():
        try:
            run()
        except BaseException as error:
            broken.append(error)
        loop.quit()

    QtCore.QTimer.singleShot(0, call)
    loop.exec()
    if broken:
        raise broken[0]


def steps_of(script):
    """The names of a script's steps, as written."""
    tree = ast.parse((APP / f"{script}.py").read_text("utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "step"]
    return [ast.unparse(call.args[0]) for call in calls]


def test_at_most_a_tenth_of_the_steps_cannot_run_here_and_none_that_matters():
    steps = {script: steps_of(script) for script in SCRIPTS}
    skipped = [step for script in MISSING_HERE for step in steps[script]]

    assert len(skipped) <= sum(map(len, steps.values())) / 10
    assert not [step for step in skipped if any(word in step for word in NEVER_SKIPPED)]


def test_each_script_has_one_test_case_of_its_own_name():
    for script in SCRIPTS:
        tree = ast.parse((APP / f"{script}.py").read_text("utf-8"))
        assert [n.name for n in tree.body if isinstance(n, ast.ClassDef)] == [script]


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_is_run_by_make_and_by_ctest_and_told_in_the_readme(script):
    runner = (APP / "run_slicer.py").read_text("utf-8")
    of_module = (SHIPPED / "CMakeLists.txt").read_text("utf-8")

    assert f'"{script}"' in runner
    assert script in of_module or script == "AppInstallTest"  # it changes the Slicer that it runs in
    assert f"| `{script}` |" in (APP / "README.md").read_text("utf-8")


def test_the_readme_lists_what_cannot_run_here():
    told = (APP / "README.md").read_text("utf-8").split("## Over the stand-ins")[1]

    assert all(f"| `{script}` | {what}" in told for script, what in MISSING_HERE.items())
