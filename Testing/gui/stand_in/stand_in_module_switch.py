"""Switching modules in the main window: the one before is left, the chosen one is made when it is first shown."""

import functools
import sys

import slicer
from PySide6 import QtWidgets

from stand_in_api import api_class
from stand_in_application import LoadedModule
from stand_in_editor_module import segment_editor_module
from stand_in_qt import mirror
from stand_in_slots import as_slot, raise_failures


class ModuleSwitch:
    """What the module selector does: `select` takes a name or a module.

    Args:
        application: The running `Application`.
    """

    def __init__(self, application):
        self._application, self._makers, self.current = application, {}, ""
        self._pages = QtWidgets.QStackedWidget()
        application.main_window._qt.setCentralWidget(self._pages)
        application.main_window._qt.resize(600, 900)
        application.main_window._qt.show()
        self.add("SegmentEditor", segment_editor_module)
        self.add("SampleData", sample_data_module)
        self.add("ContextPropagation", lambda: _scripted("ContextPropagation"))

    def add(self, name, maker):
        """A module, and what makes its widget."""
        self._makers[name] = maker
        if not hasattr(slicer.modules, name.lower()):
            setattr(slicer.modules, name.lower(), LoadedModule(name))

    def select(self, module):
        """Show a module, and tell both."""
        name = module if isinstance(module, str) else module.name
        if name and name not in self._makers:
            raise LookupError(f"there is no module {name!r} here; there are {sorted(self._makers)}")
        if name == self.current:
            return
        self._tell("exit", False)
        self.current = name
        self._application.selected_module = name
        if name:
            loaded = getattr(slicer.modules, name.lower())
            if loaded._widget is None:
                loaded._widget = self._makers[name]()
                self._pages.addWidget(loaded._widget._qt)
            self._pages.setCurrentWidget(loaded._widget._qt)
            self._tell("enter", True)

    def _tell(self, what, entered):
        if not self.current:
            return
        widget = getattr(slicer.modules, self.current.lower()).widgetRepresentation()
        widget._own.isEntered = entered
        function = getattr(widget.self(), what, None)
        if function is not None:
            as_slot(function)()

    def clean_up(self):
        """At the application's end: leave the module, and let all clean up."""
        self.select("")
        for name in self._makers:
            widget = getattr(slicer.modules, name.lower())._widget
            if widget is not None and hasattr(widget.self(), "cleanup"):
                widget.self().cleanup()
        raise_failures()


def _scripted(name):
    """A scripted module's widget, set up."""
    parent = api_class("qSlicerScriptedLoadableModuleWidget")()
    parent.setLayout(mirror(QtWidgets.QVBoxLayout)())
    parent.setMRMLScene(slicer.mrmlScene)
    parent._own.python = getattr(sys.modules[name], f"{name}Widget")(parent)
    setattr(slicer.modules, f"{name}Widget", parent._own.python)
    parent._own.python.setup()
    return parent


class SampleDataWidget:
    """A button for each data set that was registered, named as Slicer's."""

    def __init__(self, parent):
        self.parent = parent
        logic = sys.modules["SampleData"].SampleDataLogic()
        for source in [s for sources in logic.sampleDataSourcesByCategory().values() for s in sources]:
            button = QtWidgets.QToolButton(text=source.sampleDescription)
            button.setObjectName(f"{source.sampleName}PushButton")
            load = functools.partial(source.customDownloader or logic.downloadFromSource, source)
            button.clicked.connect(as_slot(load, 0))
            parent._qt.layout().addWidget(button)


def sample_data_module():
    """Sample Data's widget."""
    parent = api_class("qSlicerScriptedLoadableModuleWidget")()
    QtWidgets.QVBoxLayout(parent._qt)
    parent._own.python = SampleDataWidget(parent)
    return parent
