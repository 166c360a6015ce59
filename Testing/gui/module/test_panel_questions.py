"""What the panel asks before it does something, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import vtk

from panel_user import PanelUser, a_slice

SHAPE = (16, 16, 16)


def test_the_memory_that_is_needed_is_said_before_the_image_is_cached(user, ct):
    said = []
    user.shared.runner.listeners.append(
        lambda job: said.append((job.operation.title, user.ui.memoryLabel.text)) if job else None
    )
    assert user.ui.memoryLabel.text == "shown when you press Predict"
    user.predict(ct)

    assert any(title == "Predict" and text.startswith("needs at least") for title, text in said)
    plan = user.shared.logic.session.plan
    kept, peak = round(plan.cached_bytes / 2**20), round(plan.peak_bytes / 2**20)
    assert user.ui.memoryLabel.text.startswith(f"needs {kept} MiB, at most {peak} MiB at once, of ")


@pytest.mark.parametrize(("goes_on", "propagations"), [(True, 0), (False, 1)])
def test_little_memory_is_asked_about_before_the_session_is_given_up(ready, monkeypatch, goes_on, propagations):
    from context_propagation.core.session import memory_forecast as module

    ready.redraw(7, np.roll(ready.mask()[7], 2, 0))
    ready.click("propagateButton")
    ready.wait()
    foresee = module.memory_forecast
    short = "The margin is shrunk, because memory is short"
    monkeypatch.setattr(module, "memory_forecast", lambda *args: replace(foresee(*args), messages=(short,)))
    ready.application.answers = [goes_on, True] if goes_on else [goes_on]

    ready.click("predictButton")
    ready.wait()

    assert short in ready.application.texts("question")[0]
    assert len(ready.shared.logic.history) == propagations


def test_slices_drawn_before_are_asked_about_and_listed_as_kept(ready):
    ready.redraw(7, np.roll(ready.mask()[7], 2, 0))
    ready.click("propagateButton")
    ready.wait()
    ready.application.answers = [True]

    ready.click("predictButton")
    ready.wait()

    (question,) = ready.application.texts("question")
    assert "These slices were drawn or confirmed before: axial 7. Keep them as they are?" in question
    table = ready.ui.editsTable
    assert [table.item(0, column).text() for column in range(3)] == ["axial", "7", "kept"]


def test_odd_intensities_are_asked_about_and_no_leaves_all_as_it_was(module, ct, tmp_path_factory):
    from nnunet_folders import write_nnunet_folder

    folder = write_nnunet_folder(tmp_path_factory.mktemp("ct") / "model", channel_name="CT", features=(4, 8, 8))
    user = PanelUser(module, [folder])
    user.choose_model(folder)
    module.answers = [False]

    user.predict(ct)

    (question,) = module.texts("question")
    assert "the model was trained on -50 to 400 inside its labels" in question
    assert user.shared.logic.propagation is None


def test_contours_are_asked_about_before_they_become_voxels(user, ct, module):
    import slicer

    from context_propagation.mrml.nodes.segments import add_segmentation

    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(4)
    sphere.SetCenter(-6, -8, 20)
    sphere.Update()
    contours = add_segmentation(module.scene, ct, "RTSTRUCT")
    contours.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "GTV", [1, 0, 0])
    contours.GetSegmentation().SetSourceRepresentationName(
        slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    )
    user.ui.segmentSelector.setCurrentNode(contours)
    user.ui.segmentSelector.setCurrentSegmentID("GTV")
    module.answers = [False]

    user.predict(ct)
    assert "stored as contours or surface" in module.texts("question")[0]
    assert user.shared.logic.propagation is None
    assert "losed surface" in contours.GetSegmentation().GetSourceRepresentationName()

    module.answers = [True]
    user.predict(ct)
    assert module.texts("error") == []
    assert user.mask().any()
    assert user.shared.logic.propagation is not None


def test_a_segment_that_was_drawn_stays_as_it_is(user, ct, module):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    drawn = np.zeros(SHAPE, bool)
    drawn[5:10] = a_slice()
    node = add_segmentation(module.scene, ct, "Clinic")
    add_segment_from_mask(node, drawn, ct, "GTV")
    user.ui.segmentSelector.setCurrentNode(node)

    user.predict(ct)

    assert np.array_equal(user.mask(), drawn)
    assert "Ready" in user.ui.stateLabel.text


def test_edits_of_a_saved_scene_are_offered_for_replay(ready, ct, module):
    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()
    result = ready.mask()
    ready.shared.logic.close_session()
    ready.panel.update()
    module.answers = [True]

    ready.click("predictButton")
    ready.wait()

    assert "1 propagated edit(s)" in module.texts("question")[0]
    assert np.array_equal(ready.mask(), result)
    assert ready.rows() == [("axial", "7", "propagated")]
