"""`slicer.ScriptedLoadableModule` and `slicer.i18n`: the base classes of a module, its widget, logic and test."""

import unittest
from pathlib import Path

import slicer
from PySide6 import QtGui, QtWidgets

from stand_in_api import api_class
from stand_in_node_widgets import qMRMLWidget
from stand_in_qt import mirror


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title, parent.categories, parent.dependencies, parent.contributors = "", [], [], []
        icons = (Path(parent.path).parent / "Resources/Icons" / f"{self.moduleName}{end}" for end in (".svg", ".png"))
        icon = next((str(i) for i in icons if i.is_file()), None)
        if icon:
            parent.icon = mirror(QtGui.QIcon)(icon)

    def resourcePath(self, filename):
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return f"<p>For more information see the online documentation of {docPage or self.moduleName}.</p>"


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent or qMRMLWidget()
        if not parent:
            self.parent.setLayout(mirror(QtWidgets.QVBoxLayout)())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if not parent:
            self.setup()
            self.parent.show()

    def resourcePath(self, filename):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self):
        pass

    def cleanup(self):
        pass

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def resourcePath(self, filename):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def getParameterNode(self):
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node:
                node.SetAttribute("ModuleName", self.moduleName)
            return node or slicer.mrmlScene.AddNode(self.createParameterNode())
        found = self.getAllParameterNodes()
        return found[0] if found else slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [n for n in nodes if n.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def __init__(self, *args):
        super().__init__(*(args or ["runTest"]))

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        slicer.util.delayDisplay(message)

    def runTest(self):
        pass


def tr(text):
    return text


def translate(context, text):
    return text


def module_parent(name, path):
    """What Slicer passes to a module's class."""
    parent = api_class("qSlicerScriptedLoadableModule")()
    parent._own.__dict__.update(name=name, path=str(path))
    return parent
