"""Files of Qt Designer and parameter nodes: both are held to what Slicer has."""

import enum

import pytest

from as_a_user import click

UI = """<ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel">
 <layout class="QVBoxLayout" name="rows">
  <property name="leftMargin"><number>0</number></property>
  <item><widget class="ctkCollapsibleButton" name="inputs">
   <property name="text"><string>Inputs</string></property>
   <property name="collapsed"><bool>false</bool></property>
   <layout class="QFormLayout" name="form">
    <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="volume">
     <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
     <property name="noneEnabled"><bool>true</bool></property>
     <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
    </widget></item>
   </layout>
  </widget></item>
  <item><widget class="QCheckBox" name="preview">
   <property name="text"><string>Preview</string></property>
   <property name="SlicerParameterName" stdset="0"><string>preview</string></property>
  </widget></item>
  <item><widget class="ctkSliderWidget" name="margin">
   <property name="maximum"><double>50.0</double></property>
   <property name="SlicerParameterName" stdset="0"><string>margin_mm</string></property>
  </widget></item>
 </layout>
</widget>
<customwidgets><customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>q.h</header>
<container>1</container></customwidget></customwidgets>
<connections><connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>volume</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>
</ui>"""


@pytest.fixture
def slicer(application):
    import slicer

    return slicer


@pytest.fixture
def load_ui(slicer, tmp_path):
    def load(text=UI):
        path = tmp_path / "Panel.ui"
        path.write_text(text, "utf-8")
        return slicer.util.loadUI(str(path))

    return load


def add_volume(application, name="CT"):
    return application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_a_ui_file_becomes_widgets_that_know_the_scene(application, slicer, load_ui):
    panel = load_ui()
    ui = slicer.util.childWidgetVariables(panel)
    panel.setMRMLScene(application.scene)
    volume = add_volume(application)
    ui.volume.setCurrentNode(volume)

    assert ui.volume.currentNode() is volume
    assert ui.inputs.text == "Inputs"
    assert ui.preview.text == "Preview"
    assert ui.margin.maximum == 50


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('class="ctkSliderWidget"', 'class="ctkSlidingWidget"', "ctkSlidingWidget is not in"),
        ('class="QCheckBox"', 'class="QCheckbox"', "no widget class 'QCheckbox'"),
        ('name="noneEnabled"', 'name="noneAllowed"', "no property 'noneAllowed'"),
        ('<property name="text"><string>Preview', '<property name="label"><string>Preview', "no property 'label'"),
        ("<signal>mrmlSceneChanged(", "<signal>sceneChanged(", "no signal"),
        ("<slot>setMRMLScene(", "<slot>setScene(", "no slot"),
    ],
)
def test_a_ui_file_with_what_slicer_has_not_fails(load_ui, right, wrong, message):
    assert right in UI
    with pytest.raises((AttributeError, ValueError), match=message):
        load_ui(UI.replace(right, wrong))


class Style(enum.Enum):
    FREE = "free"
    FIXED = "fixed"


@pytest.fixture
def parameters(slicer):
    from slicer.parameterNodeWrapper import parameterNodeWrapper
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    @parameterNodeWrapper
    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        margin_mm: float = 5.0
        preview: bool = True
        name: str
        style: Style = Style.FIXED

    class PanelLogic(ScriptedLoadableModuleLogic):
        pass

    return Parameters(PanelLogic().getParameterNode())


def test_parameters_live_in_the_scene(application, parameters):
    assert (parameters.volume, parameters.margin_mm, parameters.preview) == (None, 5.0, True)
    assert (parameters.name, parameters.style) == ("", Style.FIXED)
    parameters.volume = add_volume(application)
    parameters.style = Style.FREE

    again = type(parameters)(parameters.parameterNode)

    assert again.volume is parameters.volume
    assert again.style is Style.FREE
    assert parameters.parameterNode.GetNodeReferenceID("volume") == again.volume.GetID()


def test_a_parameter_takes_only_its_type(parameters):
    with pytest.raises(TypeError, match="margin_mm is a float"):
        parameters.margin_mm = "5"


def test_parameters_and_widgets_follow_each_other(application, slicer, load_ui, parameters):
    panel = load_ui()
    panel.setMRMLScene(application.scene)
    ui = slicer.util.childWidgetVariables(panel)
    tag = parameters.connectGui(ui)
    assert ui.preview.checked
    assert ui.margin.value == 5

    click(ui.preview)
    ui.margin.value = 12.5
    volume = add_volume(application)
    parameters.volume = volume
    assert (parameters.preview, parameters.margin_mm, ui.volume.currentNode()) == (False, 12.5, volume)

    parameters.disconnectGui(tag)
    click(ui.preview)
    assert not parameters.preview
