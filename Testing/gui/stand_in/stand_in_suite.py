"""What the suite of Testing/app needs of the application beyond what other tests do: modules, tools, files, dialogs."""

import slicer
import slicer.util
from PySide6 import QtWidgets

from stand_in_application import LoadedModule
from stand_in_brushes import mouse_tools
from stand_in_files import CoreIOManager, ErrorLogModel
from stand_in_module_switch import ModuleSwitch
from stand_in_segment_editor import qSlicerSegmentEditorEffectFactory
from stand_in_slots import failures


class PlotsLogic:
    """Of the module Plots: there is no view that could show a chart."""

    def ShowChartInLayout(self, chart):
        if chart.GetScene() is not slicer.mrmlScene or not chart.GetNumberOfPlotSeriesNodes():
            raise ValueError("a chart without series, or not in the scene, would show nothing")


class Furnished:
    """The application with all that was put into it; `close` as Slicer does at its end."""

    def __init__(self, application):
        self.application = application
        slicer.app._own.io = CoreIOManager(application.folder)
        slicer.app._own.log = ErrorLogModel(application.folder)
        for tool in mouse_tools():
            qSlicerSegmentEditorEffectFactory.instance().registerEffect(tool)
        slicer.modules.plots = LoadedModule("Plots", logic=PlotsLogic())
        self.modules = ModuleSwitch(application)
        application.changes.set_attribute(slicer.util, "selectModule", self.modules.select)

    def close(self):
        """Quit: modules clean up, and whoever waits for the end is told."""
        self.modules.clean_up()
        QtWidgets.QApplication.instance().aboutToQuit.emit()
        slicer.app._own.log.close()


def furnish(application):
    """Furnish an application; real dialogs open, as nobody answers in a test's place here."""
    for name, function in REAL.items():
        application.changes.set_attribute(slicer.util, name, function)
    failures.clear()
    return Furnished(application)


REAL = {name: getattr(slicer.util, name) for name in ("messageBox", "delayDisplay")}
"""Slicer's own functions: this file must be imported before an application replaces them."""
