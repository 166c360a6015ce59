"""The running application of a test: it puts everything in place, and takes it away again."""

import contextlib
import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets

import stand_in_ctk  # noqa: F401  (registers its classes)
import stand_in_scripted_modules
import stand_in_segment_selector  # noqa: F401
from stand_in_api import api, api_class, is_visible
from stand_in_application import LoadedModule, Modules, qSlicerApplication, stand_in_modules
from stand_in_changes import Changes, running
from stand_in_node_widgets import stop_observing
from stand_in_qt import live_timers, mirror
from stand_in_scene import DisplayableManagers, SubjectHierarchy, segmentations_logic
from stand_in_segment_editor import SegmentEditorStandIn, close_editors, qSlicerSegmentEditorEffectFactory
from stand_in_slots import failures
from stand_in_user import user_functions
from stand_in_views import qSlicerLayoutManager, qSlicerMainWindow


@dataclass
class Application:
    """The running application: what a test looks at, and how it answers for the user.

    Attributes:
        answers: For each question to come: True or False, or a button.
        messages: What the user was told or asked.
        installed: What pip was asked to install.
        uninstalled: What pip was asked to take away.
    """

    folder: Path
    answers: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    installed: list = field(default_factory=list)
    uninstalled: list = field(default_factory=list)
    selected_module: str = ""
    status: str = ""
    changes: Changes = field(default_factory=Changes)

    @property
    def sample_data(self):
        """The data sets that were registered, of all categories."""
        return [s for sources in vars(slicer.modules).get("sampleDataSources", {}).values() for s in sources]

    @property
    def scene(self):
        return slicer.mrmlScene

    def texts(self, kind):
        """The messages of a kind: information, warning, error, question or delay."""
        return [m.text for m in self.messages if m.kind == kind]

    def finish_startup(self):
        """Tell that the application has started, and let those who wait for it work."""
        slicer.app._emit("startupCompleted()")

    def segment_editor(self):
        """A new Segment Editor on the scene."""
        layout = slicer.app.layoutManager()
        views = [layout.sliceWidget(name) for name in layout.sliceViewNames()]
        return SegmentEditorStandIn(self.scene, views=views)

    def load_module(self, path):
        """Load a scripted module's file as Slicer does at its start; returns the module's object."""
        name = Path(path).stem
        spec = importlib.util.spec_from_file_location(name, path)
        python_module = importlib.util.module_from_spec(spec)
        self.changes.set_module(name, python_module)
        spec.loader.exec_module(python_module)
        setattr(slicer.modules, name.lower(), LoadedModule(name, str(path)))
        module = getattr(python_module, name)(stand_in_scripted_modules.module_parent(name, path))
        setattr(slicer.modules, f"{name}Instance", module)
        return module

    def open_module(self, name):
        """Show a loaded module's panel, as when the user selects it; returns its Python widget."""
        parent = api_class("qSlicerScriptedLoadableModuleWidget")()
        parent.setLayout(mirror(QtWidgets.QVBoxLayout)())
        parent.setMRMLScene(self.scene)
        widget = getattr(sys.modules[name], f"{name}Widget")(parent)
        parent._own.python, getattr(slicer.modules, name.lower())._widget = widget, parent
        setattr(slicer.modules, f"{name}Widget", widget)
        widget.setup()
        parent.show()
        if hasattr(widget, "enter"):
            widget.enter()
        return widget

    def start(self):
        """Put everything in place."""
        running.append(self.changes)
        self._settings = _use_settings_of_our_own()
        self.changes.set_attribute(sys, "excepthook", _keep_failure)
        for name, module in stand_in_modules().items():
            self.changes.set_module(name, module)
        for name in api():
            if not name.startswith("ctk") and is_visible(name):
                self.changes.set_attribute(slicer, name, api_class(name))
        scene = slicer.vtkMRMLScene()
        self.changes.set_attribute(slicer, "mrmlScene", scene)
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(str(self.folder / "cache"))
        scene.SetCacheManager(cache)
        self._segmentations = segmentations_logic(scene)
        self._observers = SubjectHierarchy(scene), DisplayableManagers(scene)
        modules = Modules()
        modules.segmentations = LoadedModule("Segmentations", logic=self._segmentations)
        self.changes.set_attribute(slicer, "modules", modules)
        app = qSlicerApplication._around(QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"]))
        app._own.__dict__.update(majorVersion=5, minorVersion=12, temporaryPath=str(self.folder))
        app._own.slicerRevisionUserSettingsFilePath = str(self.folder / "Slicer-0.ini")
        app._own.layout, app._own.logic = qSlicerLayoutManager(), slicer.vtkMRMLApplicationLogic()
        app._own.logic.SetMRMLScene(scene)
        app._own.layout.setMRMLScene(scene)
        app._own.modules = api_class("qSlicerModuleManager")()
        self.changes.set_attribute(slicer, "app", app)
        self.main_window = qSlicerMainWindow()
        for name, function in user_functions(self).items():
            self.changes.set_attribute(slicer.util, name, function)

    def stop(self):
        """Take everything away: windows, timers, the scene, and what was added to modules."""
        with contextlib.suppress(Exception):  # an effect that fails has been reported already
            close_editors()
        stop_observing()
        for timer in live_timers():
            timer.stop()
        for widget in QtWidgets.QApplication.topLevelWidgets():
            widget.close()
            widget.deleteLater()
        QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        for observer in self._observers:
            observer.stop()
        slicer.mrmlScene.Clear(True)
        slicer.mrmlScene.RemoveAllObservers()  # the scene may live on for a while, and tell of its end in another test
        qSlicerSegmentEditorEffectFactory._single = None
        self.changes.undo()
        running.remove(self.changes)
        self._settings.cleanup()


def _keep_failure(kind, error, trace):
    """Exceptions in VTK's observers and Qt's virtual methods come here; both print them and go on."""
    traceback.print_exception(kind, error, trace)
    failures.append(error)


def _use_settings_of_our_own():
    """In memory where there is a disk for that: Qt waits for a real one with each change."""
    memory = Path("/dev/shm")
    folder = TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None, ignore_cleanup_errors=True)
    QtCore.QCoreApplication.setOrganizationName("Stand-in")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    ini, user = QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope
    QtCore.QSettings.setDefaultFormat(ini)
    QtCore.QSettings.setPath(ini, user, folder.name)
    return folder
