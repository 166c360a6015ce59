"""The stand-ins have the names of the running application's list, each of the kind that it shows, and no others."""

import ast
import json
import re
from pathlib import Path

import pytest

from stand_in_names import Kind, is_listed, kinds

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
APP = Path(__file__).parents[2] / "app"
LIST = Path(__file__).with_name("pythonqt_names.json")

pytestmark = pytest.mark.usefixtures("application")


@pytest.fixture
def qt():
    import qt

    return qt


def test_the_list_says_what_it_is():
    listed = json.loads(LIST.read_text("utf-8"))

    assert listed["what"].startswith("What Python reaches on each class in a running 3D Slicer 5.13.0")
    assert len([entry for entry in listed["classes"] if not entry.startswith("object ")]) == 142


def test_the_single_shot_of_a_timer_is_a_function_and_never_assigned_to(qt):
    timer = qt.QTimer()

    with pytest.raises(AttributeError, match="Slot 'singleShot' can not be overwritten on QTimer object"):
        timer.singleShot = True
    assert callable(timer.singleShot)
    timer.setSingleShot(True)
    assert timer.isSingleShot()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("setText", "Slot 'setText' can not be overwritten on QPushButton object"),
        ("clicked", "Signal 'clicked' can not be overwritten on QPushButton object"),
        ("DrawChildren", "EnumValue 'DrawChildren' can not be overwritten on QPushButton object"),
        ("RenderFlags", "Enum 'RenderFlags' can not be overwritten on QPushButton object"),
        ("height", "Property 'height' of QPushButton object is not writable"),
        ("caption", "'caption' does not exist on QPushButton and creating new attributes on C\\+\\+ objects"),
    ],
)
def test_only_properties_are_assigned_to(qt, name, message):
    with pytest.raises(AttributeError, match=message):
        setattr(qt.QPushButton("x"), name, 1)


@pytest.mark.parametrize("name", ["setNodeTypes", "currentNodeChanged", "nodeFromIndex"])
def test_neither_on_a_class_of_slicers(name):
    import slicer

    with pytest.raises(AttributeError):
        setattr(slicer.qMRMLNodeComboBox(), name, 1)


def test_a_name_that_only_one_list_has_is_not_there():
    import slicer

    assert "setViewport" in kinds("qSlicerLayoutManager")  # but not in the headers of 5.12
    with pytest.raises(AttributeError, match="qSlicerLayoutManager has no attribute named 'setViewport'"):
        _ = slicer.app.layoutManager().setViewport


def test_names_of_qt_6_alone_are_not_there(qt):
    with pytest.raises(AttributeError, match="QComboBox has no attribute named 'placeholder'"):
        _ = qt.QComboBox().placeholder
    with pytest.raises(AttributeError, match="QCheckBox has no attribute named 'checkStateChanged'"):
        _ = qt.QCheckBox().checkStateChanged
    with pytest.raises(ValueError, match="no signal"):
        qt.QCheckBox().connect("checkStateChanged(Qt::CheckState)", print)


def test_names_of_qt_5_alone_are_there_but_not_done(qt):
    with pytest.raises(NotImplementedError, match="the real QComboBox has autoCompletion"):
        _ = qt.QComboBox().autoCompletion


def test_a_property_is_not_called_and_a_method_is_no_value(qt):
    combo = qt.QComboBox()

    with pytest.raises(TypeError, match="'int' object is not callable"):
        combo.currentIndex()
    assert callable(combo.isEditable)


def test_values_of_enums_are_numbers_on_the_class_itself(qt):
    assert qt.QMessageBox.Yes == 0x4000
    assert isinstance(qt.QMessageBox.Yes | qt.QMessageBox.No, int)
    assert qt.Qt.PlainText == 0
    with pytest.raises(AttributeError, match="it is on the class around it"):
        _ = qt.Qt.TextFormat.PlainText
    with pytest.raises(AttributeError):
        _ = qt.Qt.PlainText.name


def test_a_class_that_is_not_listed_is_not_there(qt):
    with pytest.raises(AttributeError, match="module 'qt' has no attribute 'QAbstractButton'"):
        _ = qt.QAbstractButton


def test_an_object_of_a_class_that_is_not_listed_has_what_its_listed_base_has(qt):
    widget = qt.QWidget()
    layout = qt.QVBoxLayout(widget)
    layout.addWidget(qt.QLabel("x"))
    item = layout.itemAt(0)

    with pytest.raises(AttributeError):
        item.widget()


def test_name_is_a_qt_objects_name_and_a_method_may_end_in_an_underscore(qt):
    label = qt.QLabel()
    label.name = "status"

    assert (label.objectName, label.name) == ("status", "status")
    label.raise_()
    with pytest.raises(AttributeError):
        label.text_()


def test_what_was_deleted_says_so(qt):
    label = qt.QLabel("x")
    label.delete()

    with pytest.raises(ValueError, match="Trying to read property 'text' from a destroyed QLabel object"):
        _ = label.text
    with pytest.raises(ValueError, match="Trying to call 'setText' on a destroyed QLabel object"):
        label.setText("y")


def test_the_application_has_the_names_of_the_running_one_and_no_others():
    import slicer

    assert slicer.app.testingEnabled() is False
    with pytest.raises(AttributeError, match="qSlicerApplication has no attribute named 'testingEnabledd'"):
        _ = slicer.app.testingEnabledd
    with pytest.raises(AttributeError):
        slicer.app.processEvents = None


def test_a_stand_in_cannot_make_a_property_of_what_is_a_method():
    from stand_in_api import _check

    with pytest.raises(TypeError, match="currentNode of the real qMRMLNodeComboBox is a Slot"):
        _check("qMRMLNodeComboBox", "currentNode", property(lambda self: None), {"currentNode": Kind.SLOT})
    with pytest.raises(TypeError, match="the real qMRMLNodeComboBox has no node"):
        _check("qMRMLNodeComboBox", "node", lambda self: None, {})


def used_names():
    """What shipped code and the suite for the application ask of `qt`, `ctk` and Slicer's classes: (file, module,
    class, name or None).
    """
    for path in [*SHIPPED.rglob("*.py"), *APP.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            words = attribute_words(node)
            if len(words) >= 2 and words[0] in ("qt", "ctk", "slicer") and is_gui_class(*words[:2]):
                yield path.name, *words[:2], words[2] if len(words) > 2 else None


def attribute_words(node):
    """`qt.Qt.PlainText` as its words; nothing for what is no name with dots."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = attribute_words(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before else []


def is_gui_class(module, name):
    return module != "slicer" or re.match("q(MRML|Slicer)", name) is not None


def test_every_name_that_ships_or_runs_in_the_application_is_listed():
    names = list(used_names())

    unknown = [used for used in names if not is_listed(used[2])]
    unknown += [used for used in names if used[3] and is_listed(used[2]) and used[3] not in kinds(used[2])]

    assert unknown == []
    assert {"QTimer", "QMessageBox", "ctkPathLineEdit", "qMRMLNodeComboBox"} <= {used[2] for used in names}
