"""What stands in Slicer's place in `sys.modules` and in `slicer`: `slicer.app`, `qt`, `ctk` and their like."""

import functools
import types
import typing

import slicer
from PySide6 import QtCore, QtWidgets

import stand_in_node_widgets  # noqa: F401  (before classes that derive from its)
import stand_in_parameter_node
import stand_in_scripted_modules
from stand_in_api import api_class, implements
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

    def processEvents(self):
        QtWidgets.QApplication.processEvents()

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
        if name.startswith("ctk"):
            return api_class(name)
        raise AttributeError(f"module 'ctk' has no attribute {name!r}")


class SampleDataLogic:
    """Keeps what is registered."""

    registered: typing.ClassVar = []

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
        loadFileType=None,
    ):
        """As Slicer's: lists of one length each, also where nothing is downloaded; once by category and name."""
        each = [uris] if isinstance(uris, str) else uris
        names = [fileNames] if isinstance(uris, str) else fileNames
        if len(each) != len(names):
            raise ValueError("All fields of sample data source must have the same length")
        source = {"category": category, "sampleName": sampleName, "customDownloader": customDownloader}
        source["thumbnailFileName"] = thumbnailFileName
        if not any((s["category"], s["sampleName"]) == (category, sampleName) for s in SampleDataLogic.registered):
            SampleDataLogic.registered.append(source)


@implements
class qSlicerScriptedLoadableModuleWidget(api_class("qSlicerAbstractModuleWidget")):
    def self(self):
        return self._own.python


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
        "SampleData": _module("SampleData", SampleDataLogic=SampleDataLogic),
    }
