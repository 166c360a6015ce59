"""Slicer's main window, layout and slice views, as far as they need no rendering."""

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from stand_in_api import api_class, implements
from stand_in_qt import mirror

SLICES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
SIZE = (400, 400)
"""Of each slice view, in pixels."""
DEFAULT_LAYOUT = 3  # vtkMRMLLayoutNode::SlicerLayoutFourUpView


@implements
class qMRMLSliceView(api_class("ctkVTKSliceView")):
    def mrmlSliceNode(self):
        return self._own.logic.GetSliceNode()


@implements
class qMRMLSliceWidget(api_class("qMRMLAbstractViewWidget")):
    def mrmlSliceNode(self):
        return self._own.logic.GetSliceNode()

    def mrmlAbstractViewNode(self):
        return self._own.logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._own.logic.GetSliceCompositeNode()

    def sliceLogic(self):
        return self._own.logic

    def sliceView(self):
        return self._own.view

    def interactorStyle(self):
        return self._own.style

    def fitSliceToBackground(self):
        self._own.logic.FitSliceToBackground(*SIZE)


def slice_widget(scene, name, orientation):
    widget = qMRMLSliceWidget()
    widget._own.view = qMRMLSliceView(widget)
    widget._own.logic = widget._own.view._own.logic = slicer.vtkMRMLSliceLogic()
    widget._own.logic.SetMRMLScene(scene)
    widget._own.logic.AddSliceNode(name)
    widget.mrmlSliceNode().SetOrientation(orientation)
    widget.mrmlSliceNode().SetMappedInLayout(True)  # all are shown in every layout here
    widget._own.logic.ResizeSliceNode(*SIZE)
    widget._own.style, widget._own.interactor = vtk.vtkInteractorStyleUser(), vtk.vtkGenericRenderWindowInteractor()
    widget._own.style.SetInteractor(widget._own.interactor)
    widget._own.interactor.Enable()  # as a view that is shown: it tells those who listen of the mouse
    return widget


@implements
class qMRMLLayoutManager(mirror(QtCore.QObject)):
    def __init__(self, *args):
        super().__init__(*args)
        self._own.__dict__.update(layout=DEFAULT_LAYOUT, slices={}, scene=None)

    def setMRMLScene(self, scene):
        self._own.scene = scene
        self._own.slices = {name: slice_widget(scene, name, way) for name, way in SLICES.items()}

    def mrmlSliceLogics(self):
        logics = vtk.vtkCollection()
        for widget in self._own.slices.values():
            logics.AddItem(widget.sliceLogic())
        return logics

    def mrmlScene(self):
        return self._own.scene

    def sliceViewNames(self):
        return tuple(self._own.slices)

    def sliceWidget(self, name):
        return self._own.slices.get(name)

    @property
    def layout(self):
        return self._own.layout

    @layout.setter
    def layout(self, layout):
        self._own.layout = layout
        self._emit("layoutChanged(int)", layout)

    def setLayout(self, layout):
        self.layout = layout

    def resetSliceViews(self):
        for widget in self._own.slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self):
        pass

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass


@implements
class qSlicerLayoutManager(qMRMLLayoutManager):
    pass


@implements
class qSlicerMainWindow(mirror(QtWidgets.QMainWindow)):
    def __init__(self, *args):
        super().__init__(*args)
        self.objectName = "qSlicerMainWindow"
        self.windowTitle = "3D Slicer"
