"""The stand-in for PythonQt shows what the real one shows, and refuses what the real one has not."""

import sys
import threading

import pytest

from as_a_user import click, process_events, screenshot

pytestmark = pytest.mark.usefixtures("application")


@pytest.fixture
def qt():
    import qt

    return qt


def test_properties_are_attributes(qt):
    button = qt.QPushButton("Propagate")
    button.enabled, button.toolTip = False, "Draw first"

    assert (button.text, button.enabled, button.isEnabled(), button.toolTip) == (
        "Propagate",
        False,
        False,
        "Draw first",
    )


def test_calling_a_property_fails(qt):
    with pytest.raises(TypeError, match="not callable"):
        qt.QPushButton("x").text()


def test_setting_what_is_no_property_fails_and_names_it(qt):
    with pytest.raises(AttributeError, match="'tooltip' does not exist on QPushButton"):
        qt.QPushButton("x").tooltip = "misspelt"


def test_reading_what_does_not_exist_fails(qt):
    with pytest.raises(AttributeError, match="QPushButton has no attribute named 'caption'"):
        _ = qt.QPushButton("x").caption


def test_a_method_cannot_be_overwritten(qt):
    with pytest.raises(AttributeError, match="Slot 'setText' can not be overwritten on QLabel object"):
        qt.QLabel().setText = "x"


def test_a_read_only_property_cannot_be_set(qt):
    with pytest.raises(AttributeError, match="Property 'focus' of QTableWidget object is not writable"):
        qt.QTableWidget().focus = True


def test_a_property_takes_only_its_type(qt):
    with pytest.raises(AttributeError, match="'text' of type 'QString' does not accept an object of type int"):
        qt.QLabel().text = 5


def test_a_signal_is_connected_by_its_signature_and_passes_what_the_slot_takes(qt):
    button, heard = qt.QPushButton("x"), []
    button.checkable = True
    button.connect("clicked(bool)", lambda: heard.append("nothing"))
    button.connect("clicked(bool)", heard.append)
    button.connect("toggled(bool)", lambda checked: heard.append(("toggled", checked)))

    click(button)

    assert sorted(heard, key=str) == sorted([("toggled", True), "nothing", True], key=str)


def test_a_disconnected_slot_is_not_called(qt):
    button, heard = qt.QPushButton("x"), []
    slot = heard.append
    button.connect("clicked(bool)", slot)

    assert button.disconnect("clicked(bool)", slot)
    click(button)
    assert heard == []


def test_an_unknown_signal_fails(qt):
    with pytest.raises(ValueError, match=r"QPushButton has no signal 'clickd\(\)'"):
        qt.QPushButton("x").connect("clickd()", print)


def test_a_signal_with_several_signatures_is_connected_by_one_of_them_alone(qt):
    heard, label, button = [], qt.QLineEdit(), qt.QPushButton("x")
    label.textChanged.connect(heard.append)
    label.text = "GTV"

    assert heard == ["GTV"]
    with pytest.raises(NotImplementedError, match=r"use connect\('clicked"):
        button.clicked.connect(heard.append)


def test_an_exception_in_a_slot_fails_the_test(qt):
    button = qt.QPushButton("x")
    button.connect("clicked()", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        click(button)


def test_a_user_cannot_click_what_is_disabled_or_hidden(qt):
    window = qt.QWidget()
    layout = qt.QVBoxLayout(window)
    disabled, hidden = qt.QPushButton("disabled"), qt.QPushButton("hidden")
    layout.addWidget(disabled)
    layout.addWidget(hidden)
    disabled.enabled, hidden.visible = False, False

    with pytest.raises(AssertionError, match="is disabled"):
        click(disabled)
    with pytest.raises(AssertionError, match="is hidden"):
        click(hidden)


def test_enums_are_where_slicer_code_looks_for_them(qt):
    label = qt.QLabel("x")
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignTop
    label.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)

    assert label.alignment == qt.Qt.AlignRight | qt.Qt.AlignTop
    assert qt.QMessageBox.Yes | qt.QMessageBox.No


def test_the_same_qt_object_is_the_same_python_object(qt):
    window = qt.QWidget()
    layout = qt.QVBoxLayout(window)
    label = qt.QLabel("x")
    layout.addWidget(label)

    assert window.layout() is layout
    assert label.parent() is window
    assert window.findChildren(qt.QLabel) == [label]


def test_a_timer_ticks_and_a_single_shot_comes(qt):
    heard, timer = [], qt.QTimer()
    timer.interval = 5
    timer.connect("timeout()", lambda: heard.append("tick"))
    timer.start()
    qt.QTimer.singleShot(0, lambda: heard.append("shot"))

    process_events(until=lambda: heard.count("tick") >= 2)

    assert "shot" in heard
    assert timer.active


def test_waiting_for_what_never_comes_fails():
    with pytest.raises(AssertionError, match="did not come true"):
        process_events(until=lambda: False, at_most=0.02)


def test_a_derived_class_overrides_what_qt_calls(qt):
    class Panel(qt.QWidget):
        def __init__(self):
            super().__init__()
            self.closed = False

        def closeEvent(self, event):  # noqa: N802
            self.closed = True
            super().closeEvent(event)

    panel = Panel()
    panel.show()
    panel.close()

    assert panel.closed
    assert not panel.visible


def test_a_derived_class_has_attributes_of_its_own(qt):
    class Panel(qt.QWidget):
        count = 0

        def __init__(self):
            super().__init__()
            self.windowTitle, self.model = "Panel", None

    panel = Panel()
    panel.count += 1

    assert (panel.windowTitle, panel.model, panel.count) == ("Panel", None, 1)
    with pytest.raises(AttributeError):
        panel.show = None


def test_an_added_property_is_read_like_any_other(qt):
    label = qt.QLabel()
    label.setProperty("SlicerParameterName", "volume")

    assert label.property("SlicerParameterName") == label.SlicerParameterName == "volume"
    assert label.property("text") == ""
    assert label.property("unknown") is None


def test_qt_from_another_thread_fails(qt):
    label, errors = qt.QLabel("x"), []

    def work():
        try:
            label.setText("y")
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert errors == ["Qt is used outside the main thread; Slicer would crash"]


def test_an_exception_in_an_observer_fails_the_test(application):
    application.scene.AddObserver("ModifiedEvent", lambda caller, event: 1 / 0)
    application.scene.Modified()

    with pytest.raises(ZeroDivisionError):
        process_events()


def test_a_file_dialog_waits_for_nobody(qt, monkeypatch):
    with pytest.raises(AssertionError, match="waits for a user"):
        qt.QFileDialog.getOpenFileName(None, "Choose")

    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *args: "/model.pth")
    assert qt.QFileDialog.getOpenFileName(None, "Choose") == "/model.pth"


def test_a_dialog_is_answered_by_a_timer(qt):
    dialog = qt.QDialog()
    qt.QTimer.singleShot(0, dialog.accept)

    assert dialog.exec_() == qt.QDialog.Accepted


def test_an_unanswered_dialog_fails(qt, monkeypatch):
    monkeypatch.setattr("stand_in_qt.SECONDS_TO_ANSWER", 0.02)

    with pytest.raises(AssertionError, match="waited"):
        qt.QDialog().exec_()


def test_items_that_are_no_objects_of_qt_have_methods_only(qt):
    table = qt.QTableWidget(2, 1)
    table.setItem(0, 0, qt.QTableWidgetItem("GTV"))

    assert table.rowCount == 2
    assert table.item(0, 0).text() == "GTV"
    with pytest.raises(AttributeError, match="Slot 'text' can not be overwritten"):
        table.item(0, 0).text = "CTV"


def test_a_shortcut_and_a_progress_bar_and_an_icon_exist(qt):
    window, bar = qt.QWidget(), qt.QProgressBar()
    shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+P"), window)
    shortcut.connect("activated()", lambda: None)
    bar.value = 40

    assert bar.value == 40
    assert qt.QIcon(qt.QPixmap(4, 4)).isNull() is False


@pytest.mark.parametrize("value", ["first", "second"])
def test_settings_are_new_for_each_test(qt, value):
    settings = qt.QSettings()

    assert not settings.contains("ContextPropagation/model")
    settings.setValue("ContextPropagation/model", value)
    assert qt.QSettings().value("ContextPropagation/model") == value


def test_threads_of_qt_are_refused(qt):
    with pytest.raises(AttributeError, match="cannot be used from Python"):
        _ = qt.QThread


def test_a_screenshot_is_written(qt, tmp_path):
    screenshot(qt.QPushButton("Propagate"), tmp_path / "button.png")

    assert (tmp_path / "button.png").stat().st_size > 100


def test_nothing_stays_in_python_after_the_test(tmp_path_factory):
    import slicer

    from stand_in_slicer import Application

    before = set(sys.modules) | {f"slicer.{name}" for name in vars(slicer)}
    inner = Application(tmp_path_factory.mktemp("inner"))
    outer = slicer.app, slicer.mrmlScene, slicer.util.messageBox, sys.modules["qt"]
    inner.start()
    assert slicer.app is not outer[0]
    inner.stop()

    assert (slicer.app, slicer.mrmlScene, slicer.util.messageBox, sys.modules["qt"]) == outer
    assert set(sys.modules) | {f"slicer.{name}" for name in vars(slicer)} == before
