"""Several lesions in the module's panel: choosing one goes on with it; a table; a lesion that the model missed."""

import numpy as np
import pytest

from as_a_user import process_events, settle
from lesion_scene import ball, choose, click_row, open_effect, with_two_lesions
from panel_user import PanelUser


@pytest.fixture
def user(module, bundle, ct):
    """With two drawn lesions on a CT, A chosen."""
    user = PanelUser(module, [bundle])
    user.choose_model(bundle)
    with_two_lesions(user, ct)
    return user


@pytest.fixture
def both(user):
    """Both were started, B first."""
    for name in ("B", "A"):
        choose(user, name)
        user.click("predictButton")
        user.wait()
    return user


def lesions(user):
    settle()
    table = user.ui.lesionsTable
    return [tuple(table.item(row, column).text() for column in range(4)) for row in range(table.rowCount)]


def redraw_and_propagate(user, index):
    user.redraw(index, np.roll(user.mask()[index], 2, axis=1))
    user.click("propagateButton")
    user.wait()


def test_one_lesion_has_no_table_and_two_have_a_row_each(user):
    choose(user, "A")
    user.click("predictButton")
    user.wait()
    assert not user.ui.lesionsTable.visible

    choose(user, "B")
    assert "'A' on 'CT' is being worked on. Press Predict to work on what is chosen above." in user.ui.stateLabel.text
    user.click("predictButton")
    user.wait()

    assert user.application.texts("error") == user.application.texts("question") == []
    ml = f"{ball((8, 5, 5)).sum() * 0.8 * 1.1 * 2.5 / 1000:.2f}"
    assert lesions(user) == [("A", ml, "ready", "0"), ("B", ml, "ready", "0")]
    assert user.ui.lesionsTable.visible
    assert [index.row() for index in user.ui.lesionsTable.selectedIndexes()] == [1] * 4


def test_choosing_a_segment_goes_on_with_it_and_its_edits_are_there(both):
    redraw_and_propagate(both, 8)
    a = both.mask()
    choose(both, "B")
    assert both.selection.segment_id == both.ids["B"]
    assert both.rows() == []
    assert both.ui.stateLabel.text == "Ready: redraw a slice in the Segment Editor."
    assert not both.ui.undoButton.enabled
    redraw_and_propagate(both, 7)

    click_row(both, 0)

    assert both.ui.segmentSelector.currentSegmentID() == both.ids["A"]
    assert both.rows() == [("axial", "8", "propagated")]
    assert both.ui.undoLabel.text == "Undo takes back: propagated from axial slice 8. The drawing stays."
    both.click("undoButton")
    assert np.array_equal(both.mask()[8], a[8])
    assert [row[2:] for row in lesions(both)] == [("redrawn", "0"), ("ready", "1")]
    assert both.application.texts("error") == []


def test_the_table_says_where_a_lesion_that_is_not_chosen_was_redrawn(both):
    from context_propagation.mrml.nodes.segments import segment_mask
    from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
    from context_propagation.mrml.writing.segment_writer import write_changed_voxels

    now = segment_mask(both.node, both.ids["B"], both.ct)
    wanted = now.copy()
    wanted[7] |= ball((7, 11, 8))[7]
    writer = EditorLogicWriter(both.application.scene, both.node, both.ct)
    write_changed_voxels(writer, both.node, both.ids["B"], both.ct, wanted, wanted ^ now)

    assert [row[2] for row in lesions(both)] == ["ready", "redrawn"]
    choose(both, "B")
    assert both.rows() == [("axial", "7", "redrawn")]


def test_a_lesion_that_is_deleted_leaves_the_table_and_the_other_goes_on(both):
    redraw_and_propagate(both, 8)
    both.node.GetSegmentation().RemoveSegment(both.ids["B"])
    settle()
    assert lesions(both) == []
    assert not both.ui.lesionsTable.visible
    assert both.ui.undoButton.enabled


def test_while_a_preview_waits_another_lesion_is_not_gone_on_with_before_it_is_discarded(both):
    logic = both.shared.logic
    both.redraw(8, np.roll(both.mask()[8], 2, axis=1))
    pending = logic.propagate_operation().run()
    choose(both, "B")
    assert both.selection.segment_id == both.ids["A"]
    assert both.ui.stateLabel.text == "A preview waits in the Segment Editor: apply or discard it there."
    assert lesions(both)[0][2] == "preview"

    logic.discard(pending)
    both.panel.update()

    assert both.selection.segment_id == both.ids["B"]
    assert [row[2] for row in lesions(both)] == ["redrawn", "ready"]


@pytest.mark.parametrize("missed", [True, False])
def test_an_empty_segment_beside_another_lesion_is_asked_about(both, missed):
    import qt

    both.ids["new"] = both.node.GetSegmentation().AddEmptySegment("", "new")
    both.application.answers = [qt.QMessageBox.Yes if missed else qt.QMessageBox.No]
    choose(both, "new")
    both.click("predictButton")
    both.wait()

    asked = both.application.texts("question")[-1]
    assert "work on 'B', 'A' was started on this image before. Is it for a lesion that the model missed?" in asked
    assert both.mask().any() != missed
    if missed:
        assert "The segment is empty. Draw one slice of the lesion" in both.ui.stateLabel.text
        redraw_and_propagate_new(both, 10)
        assert np.array_equal(both.mask()[10], ball((10, 4, 12))[10])
    assert len(lesions(both)) == 3


def redraw_and_propagate_new(user, index):
    user.redraw(index, ball((10, 4, 12))[index])
    assert user.rows() == [("axial", str(index), "redrawn")]
    user.click("propagateButton")
    user.wait()


def test_the_effect_goes_on_with_the_segment_that_is_selected_in_the_editor(both):
    redraw_and_propagate(both, 8)
    editor = open_effect(both)

    editor.selectSegment(both.ids["B"])
    process_events()
    settle()

    assert both.selection.segment_id == both.ids["B"]
    editor.selectSegment(both.ids["A"])
    settle()
    assert both.selection.segment_id == both.ids["A"]
    assert len(both.shared.logic.history) == 1
