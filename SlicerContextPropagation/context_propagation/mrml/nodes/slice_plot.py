"""A plot of one value per slice, as nodes that Slicer's plot views show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from context_propagation.mrml.nodes.scenes import leave_hierarchy

TABLE, CHART = "Slices", "Context propagation: slices"


def show_in_plot(
    scene: slicer.vtkMRMLScene,
    chart: slicer.vtkMRMLPlotChartNode | None,
    values: dict[str, np.ndarray],
    axis_title: str,
) -> slicer.vtkMRMLPlotChartNode:
    """Put columns of one value per slice into a chart; it is made, or filled again.

    Args:
        scene: Where its nodes go; they are not saved with the scene.
        chart: One that this function made, or None.
        values: Columns of equal length, by their title with the unit.
        axis_title: Of the slices, e.g. "axial slice".

    Returns:
        The chart's node.
    """
    if chart is not None and chart.GetScene() is not None:
        remove_plot(scene, chart)
    table = _add(scene, slicer.vtkMRMLTableNode(), TABLE)
    count = len(next(iter(values.values())))
    _add_column(table, axis_title, np.arange(count, dtype=np.float64))
    chart = _add(scene, slicer.vtkMRMLPlotChartNode(), CHART)
    chart.SetXAxisTitle(axis_title)
    chart.SetYAxisTitle(", ".join(values))
    for number, (title, column) in enumerate(values.items()):
        _add_column(table, title, np.asarray(column, np.float64))
        series = _add(scene, slicer.vtkMRMLPlotSeriesNode(), title)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(axis_title)
        series.SetYColumnName(title)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetColor(*_COLORS[number % len(_COLORS)])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart


_COLORS: Sequence[tuple[float, float, float]] = ((0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17))


def remove_plot(scene: slicer.vtkMRMLScene, chart: slicer.vtkMRMLPlotChartNode) -> None:
    """Take a chart, its series and its table out of the scene."""
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    for node in [chart, *{plotted.GetTableNode() for plotted in series if plotted}, *series]:
        if node is not None and node.GetScene() is not None:
            scene.RemoveNode(node)


def _add_column(table: slicer.vtkMRMLTableNode, title: str, values: np.ndarray) -> None:
    column: vtk.vtkDataArray = numpy_to_vtk(values, deep=True)
    column.SetName(title)
    table.AddColumn(column)


def _add(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode, name: str) -> slicer.vtkMRMLNode:
    node.SetName(scene.GenerateUniqueName(name))
    node.SetSaveWithScene(False)
    node = scene.AddNode(node)
    leave_hierarchy(scene, node)
    return node
