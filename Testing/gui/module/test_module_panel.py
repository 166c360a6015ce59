"""The module's panel, driven as a user does: real Qt, real MRML, a real nnU-Net in a bundle."""

from dataclasses import replace
from threading import Event

import numpy as np

from as_a_user import settle
from panel_user import a_slice


def test_without_a_volume_nothing_can_be_pressed(user):
    for name in ("predictButton", "propagateButton", "undoButton", "redoButton", "measureButton", "goToButton"):
        assert not getattr(user.ui, name).enabled


def test_predict_fills_a_new_segment_and_says_what_to_do_next(user, ct):
    user.predict(ct)

    logic = user.shared.logic
    assert user.application.texts("error") == []
    assert user.mask().sum() == logic.session.segmentation.sum() > 0
    assert user.ui.segmentSelector.currentSegmentID() == user.selection.segment_id
    assert f"filled with the prediction ({user.mask().sum()} voxels)" in user.ui.stateLabel.text
    assert user.ui.reachLabel.text == ""
    assert user.ui.deviceInUse.text == f"in use: {logic.loaded.model.device}"


def test_a_redrawn_slice_is_found_propagated_undone_and_redone(ready):
    ready.redraw(7, a_slice())
    assert ready.rows() == [("axial", "7", "redrawn")]
    drawn = ready.mask()

    ready.click("propagateButton")
    ready.wait()
    result = ready.mask()
    assert np.array_equal(result[7], a_slice())
    assert (result ^ drawn).any()
    assert ready.rows() == [("axial", "7", "propagated")]
    assert "voxels changed" in ready.ui.stateLabel.text
    assert "whole volume" in ready.ui.stateLabel.text

    ready.click("undoButton")
    assert np.array_equal(ready.mask(), drawn)
    assert ready.rows() == [("axial", "7", "redrawn")]
    ready.click("redoButton")
    assert np.array_equal(ready.mask(), result)
    assert not ready.ui.redoButton.enabled


def test_the_slice_in_view_is_confirmed_listed_and_left_alone_until_undo(ready):
    from context_propagation.gui.slice_views import jump_to_slice

    jump_to_slice(ready.selection.volume_nodes[0], 0, 10)
    before = ready.mask()
    ready.click("confirmButton")
    assert ready.ui.stateLabel.text == "Confirmed: axial slice 10; it stays as it is."
    assert ready.ui.undoLabel.text == "Undo takes back: confirmed axial slice 10."
    assert ready.rows() == [("axial", "10", "confirmed")]

    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()

    assert np.array_equal(ready.mask()[10], before[10])
    assert ready.rows() == [("axial", "10", "confirmed"), ("axial", "7", "propagated")]
    assert ready.ui.undoLabel.text == "Undo takes back: propagated from axial slice 7. The drawing stays."
    ready.click("confirmButton")
    assert "choose one that was neither drawn nor confirmed" in ready.application.texts("error")[0]
    ready.click("undoButton")
    ready.click("undoButton")
    assert ready.rows() == [("axial", "7", "redrawn")]
    assert not ready.ui.undoLabel.visible


def test_all_slices_that_a_propagation_changed_are_confirmed_at_once(ready):
    assert not ready.ui.confirmChangedButton.enabled
    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()
    changed = sorted(ready.shared.logic.history[-1].changed_per_slice)
    assert changed

    ready.click("confirmChangedButton")

    assert ready.ui.stateLabel.text == f"Slices confirmed: {len(changed)}; they stay as they are."
    assert [row for row in ready.rows() if row[2] == "confirmed"] == [("axial", str(s), "confirmed") for s in changed]


def test_a_slice_is_confirmed_only_where_a_view_shows_one(ready):
    slice_node = ready.application.scene.GetFirstNodeByName("Red") or ready.application.scene.GetFirstNodeByClass(
        "vtkMRMLSliceNode"
    )
    for number in range(ready.application.scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        ready.application.scene.GetNthNodeByClass(number, "vtkMRMLSliceNode").SetMappedInLayout(False)

    ready.click("confirmButton")
    assert "No slice view shows axial slices; show one in the layout" in ready.application.texts("error")[-1]
    slice_node.SetMappedInLayout(True)
    slice_node.SetOrientationToAxial()
    slice_node.JumpSliceByCentering(0.0, 0.0, 500.0)
    ready.click("confirmButton")

    assert "The axial view is beside the volume; move it to the slice" in ready.application.texts("error")[-1]
    assert not ready.shared.logic.history


def test_undo_is_refused_in_one_sentence_where_someone_painted_since(ready):
    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()
    ready.redraw(11, a_slice())
    painted = ready.mask()

    ready.click("undoButton")

    (said,) = ready.application.texts("error")
    assert "undo that edit first" in said
    assert np.array_equal(ready.mask(), painted)


def test_cancel_stops_a_run_and_nothing_is_changed(ready):
    ready.redraw(7, a_slice())
    drawn = ready.mask()
    ready.click("propagateButton")
    assert not ready.ui.propagateButton.enabled
    assert not ready.ui.predictButton.enabled

    ready.click("cancelButton")
    ready.wait()

    assert np.array_equal(ready.mask(), drawn)
    assert ready.application.texts("error") == []
    assert ready.ui.propagateButton.enabled
    assert not ready.ui.cancelButton.visible


def waits_to_be_told(logic, monkeypatch):
    """A propagation that computes nothing before it is told to take the best so far, so that it is told in time."""
    made = logic.propagate_operation

    def waiting():
        told, operation = Event(), made()

        def settle():
            operation.settle()
            told.set()

        def compute(progress, cancelled):
            assert told.wait(60)
            return operation.compute(progress, cancelled)

        return replace(operation, settle=settle, compute=compute)

    monkeypatch.setattr(logic, "propagate_operation", waiting)


def test_stop_here_writes_the_best_so_far_and_says_so(ready, monkeypatch):
    waits_to_be_told(ready.shared.logic, monkeypatch)
    ready.redraw(7, a_slice())
    drawn = ready.mask()
    assert not ready.ui.enoughButton.visible
    ready.click("propagateButton")
    assert ready.ui.enoughButton.visible

    ready.click("enoughButton")
    assert "taking the best so far" in ready.ui.stateLabel.text
    assert not ready.ui.enoughButton.visible
    ready.wait()

    assert "Stopped early, with the best result so far" in ready.ui.stateLabel.text
    assert np.array_equal(ready.mask()[7], drawn[7])
    assert not ready.ui.enoughButton.visible
    ready.click("undoButton")
    assert np.array_equal(ready.mask(), drawn)


def test_only_a_propagation_can_be_stopped_with_its_best(user, ct):
    seen = []
    user.shared.runner.listeners.append(lambda job: seen.append(user.ui.enoughButton.visible) if job else None)
    user.predict(ct)

    assert seen
    assert not any(seen)


def test_letting_go_in_the_middle_of_a_run_stops_it_and_frees_the_model(ready, module):
    from context_propagation.gui.work.shared import release

    ready.redraw(7, a_slice())
    drawn = ready.mask()
    ready.click("propagateButton")
    release()

    assert not ready.shared.runner.busy
    assert ready.shared.logic.loaded is None
    node = module.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    from context_propagation.mrml.nodes.segments import segment_mask, segment_named

    volume = module.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert np.array_equal(segment_mask(node, segment_named(node, None), volume), drawn)


def test_measuring_another_segment_leaves_the_session_alone(ready, ct):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask

    other = add_segment_from_mask(ready.selection.segmentation_node, ready.mask(), ct, "other")
    propagation = ready.shared.logic.propagation
    ready.ui.segmentSelector.setCurrentSegmentID(other)
    ready.ui.measureSection.collapsed = False

    ready.click("measureButton")
    ready.wait()

    assert ready.shared.logic.propagation is propagation


def test_the_worker_computes_although_the_event_loop_holds_the_lock(ready, monkeypatch):
    """Slicer's own loop waits without letting other Python threads run."""
    import ctypes
    import time

    from context_propagation.gui.work import runner
    from context_propagation.mrml.session.operation import Operation

    monkeypatch.setattr(runner, "SHARE_SECONDS", ready.application.share_seconds)
    wait_holding_the_lock = ctypes.PyDLL(None).usleep

    def compute(progress, cancelled):
        for _ in range(300):
            time.sleep(0)  # lets go of the lock, as each operation of torch does
        return "done"

    results, ticks = [], 0
    ready.shared.runner.start(Operation("Many steps", compute, results.append))
    while not results and ticks < 100:
        wait_holding_the_lock(5000)
        ready.shared.runner._tick()
        ticks += 1

    assert results == ["done"]
    assert ticks < 30


def test_where_no_plane_stands_out_the_user_names_it(ready):
    cube = ready.mask()
    cube[6:9, 6:9, 6:9] ^= True
    editor = ready.redraw(0, cube[0])
    now = ready.mask()
    editor.paint(cube & ~now)
    editor.paint(now & ~cube, erase=True)
    settle()
    assert ready.rows() == []
    assert "unclear which slices were redrawn" in ready.ui.editsLabel.text

    ready.ui.planeSelector.setCurrentIndex(1)
    settle()
    assert ready.rows() == [("axial", str(k), "redrawn") for k in (6, 7, 8)]

    ready.click("propagateButton")
    ready.wait()
    assert ready.application.texts("error") == []
    assert np.array_equal(ready.mask()[6:9], cube[6:9])


def test_a_slice_from_which_voxels_were_only_erased_is_found(ready):
    before = ready.mask()
    index = int(before.sum(axis=(1, 2)).argmax())
    less = before[index].copy()
    less[:, ::2] = False

    ready.redraw(index, less)

    assert ready.rows() == [("axial", str(index), "redrawn")]
