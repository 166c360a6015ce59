import numpy as np

from context_propagation.mrml.nodes.slice_plot import remove_plot, show_in_plot


def test_columns_become_series_of_a_chart_and_are_replaced(case):
    before = case.scene.GetNumberOfNodes()
    chart = show_in_plot(case.scene, None, {"doubt, mm²": np.array([1.0, 3.0, 2.0])}, "axial slice")
    chart = show_in_plot(
        case.scene, chart, {"doubt, mm²": np.array([1.0, 4.0]), "changed, voxels": np.array([0, 9])}, "axial slice"
    )

    assert chart.GetNumberOfPlotSeriesNodes() == 2
    second = chart.GetNthPlotSeriesNode(1)
    table = second.GetTableNode()
    assert (second.GetXColumnName(), second.GetYColumnName()) == ("axial slice", "changed, voxels")
    assert [table.GetTable().GetColumnByName("changed, voxels").GetValue(n) for n in range(2)] == [0.0, 9.0]
    assert not chart.GetSaveWithScene()

    remove_plot(case.scene, chart)
    assert case.scene.GetNumberOfNodes() == before
