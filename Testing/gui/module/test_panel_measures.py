"""Figures and suggestions in the panel."""

from types import SimpleNamespace

import pytest

from as_a_user import settle
from panel_user import a_slice

SHAPE = (16, 16, 16)


def test_the_suggested_slice_is_shown_and_plotted(ready, module):
    import slicer

    index = ready.shared.logic.suggested_slice()
    assert f"slice {index}" in ready.ui.suggestionLabel.text
    shown = []
    plots_logic = SimpleNamespace(ShowChartInLayout=shown.append)  # a view would show it; there is none here
    slicer.modules.plots = SimpleNamespace(logic=lambda: plots_logic)

    ready.click("goToButton")
    ready.click("plotButton")

    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    k = red.GetSliceToRAS().GetElement(2, 3) / 2.5
    assert round(k) == index
    table = shown[0].GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    assert table.GetNumberOfRows() == SHAPE[0]


def test_measures_are_shown_with_and_without_a_reference(ready, ct, module):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    def table():
        t = ready.ui.measureTable
        return {t.item(row, 0).text(): t.item(row, 1).text() for row in range(t.rowCount)}

    ready.ui.measureSection.collapsed = False
    ready.click("measureButton")
    ready.wait()
    voxel_ml = 0.8 * 1.1 * 2.5 / 1000
    assert table() == {"Volume": f"{ready.mask().sum() * voxel_ml:.2f} mL"}

    truth = add_segmentation(module.scene, ct, "Truth")
    add_segment_from_mask(truth, ready.mask(), ct, "expert")
    ready.ui.referenceSelector.setCurrentNode(truth)
    ready.click("measureButton")
    ready.wait()
    assert table()["DSC"] == "1.000"
    assert table()["Hausdorff distance, 95 %"] == "0.0 mm"


def test_figures_go_with_the_segments_they_are_of(ready, ct, module):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    truth = add_segmentation(module.scene, ct, "Truth")
    expert = add_segment_from_mask(truth, ready.mask(), ct, "expert")
    ready.ui.referenceSelector.setCurrentNode(truth)
    ready.ui.measureSection.collapsed = False
    name = ready.selection.segmentation_node.GetSegmentation().GetSegment(ready.selection.segment_id).GetName()

    ready.click("measureButton")
    ready.wait()
    assert ready.ui.measuredLabel.text == f"'{name}' compared with 'expert'"
    ready.redraw(7, a_slice())
    assert ready.ui.measuredLabel.text == f"'{name}' compared with 'expert', before it was changed"
    assert ready.ui.measureTable.rowCount > 1

    truth.GetSegmentation().RemoveSegment(expert)
    settle()
    assert ready.ui.measureTable.rowCount == 0
    assert not ready.ui.measuredLabel.visible


@pytest.mark.quick(event=("scene", "reference"))
@pytest.mark.parametrize("event", ["scene", "reference", "segment"])
def test_figures_go_where_another_choice_is_made(ready, ct, module, event):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    ready.ui.measureSection.collapsed = False
    ready.click("measureButton")
    ready.wait()
    assert ready.ui.measureTable.rowCount == 1

    if event == "scene":
        module.scene.Clear(0)
    elif event == "segment":
        other = add_segment_from_mask(ready.selection.segmentation_node, ready.mask(), ct, "other")
        ready.ui.segmentSelector.setCurrentSegmentID(other)
    else:
        ready.ui.referenceSelector.setCurrentNode(add_segmentation(module.scene, ct, "Truth"))
    settle()

    assert ready.ui.measureTable.rowCount == 0
