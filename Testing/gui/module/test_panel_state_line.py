"""The one sentence at the panel's top that says where the user is."""

import pytest

from as_a_user import process_events, settle
from panel_user import a_slice


def test_before_anything_is_chosen_the_state_line_says_what_to_choose(user, add_ct):
    assert user.sentence() == "Choose a model, and a volume for each of its channels."
    add_ct("CT")
    add_ct("CT 2")
    user.ui.firstVolumeSelector.setCurrentNode(user.application.scene.GetFirstNodeByName("CT"))
    assert user.sentence() == "Press Predict."


def test_the_only_volume_is_chosen_by_itself_and_of_two_none(user, add_ct):
    ct = add_ct()
    settle()
    assert user.panel.inputs.volume_nodes == [ct]

    user.ui.firstVolumeSelector.setCurrentNode(None)
    add_ct("another")
    settle()
    assert user.panel.inputs.volume_nodes == []


@pytest.mark.quick(event=("scene closed", "segment removed"))
@pytest.mark.parametrize("event", ["scene closed", "volume removed", "segmentation removed", "segment removed"])
def test_the_state_line_forgets_what_is_gone(ready, ct, module, event):
    assert "filled with the prediction" in ready.sentence()
    node, segment_id = ready.selection.segmentation_node, ready.selection.segment_id

    if event == "scene closed":
        module.scene.Clear(0)
    elif event == "segment removed":
        node.GetSegmentation().RemoveSegment(segment_id)
    else:
        module.scene.RemoveNode(ct if event == "volume removed" else node)

    said = ready.sentence()
    choose = "Choose a model, and a volume for each of its channels."
    gone = "What was worked on is gone. Choose a volume and a segment, and press Predict."
    assert said == {"segmentation removed": "Press Predict.", "segment removed": gone}.get(event, choose)
    assert ready.ui.suggestionLabel.text == ""
    assert ready.ui.memoryLabel.text == "shown when you press Predict" or event == "segment removed"
    assert ready.rows() == []
    assert ready.ui.editsLabel.text == "Edited slices:"
    for button in ("propagateButton", "undoButton", "redoButton", "goToButton", "plotButton", "redrawButton"):
        assert not getattr(ready.ui, button).enabled, button


@pytest.mark.quick(chosen=("segment", "orientation"))
@pytest.mark.parametrize("chosen", ["segment", "model", "volume", "device", "orientation"])
def test_another_choice_is_told_from_what_is_worked_on(ready, ct, module, add_ct, base, chosen):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask

    if chosen == "segment":
        other = add_segment_from_mask(ready.selection.segmentation_node, ready.mask(), ct, "other")
        ready.ui.segmentSelector.setCurrentSegmentID(other)
    elif chosen == "model":
        ready.choose_model(base)
    elif chosen == "volume":
        ready.ui.firstVolumeSelector.setCurrentNode(add_ct("another CT"))
    elif chosen == "orientation":
        ready.ui.orientationSelector.setCurrentText("LPS")
    else:
        from context_propagation.core.device import DEVICES

        ready.ui.deviceSelector.setCurrentIndex(DEVICES.index("cuda"))

    assert ready.sentence().endswith("on 'CT' is being worked on. Press Predict to work on what is chosen above.")
    assert (ready.ui.deviceInUse.text == "") == (chosen in ("model", "device", "orientation"))
    says_nothing = ready.ui.memoryLabel.text == "shown when you press Predict"
    assert says_nothing == (chosen != "segment")


def test_what_is_told_in_a_turn_of_its_own_is_not_told_after_something_newer(ready):
    ready.panel.edits._say_soon("older")
    ready.panel.edits._say("newer")

    process_events(0.1)

    assert ready.ui.stateLabel.text == "newer"


def test_the_state_line_follows_drawing_undo_and_redo_in_the_segment_editor(ready):
    editor = ready.redraw(7, a_slice())
    assert ready.sentence() == "Press Propagate."
    editor.undo()
    editor.undo()
    assert ready.sentence() == "Ready: redraw a slice in the Segment Editor."
    editor.redo()
    editor.redo()
    assert ready.sentence() == "Press Propagate."


def test_what_a_propagation_did_is_said_until_the_segment_is_another(ready):
    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()
    assert "voxels changed" in ready.sentence()
    ready.panel.update()
    assert "voxels changed" in ready.sentence()

    ready.click("undoButton")
    assert ready.sentence() == "Undone; what was drawn stays."
    ready.redraw(9, a_slice())
    assert ready.sentence() == "Press Propagate."


def test_a_run_that_was_cancelled_or_failed_is_said_and_not_what_was_before(ready, monkeypatch):
    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.click("cancelButton")
    ready.wait()
    assert ready.sentence() == "Propagate: cancelled; the segment is as it was."

    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(ready.shared.logic.session, "preview", fail)
    ready.click("propagateButton")
    ready.wait()
    assert ready.sentence() == "Propagate: stopped by an error."
    ready.redraw(8, a_slice())
    assert ready.sentence() == "Press Propagate."


def test_after_a_reload_nothing_is_said_of_the_session_that_was_let_go(ready, module):
    ready.widget.cleanup()  # the first that a reload does
    again = module.open_module("ContextPropagation")
    settle()

    assert again.panel.inputs._ui.stateLabel.text == "Press Predict."


def test_what_happened_while_another_module_was_shown_is_said_on_return(ready):
    ready.widget.exit()
    ready.redraw(7, a_slice())
    ready.widget.enter()

    assert ready.rows() == [("axial", "7", "redrawn")]
    assert ready.sentence() == "Press Propagate."
