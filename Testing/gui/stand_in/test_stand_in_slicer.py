"""The stand-in for the application: messages, modules, views, and the list of the classes that it stands in for."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "SlicerContextPropagation"
API = json.loads(Path(__file__).with_name("slicer_api.json").read_text("utf-8"))
SLICER_CLASS = re.compile(r"\b(?:qMRML|qSlicer|ctk)[A-Z]\w+")


@pytest.fixture
def slicer(application):
    import slicer

    return slicer


def add_volume(application, name="CT"):
    return application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_a_question_takes_the_users_answer(application, slicer):
    application.answers = [True, False]

    assert slicer.util.confirmYesNoDisplay("Convert?")
    assert not slicer.util.confirmOkCancelDisplay("Install?")
    assert application.texts("question") == ["Convert?", "Install?"]


def test_a_question_without_an_answer_fails(slicer):
    with pytest.raises(AssertionError, match="the user is asked 'Convert"):
        slicer.util.confirmYesNoDisplay("Convert?")


def test_messages_are_kept(application, slicer):
    slicer.util.errorDisplay("Out of memory", detailedText="on CUDA")
    slicer.util.warningDisplay("Slow")
    slicer.util.infoDisplay("Done")
    with pytest.raises(ValueError, match="bad"), slicer.util.tryWithErrorDisplay("Failed."):
        raise ValueError("bad")

    assert [m.kind for m in application.messages] == ["error", "warning", "information", "error"]
    assert application.texts("error") == ["Out of memory", "Failed.\n\nbad"]


def test_slice_views_show_what_they_are_told(application, slicer):
    volume = add_volume(application)

    slicer.util.setSliceViewerLayers(background=volume)

    layout = slicer.app.layoutManager()
    shown = [layout.sliceWidget(n).mrmlSliceCompositeNode().GetBackgroundVolumeID() for n in layout.sliceViewNames()]
    assert shown == [volume.GetID()] * 3


def test_a_module_is_loaded_and_opened(application, slicer, tmp_path):
    (tmp_path / "Demo.py").write_text(
        "from slicer.ScriptedLoadableModule import *\n"
        "import qt, slicer\n"
        "class Demo(ScriptedLoadableModule):\n"
        "    def __init__(self, parent):\n"
        "        super().__init__(parent)\n"
        "        self.parent.title = 'A demo'\n"
        "        slicer.app.connect('startupCompleted()', lambda: setattr(self, 'started', True))\n"
        "class DemoWidget(ScriptedLoadableModuleWidget):\n"
        "    def setup(self):\n"
        "        super().setup()\n"
        "        self.layout.addWidget(qt.QLabel('hello'))\n",
        "utf-8",
    )

    module = application.load_module(tmp_path / "Demo.py")
    application.finish_startup()
    widget = application.open_module("Demo")

    assert module.parent.title == "A demo"
    assert module.started
    assert widget.resourcePath("UI/Demo.ui") == str(tmp_path / "Resources/UI/Demo.ui")
    assert "hello" in [child.text for child in slicer.util.findChildren(widget.parent, className="QLabel")]


def test_a_loaded_module_is_found_as_slicer_scripts_find_it(application, slicer, tmp_path):
    (tmp_path / "Demo.py").write_text(
        "from slicer.i18n import tr as _\n"
        "from slicer.ScriptedLoadableModule import *\n"
        "import SampleData\n"
        "class Demo(ScriptedLoadableModule):\n"
        "    def __init__(self, parent):\n"
        "        super().__init__(parent)\n"
        "        SampleData.SampleDataLogic.registerCustomSampleDataSource('Demos', _('Phantom'), [], [])\n"
        "class DemoWidget(ScriptedLoadableModuleWidget):\n"
        "    pass\n",
        "utf-8",
    )
    application.load_module(tmp_path / "Demo.py")
    widget = application.open_module("Demo")
    slicer.util.selectModule("Demo")

    assert slicer.util.modulePath("Demo") == str(tmp_path / "Demo.py")
    assert slicer.modules.demo.widgetRepresentation().self() is slicer.modules.DemoWidget is widget
    assert [source.sampleName for source in slicer.modules.sampleDataSources["Demos"]] == ["Phantom"]
    assert application.selected_module == "Demo"


def test_what_changes_the_installation_is_only_kept(application, slicer):
    slicer.util.pip_install("nnunetv2")
    slicer.util.pip_uninstall("acvl_utils")
    slicer.util.showStatusMessage("Installing…")

    assert (application.installed, application.uninstalled) == (["nnunetv2"], ["acvl_utils"])
    assert application.status == "Installing…"


def shipped_class_names():
    names = {}
    for path in [*SHIPPED.rglob("*.ui"), *(SHIPPED / "context_propagation/gui").rglob("*.py"), *SHIPPED.glob("*.py")]:
        text = path.read_text("utf-8")
        if path.suffix == ".py":
            nodes = list(ast.walk(ast.parse(text)))
            words = [n.attr for n in nodes if isinstance(n, ast.Attribute)]
            words += [a.name for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names]
            text = " ".join(words)
        names.update(dict.fromkeys(SLICER_CLASS.findall(text), path.name))
    return names


def test_every_slicer_class_that_ships_is_described():
    assert {n: where for n, where in shipped_class_names().items() if n not in API["classes"]} == {}


def test_the_description_says_where_it_is_from_and_has_the_base_classes():
    described = API["classes"]
    bases = {b for c in described.values() for b in c["inherits"] if b.startswith(("qMRML", "ctk"))}

    assert API["source"] == "Slicer 5.12.3 and CTK headers"
    assert bases - set(described) == {"ctkLayoutFactory"}  # has no header in the list
