"""What stands in Slicer's place in `sys.modules` and in `slicer`: `slicer.app`, `qt`, `ctk` and their like."""

import functools
import sys
import types

import slicer
from PySide6 import QtCore, QtWidgets

import stand_in_node_widgets  # noqa: F401  (before classes that derive from its)
import stand_in_parameter_node
import stand_in_sample_data
import stand_in_scripted_modules
from stand_in_api import api_class, implements, is_visible
from stand_in_effect import AbstractScriptedSegmentEditorEffect
from stand_in_qt import QtModule, mirror
from stand_in_ui import QUiLoader


@implements
class qSlicerCoreApplication(mirror(QtWidgets.QApplication)):
    def mrmlScene(self):
        return slicer.mrmlScene

    def applicationLogic(self):
        return self._own.logic

    def moduleManager(self):
        return self._own.modules

    def moduleLogic(self, name):
        return getattr(slicer.modules, name.lower()).logic()

    def settings(self):
        return mirror(QtCore.QSettings)()

    def userSettings(self):
        return self.settings()

    def revisionUserSettings(self):
        return self.settings()

    def processEvents(self, flags=0):
        real = QtCore.QEventLoop.ProcessEventsFlag(int(flags))
        QtCore.QEventLoop().processEvents(real)  # PySide's static one takes a reference to None with each call

    def coreIOManager(self):
        return self._own.io

    def errorLogModel(self):
        return self._own.log

    @staticmethod
    def testingEnabled():
        return False

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass


@implements
class qSlicerApplication(qSlicerCoreApplication):
    def layoutManager(self):
        return self._own.layout


class CtkModule(types.ModuleType):
    """`import ctk`."""

    def __getattr__(self, name):
        if name.startswith("ctk") and is_visible(name):
            return api_class(name)
        raise AttributeError(f"module 'ctk' has no attribute {name!r}: it is not in both lists of names")


@implements
class qSlicerScriptedLoadableModuleWidget(api_class("qSlicerAbstractModuleWidget")):
    def self(self):
        return self._own.python

    def reload(self):
        """As Slicer's: a new Python object of the module's class, which was loaded anew."""
        name = self._own.python.moduleName
        self._own.python = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._own.python)
        self._own.python.setup()


class Modules:
    """`slicer.modules`: the modules of this test."""


class LoadedModule:
    """A module with a logic, as in `slicer.modules.segmentations`."""

    def __init__(self, name, path="", logic=None):
        self.name, self.path, self._logic, self._widget = name, path, logic, None

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        return self._widget


def _module(name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


@functools.cache  # code that imported one of them in a test before must find it here again
def stand_in_modules():
    qt = QtModule("qt")
    qt.QUiLoader = QUiLoader
    scripted = stand_in_scripted_modules
    names = [f"ScriptedLoadableModule{part}" for part in ("", "Widget", "Logic", "Test")]
    classes = {n: getattr(scripted, n) for n in names}
    effects = ("AbstractEffect", "ScriptedEffect", "EffectFactory")
    effects = {n: api_class(n) for n in (f"qSlicerSegmentEditor{part}" for part in effects)}
    wrapper = stand_in_parameter_node.parameterNodeWrapper
    base = AbstractScriptedSegmentEditorEffect
    return {
        "qt": qt,
        "ctk": CtkModule("ctk"),
        "slicer.i18n": _module("slicer.i18n", tr=scripted.tr, translate=scripted.translate),
        "slicer.ScriptedLoadableModule": _module("slicer.ScriptedLoadableModule", __all__=names, **classes),
        "slicer.parameterNodeWrapper": _module("slicer.parameterNodeWrapper", parameterNodeWrapper=wrapper),
        "SegmentEditorEffects": _module("SegmentEditorEffects", AbstractScriptedSegmentEditorEffect=base),
        "qSlicerSegmentationsEditorEffectsPythonQt": _module("qSlicerSegmentationsEditorEffectsPythonQt", **effects),
        "SampleData": _module(
            "SampleData",
            SampleDataLogic=stand_in_sample_data.SampleDataLogic,
            SampleDataSource=stand_in_sample_data.SampleDataSource,
            downloadSample=stand_in_sample_data.download_sample,
            downloadSamples=stand_in_sample_data.download_samples,
        ),
    }
