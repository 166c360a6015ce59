"""What the panel shows elsewhere: slice views, Segment Editor, 3D."""

from types import SimpleNamespace

from as_a_user import settle


def test_after_a_prediction_the_views_are_on_the_slice_that_is_suggested(ready):
    import slicer

    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    assert round(red.GetSliceToRAS().GetElement(2, 3) / 2.5) == ready.shared.logic.suggested_slice()


def test_redraw_opens_the_segment_editor_on_this_segment_ready_to_paint(ready, ct, module):
    import slicer

    calls = []

    class Editor:
        """Notes what it is told."""

        def __getattr__(self, name):
            return lambda value: calls.append((name, value))

    widget = SimpleNamespace(self=lambda: SimpleNamespace(editor=Editor()))
    slicer.modules.segmenteditor = SimpleNamespace(widgetRepresentation=lambda: widget)

    ready.click("redrawButton")

    assert module.selected_module == "SegmentEditor"
    assert calls == [
        ("setSegmentationNode", ready.selection.segmentation_node),
        ("setSourceVolumeNode", ct),
        ("setCurrentSegmentID", ready.selection.segment_id),
        ("setActiveEffectByName", "Paint"),
    ]


def test_one_click_shows_the_segment_in_3d_and_another_hides_it(ready):
    from context_propagation.mrml.nodes.surfaces import is_shown_in_3d

    node = ready.selection.segmentation_node
    assert not ready.ui.show3dBox.checked
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")  # surfaces take time
    node.GetDisplayNode().SetSegmentVisibility3D(ready.selection.segment_id, True)

    ready.click("show3dBox")
    assert is_shown_in_3d(node)
    assert node.GetClosedSurfaceInternalRepresentation(ready.selection.segment_id).GetNumberOfPoints() > 0
    ready.click("show3dBox")
    assert not is_shown_in_3d(node)
    assert node.GetDisplayNode().GetSegmentVisibility3D(ready.selection.segment_id)


def test_the_box_follows_who_else_shows_and_hides_in_3d(ready):
    from context_propagation.mrml.nodes.surfaces import is_shown_in_3d

    node = ready.selection.segmentation_node
    node.CreateClosedSurfaceRepresentation()  # as the Segment Editor's button does
    settle()
    assert ready.ui.show3dBox.checked
    node.GetDisplayNode().SetVisibility3D(False)
    settle()
    assert not ready.ui.show3dBox.checked
    assert not is_shown_in_3d(node)

    ready.click("show3dBox")
    assert is_shown_in_3d(node)
