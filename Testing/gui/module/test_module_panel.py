"""The module's panel, driven as a user does: real Qt, real MRML, a real nnU-Net in a bundle."""

import gc
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import vtk

from as_a_user import process_events, screenshot, settle
from panel_user import PanelUser

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def pet_model(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    from nnunet_folders import write_nnunet_folder

    folder = tmp_path_factory.mktemp("pet") / "ct_pet"
    return write_nnunet_folder(folder, channels=2, spacing=(2.5, 1.1, 0.8), features=(4, 8, 8))


@pytest.fixture
def user(module, bundle, base):
    user = PanelUser(module, [bundle, base])
    user.choose_model(bundle)
    return user


@pytest.fixture
def ready(user, ct):
    user.predict(ct)
    return user


def a_slice():
    grid = np.indices((16, 16))
    return sum((g - 8) ** 2 for g in grid) <= 16


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


def test_a_base_model_whose_far_slices_are_switched_off_says_near_slices_only(user, base, ct):
    user.choose_model(base)
    user.ui.generalFarBox.checked = False

    assert "Near slices only" in user.ui.reachLabel.text
    assert "edits reach: near slices only" in user.ui.modelDescription.text


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
    import vtk

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


def test_models_are_added_and_removed_and_what_is_no_model_is_refused(user, pet_model, tmp_path, monkeypatch):
    import qt

    chosen = iter([str(pet_model), str(tmp_path), ""])
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: next(chosen))
    before = user.ui.modelSelector.count

    user.click("addModelButton")
    assert user.panel.inputs.model.path == pet_model
    assert user.ui.secondVolumeSelector.visible
    user.click("addModelButton")
    assert "is not a model's folder" in user.application.texts("error")[0]
    user.click("addModelButton")
    assert user.ui.modelSelector.count == before + 1
    user.click("removeModelButton")
    assert user.ui.modelSelector.count == before
    assert pet_model.is_dir()


def test_the_shipped_model_cannot_be_removed(user):
    user.ui.modelSelector.setCurrentIndex(0)

    user.click("removeModelButton")

    assert "part of the extension" in user.application.texts("error")[0]


def test_a_second_volume_on_another_grid_is_aligned_on_request_and_both_channels_are_used(module, pet_model, add_ct):
    user = PanelUser(module, [pet_model])
    user.choose_model(pet_model)
    ct, pet = add_ct(), add_ct("PET", (10, 12, 12), (1.2, 1.6, 4.0))
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    assert not user.ui.predictButton.enabled
    user.ui.secondVolumeSelector.setCurrentNode(pet)
    user.click("predictButton")
    user.wait()
    assert "is not on the grid of 'CT'" in module.texts("error")[0]

    import qt

    module.answers = [qt.QMessageBox.Cancel]
    user.click("alignButton")
    assert user.ui.secondVolumeSelector.currentNode() is pet
    module.answers = [qt.QMessageBox.No]  # resample only
    user.click("alignButton")
    user.wait()
    aligned = user.ui.secondVolumeSelector.currentNode()
    assert aligned.GetName() == "PET on CT"
    assert aligned.GetImageData().GetDimensions() == ct.GetImageData().GetDimensions()
    assert pet.GetScene() is not None

    user.click("predictButton")
    user.wait()
    assert len(module.texts("error")) == 1
    assert user.shared.logic.selection.volume_nodes == (ct, aligned)


@pytest.mark.quick(deleted=("segmentation", "scene"))
@pytest.mark.parametrize("deleted", ["segmentation", "volume", "scene"])
def test_what_is_deleted_during_a_run_ends_it_and_the_panel_goes_on(ready, ct, module, add_ct, deleted):
    ready.redraw(7, a_slice())
    ready.click("propagateButton")

    if deleted == "scene":
        module.scene.Clear(0)
    else:
        module.scene.RemoveNode(ready.selection.segmentation_node if deleted == "segmentation" else ct)
    ready.wait()

    left = [module.scene.GetNthNode(n) for n in range(module.scene.GetNumberOfNodes())]
    assert not [node.GetName() for node in left if node.GetName() == "ContextPropagationSegmentWriter"]
    assert module.texts("error") == []  # the user knows
    assert ready.shared.logic.session is None  # and what it cached is freed
    ready.predict(add_ct("another CT"))
    assert ready.mask().any()


@pytest.mark.quick(run=("check", "propagation"))
@pytest.mark.parametrize("run", ["check", "prediction", "propagation", "measurement"])
def test_a_volume_that_is_deleted_after_the_last_step_was_computed_ends_the_run_without_an_error(
    user, ct, bundle, module, add_ct, run
):
    """Between the end of the computation and the timer's next tick."""
    user.choose_model(bundle)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    if run in ("propagation", "measurement"):
        user.predict(ct)
        user.redraw(7, a_slice())
    worker = user.shared.runner._worker
    title = {"check": "Check", "prediction": "Predict", "propagation": "Propagate", "measurement": "Measure"}[run]
    drain = worker.drain

    def drain_after_the_deletion():
        if worker.job is not None and worker.job.operation.title.startswith(title) and not deleted:
            while not worker.has_computed:
                pass
            deleted.append(worker.job.operation.title)
            module.scene.RemoveNode(user.shared.logic.selection.segmentation_node if run == "measurement" else ct)
            return False  # this tick had looked before
        return drain()

    deleted = []
    worker.drain = drain_after_the_deletion
    buttons = {"propagation": "propagateButton", "measurement": "measureButton"}
    user.ui.measureSection.collapsed = False
    user.click(buttons.get(run, "predictButton"))
    user.wait()
    worker.drain = drain

    assert deleted
    assert module.texts("error") == []
    another = add_ct("another CT")
    user.ui.firstVolumeSelector.setCurrentNode(another)
    user.predict(another)
    assert user.mask().any()


def test_a_transform_without_planes_stops_neither_the_panel_nor_the_session(ready, ct, module):
    ready.redraw(7, a_slice())
    bent = module.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    bent.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())

    ct.SetAndObserveTransformNodeID(bent.GetID())
    ready.panel.update()
    assert ready.ui.suggestionLabel.text == ""
    assert "is not linear" in ready.ui.editsLabel.text
    assert not ready.ui.propagateButton.enabled
    ct.SetAndObserveTransformNodeID(None)
    ready.panel.update()

    assert "Suggested next" in ready.ui.suggestionLabel.text
    ready.click("propagateButton")
    ready.wait()
    assert len(ready.shared.logic.history) == 1


def test_the_choices_are_kept_in_the_scene(ready, ct, module, bundle):
    ready.panel.close()
    again = module.open_module("ContextPropagation")

    assert again.panel.inputs.volume_nodes == [ct]
    assert again.panel.inputs.model.path == bundle
    assert again.panel.inputs._ui.segmentSelector.currentSegmentID() == ready.selection.segment_id


def test_missing_packages_are_listed_and_installed_after_a_yes(module, ct, bundle, tmp_path):
    from packaging.requirements import Requirement

    from context_propagation.gui.module.package_section import PackageSection
    from context_propagation.gui.packages.installation_plan import MissingPackage
    from context_propagation.gui.packages.installation_record import InstallationRecord

    class Installer:
        """pip itself is run in test_dependencies."""

        wanted, looked = (MissingPackage(Requirement("nnunetv2>=2.5"), None),), 0

        def missing(self, *files):
            self.looked += 1
            return self.wanted

        def install(self, plan, progress):
            self.installed = [str(r) for step in plan.steps for r in step.requirements]
            Installer.wanted = ()
            return InstallationRecord({}, {})

    user, installer = PanelUser(module, [bundle]), Installer()
    user.panel.packages = PackageSection(user.ui, user.shared, user.panel.update, lambda: installer)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.panel.update()
    assert "nnunetv2>=2.5 (not installed)" in user.ui.packagesLabel.text
    assert not user.ui.predictButton.enabled
    looked = installer.looked
    user.panel.update()
    assert installer.looked == looked  # it takes a fraction of a second

    assert "Python packages are missing" in user.ui.stateLabel.text
    module.answers = [False]
    user.click("installButton")
    assert not hasattr(installer, "installed")

    module.answers = [True]
    user.click("installButton")
    assert installer.installed == ["nnunetv2>=2.5"]
    assert "All that is needed" in user.ui.packagesLabel.text


def test_an_empty_wheel_folder_is_refused_before_anything_is_asked(module, ct, bundle, tmp_path):
    from packaging.requirements import Requirement

    from context_propagation.gui.packages.installation_plan import MissingPackage

    user = PanelUser(module, [bundle])
    user.panel.packages._missing = (MissingPackage(Requirement("nnunetv2>=2.5"), None),)
    user.ui.wheelFolder.currentPath = str(tmp_path)

    user.panel.packages.install()

    assert "holds no wheel" in module.texts("error")[0]


def test_starting_slicer_imports_nothing_heavy_and_what_panel_and_effect_need_in_small_steps(tmp_path):
    code = f"""
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path[:0] = [{str(SHIPPED)!r}, {str(Path(__file__).parents[1] / "stand_in")!r}]
from pathlib import Path
from stand_in_slicer import Application
application = Application(Path({str(tmp_path)!r}))
application.start()
application.load_module({str(SHIPPED / "ContextPropagation.py")!r})
application.finish_startup()
from as_a_user import process_events
from context_propagation.gui.work.warm_up import STEPS
print("at once:", [name for name in STEPS if "gui" in name and name in sys.modules])
process_events(until=lambda: STEPS[-1] in sys.modules, at_most=30)
print("soon:", all(name in sys.modules for name in STEPS))
heavy = [name for name in ("torch", "SimpleITK", "nnunetv2", "monai", "scipy", "pandas") if name in sys.modules]
application.stop()
print("heavy:", heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-3:] == ["at once: []", "soon: True", "heavy: []"], done.stdout + done.stderr


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


def test_a_model_with_several_labels_is_listed_once_for_each(module, ct, tmp_path_factory):
    from nnunet_folders import write_nnunet_folder

    labels = {"background": 0, "GTV": 1, "node": 2}
    folder = write_nnunet_folder(tmp_path_factory.mktemp("two") / "model", labels=labels, features=(4, 8, 8))
    user = PanelUser(module, [folder])
    names = [user.ui.modelSelector.itemText(n) for n in range(user.ui.modelSelector.count)]
    assert names[-2:] == ["model: GTV", "model: node"]

    user.ui.modelSelector.setCurrentIndex(len(names) - 1)
    user.predict(ct)

    assert module.texts("error") == []
    assert user.shared.logic.loaded.model.target_name == "node"


def test_closing_the_scene_frees_what_the_model_made_of_the_image(ready, module):
    prepared = weakref.ref(ready.shared.logic.session.cache.prepared)
    module.scene.Clear(0)
    settle()
    gc.collect()
    assert prepared() is None


def test_a_loaded_scene_brings_its_choices_into_an_open_panel(ready, ct, module, bundle, tmp_path):
    segment_id = ready.selection.segment_id
    module.scene.SetURL(str(tmp_path / "scene.mrml"))
    module.scene.Commit()
    image = ct.GetImageData()

    module.scene.Clear(0)
    settle()
    assert ready.ui.firstVolumeSelector.currentNode() is None
    module.scene.Import()
    settle()

    again = module.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    again.SetAndObserveImageData(image)
    assert ready.ui.firstVolumeSelector.currentNode() is again
    assert ready.panel.inputs.model.path == bundle
    assert ready.panel.inputs._parameters.segmentID == segment_id


def test_a_scene_that_is_added_to_an_open_one_brings_its_choices_although_the_selectors_lose_theirs(
    ready, ct, module, bundle, tmp_path
):
    segment_id, other = ready.selection.segment_id, ready.selection.segmentation_node
    module.scene.SetURL(str(tmp_path / "scene.mrml"))
    module.scene.Commit()

    module.scene.Import()  # as Slicer does by default: what is there stays
    settle()

    kept = ready.panel.inputs._parameters
    assert kept.firstVolume is not None
    assert kept.segmentID == segment_id
    assert ready.ui.firstVolumeSelector.currentNode() is kept.firstVolume
    assert ready.panel.inputs.model.path == bundle
    assert module.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2
    assert other.GetScene() is not None


def test_the_next_case_after_the_scene_was_closed_gets_a_segment_of_its_own(ready, module, add_ct):
    module.scene.Clear(0)
    settle()

    ready.predict(add_ct("CT 2"))

    assert module.texts("error") == []
    assert ready.selection.volume_nodes[0].GetName() == "CT 2"
    assert ready.mask().any()
    assert module.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_an_empty_segmentation_that_is_chosen_gets_a_segment_of_its_own(ready, module, ct):
    from context_propagation.mrml.nodes.segments import add_segmentation

    empty = add_segmentation(module.scene, ct, "empty")
    ready.ui.segmentSelector.setCurrentNode(empty)

    ready.predict(ct)

    assert module.texts("error") == []
    assert ready.selection.segmentation_node is empty
    assert ready.mask().any()


def test_the_wheel_folder_is_browsed_for_as_a_folder(user):
    import ctk

    assert not user.ui.wheelFolder.filters & ctk.ctkPathLineEdit.Files


def test_after_a_reload_the_panel_follows_the_drawing_at_once(module):
    opened = module.open_module("ContextPropagation")
    opened.panel.close()
    started = []
    opened.parent._own.__dict__["isEntered"] = True
    opened.enter = lambda: started.append(True)

    opened.setup()

    assert started == [True]


def test_a_panel_without_slicers_module_widget_around_it_is_set_up(module):
    """As a developer makes one in the console: its parent is a plain `qMRMLWidget`, which cannot be entered."""
    widget = sys.modules["ContextPropagation"].ContextPropagationWidget()

    assert widget.panel is not None
    widget.cleanup()


@pytest.fixture
def coarse_phantom(monkeypatch):
    """The shipped phantom in voxels of 6 mm, which are made in a tenth of the time."""
    from context_propagation.core.phantom import unseen_phantoms
    from context_propagation.mrml import phantom_scene

    coarse = replace(unseen_phantoms.UNSEEN, spacing_ijk_mm=(6.0, 6.0, 6.0))
    for module in (unseen_phantoms, phantom_scene):  # the second has a name of its own for it
        monkeypatch.setattr(module, "UNSEEN", coarse)


@pytest.mark.usefixtures("coarse_phantom")
def test_the_phantom_is_registered_as_sample_data_once_and_made_when_it_is_asked_for(module):
    sys.modules["ContextPropagation"].register_sample_case()

    (source,) = module.sample_data
    assert sys.modules["SampleData"].SampleDataLogic.sampleDataSourcesByCategory("Context Propagation") == [source]
    assert source.sampleName == "NasopharynxPhantom"
    assert Path(source.thumbnailFileName).is_file()
    volume, truth = source.customDownloader(source)  # as its button does
    assert volume.GetScene() is truth.GetScene() is module.scene
    assert module.status == "'Phantom CT' and 'Phantom truth' were added."


@pytest.mark.usefixtures("coarse_phantom")
def test_a_script_gets_the_same_phantom_by_name_each_time_and_nothing_is_downloaded(module):
    from context_propagation.mrml.nodes.segments import segment_mask, segment_name, segment_named
    from context_propagation.mrml.nodes.volume_nodes import deferred_source_volume

    logic = sys.modules["SampleData"].SampleDataLogic()
    of_button = module.sample_data[0].customDownloader(module.sample_data[0])
    (Path(module.scene.GetCacheManager().GetRemoteCacheDirectory()) / "NasopharynxPhantom.nrrd").write_text("stale")

    for of_script in (logic.downloadSamples("NasopharynxPhantom"), logic.downloadSamples("NasopharynxPhantom")):
        (ct, truth), (other_ct, other_truth) = of_script, of_button
        voxels, other_voxels = (deferred_source_volume([node])() for node in (ct, other_ct))
        assert np.array_equal(voxels.channels, other_voxels.channels)
        assert np.allclose(voxels.ijk_to_lps, other_voxels.ijk_to_lps)
        segment, other = segment_named(truth, None), segment_named(other_truth, None)
        assert segment_name(truth, segment) == segment_name(other_truth, other) == "GTV, truth"
        assert np.array_equal(segment_mask(truth, segment, ct), segment_mask(other_truth, other, other_ct))
    assert logic.downloadSample("NasopharynxPhantom").GetName() == "Phantom CT"
    assert logic.sourceForSampleName("NasopharynxPhantom") is module.sample_data[0]


def test_a_phantom_that_cannot_be_made_leaves_no_word_in_the_status_bar(module, monkeypatch):
    from context_propagation.gui.module import sample_data

    def fail():
        raise MemoryError

    monkeypatch.setattr(sample_data, "_generate", fail)
    with pytest.raises(MemoryError):
        sample_data.add_sample_case()

    assert module.status == ""


@pytest.fixture
def pet_in_activity(module, tmp_path, monkeypatch):
    """A PET as Slicer's DICOM module loads it in Bq/ml, and the database that knows its files."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import PositronEmissionTomographyImageStorage

    from context_propagation.files.image_files import read_source_volume
    from context_propagation.mrml.nodes.volume_nodes import add_volume
    from dicom_files import made, write_ct_series

    voxels = np.random.default_rng(5).integers(0, 20_000, SHAPE).astype(np.int16)
    about = {"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT", "Units": "BQML"}
    about |= {"CorrectedImage": ["DECY"], "DecayCorrection": "ADMIN", "PatientWeight": "80"}
    dose = made(RadionuclideTotalDose="400000000")
    series = write_ct_series(tmp_path / "pet", voxels, RadiopharmaceuticalInformationSequence=[dose], **about)
    files = {pydicom.dcmread(file).SOPInstanceUID: str(file) for file in series.folder.iterdir()}
    values = {"0008,0060": "PT", "0054,1001": "BQML"}
    database = SimpleNamespace(
        fileForInstance=lambda uid: files.get(uid, ""), fileValue=lambda file, tag: values[tag] if file else ""
    )
    monkeypatch.setattr(sys.modules["slicer"], "dicomDatabase", database, raising=False)
    node = add_volume(module.scene, read_source_volume([series.folder]), "PET")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    return node, voxels


def test_suv_of_a_pet_in_activity_is_offered_and_made_from_its_files(module, pet_model, pet_in_activity, add_ct):
    from context_propagation.mrml.nodes.volume_nodes import volume_array

    user, (pet, voxels) = PanelUser(module, [pet_model]), pet_in_activity
    user.choose_model(pet_model)
    user.ui.firstVolumeSelector.setCurrentNode(add_ct())
    assert not user.ui.suvButton.isVisible()
    user.ui.secondVolumeSelector.setCurrentNode(pet)
    assert user.ui.suvButton.text == "Make SUV of 'PET'"

    user.click("suvButton")
    user.wait()

    made = user.ui.secondVolumeSelector.currentNode()
    assert made.GetName() == "PET SUV"
    assert np.allclose(volume_array(made), voxels * (80_000 / 400e6), rtol=1e-6)
    assert np.array_equal(volume_array(pet), voxels)
    assert made.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"
    assert not user.ui.suvButton.isVisible()  # nothing more to convert


def test_a_pet_without_what_suv_is_made_of_is_refused_in_words_and_stays_chosen(
    module, pet_model, pet_in_activity, add_ct
):
    import pydicom

    user, (pet, _) = PanelUser(module, [pet_model]), pet_in_activity
    for uid in pet.GetAttribute("DICOM.instanceUIDs").split():
        file = sys.modules["slicer"].dicomDatabase.fileForInstance(uid)
        dataset = pydicom.dcmread(file)
        del dataset.PatientWeight
        dataset.save_as(file)
    user.choose_model(pet_model)
    user.ui.secondVolumeSelector.setCurrentNode(pet)

    user.click("suvButton")
    user.wait()

    assert "Volume 'PET' cannot become SUV: it has no PatientWeight" in user.application.messages[-1].text
    assert user.ui.secondVolumeSelector.currentNode() is pet


def test_where_the_pet_is_deleted_the_ct_is_not_read_in_its_place(module, pet_model, add_ct):
    user = PanelUser(module, [pet_model])
    user.choose_model(pet_model)
    ct, pet = add_ct(), add_ct("PET")
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.ui.secondVolumeSelector.setCurrentNode(pet)

    module.scene.RemoveNode(pet)
    assert user.ui.secondVolumeSelector.currentNode() is ct  # as Slicer's selector does
    user.click("predictButton")
    user.wait()

    assert "'CT' is selected twice" in module.texts("error")[0]


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


def sentence(user):
    settle()
    return user.ui.stateLabel.text


def test_before_anything_is_chosen_the_state_line_says_what_to_choose(user, add_ct):
    assert sentence(user) == "Choose a model, and a volume for each of its channels."
    add_ct("CT")
    add_ct("CT 2")
    user.ui.firstVolumeSelector.setCurrentNode(user.application.scene.GetFirstNodeByName("CT"))
    assert sentence(user) == "Press Predict."


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
    assert "filled with the prediction" in sentence(ready)
    node, segment_id = ready.selection.segmentation_node, ready.selection.segment_id

    if event == "scene closed":
        module.scene.Clear(0)
    elif event == "segment removed":
        node.GetSegmentation().RemoveSegment(segment_id)
    else:
        module.scene.RemoveNode(ct if event == "volume removed" else node)

    said = sentence(ready)
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

    assert sentence(ready).endswith("on 'CT' is being worked on. Press Predict to work on what is chosen above.")
    assert (ready.ui.deviceInUse.text == "") == (chosen in ("model", "device", "orientation"))
    says_nothing = ready.ui.memoryLabel.text == "shown when you press Predict"
    assert says_nothing == (chosen != "segment")


def test_a_ct_that_is_stored_upside_down_is_segmented_alike_once_the_orientation_is_said(user, base, module, add_ct):
    from context_propagation.core.image.axis_map import axes_towards, turned_volume
    from context_propagation.mrml.nodes.volume_nodes import add_volume, deferred_source_volume

    ct = add_ct()
    volume = deferred_source_volume([ct])()
    flipped = add_volume(module.scene, turned_volume(volume, axes_towards(volume, "LPI")), "upside down")
    user.choose_model(base)
    masks = {}
    for said in ("as stored", "LPS"):
        user.ui.orientationSelector.setCurrentText(said)
        for node, turned in ((ct, slice(None)), (flipped, slice(None, None, -1))):
            user.ui.segmentSelector.setCurrentNode(None)
            user.predict(node)
            masks[said, node] = user.mask()[turned]

    assert np.array_equal(masks["LPS", ct], masks["as stored", ct])  # which lies so
    assert np.array_equal(masks["LPS", flipped], masks["LPS", ct])
    assert masks["as stored", flipped].sum() != masks["as stored", ct].sum()


def test_the_orientation_is_kept_with_the_model_and_used_by_the_effect_too(user, bundle, base):
    from context_propagation.gui.model_list import ModelList

    user.choose_model(base)
    user.ui.orientationSelector.setCurrentText("RAS")
    user.choose_model(bundle)
    assert user.ui.orientationSelector.currentText == "as stored"
    user.choose_model(base)
    assert user.ui.orientationSelector.currentText == "RAS"

    said = {model.path: model.orientation for model in ModelList().models()}
    assert (said[base], said[bundle]) == ("RAS", None)
    user.ui.orientationSelector.setCurrentText("as stored")
    assert {model.orientation for model in ModelList().models()} == {None}


def test_what_is_told_in_a_turn_of_its_own_is_not_told_after_something_newer(ready):
    ready.panel.edits._say_soon("older")
    ready.panel.edits._say("newer")

    process_events(0.1)

    assert ready.ui.stateLabel.text == "newer"


def test_far_slices_follow_without_training_unless_the_user_switches_that_off_for_a_model(user, bundle, base, ct):
    from context_propagation.gui.model_list import ModelList

    user.choose_model(bundle)
    assert not user.ui.generalFarBox.enabled, "it has a fusion network of its own"
    user.choose_model(base)
    assert (user.ui.generalFarBox.enabled, user.ui.generalFarBox.checked) == (True, True)
    assert "edits reach: whole volume (general)" in user.ui.modelDescription.text
    assert user.ui.reachLabel.text == ""
    user.ui.generalFarBox.checked = False
    assert "edits reach: near slices only" in user.ui.modelDescription.text
    assert user.ui.reachLabel.text.startswith("Near slices only")
    user.predict(ct)
    user.ui.generalFarBox.checked = True
    assert "Press Predict to work on what is chosen above." in sentence(user)

    user.ui.segmentSelector.setCurrentNode(None)
    user.predict(ct)
    user.redraw(7, a_slice())
    user.click("propagateButton")
    user.wait()

    assert "whole volume (general)" in user.ui.stateLabel.text
    said = {model.path: model.general_far for model in ModelList().models()}
    assert said[base]
    user.ui.generalFarBox.checked = False
    said = {model.path: model.general_far for model in ModelList().models()}
    assert (said[base], said[bundle]) == (False, True), "which the effect's list shows too"


def test_another_orientation_than_the_models_own_is_refused_in_words(user, bundle, ct):
    user.ui.orientationSelector.setCurrentText("LPS")
    user.predict(ct)
    assert "leave the orientation out (in Slicer: as stored)" in user.application.messages[-1].text


def test_the_state_line_follows_drawing_undo_and_redo_in_the_segment_editor(ready):
    editor = ready.redraw(7, a_slice())
    assert sentence(ready) == "Press Propagate."
    editor.undo()
    editor.undo()
    assert sentence(ready) == "Ready: redraw a slice in the Segment Editor."
    editor.redo()
    editor.redo()
    assert sentence(ready) == "Press Propagate."


def test_what_a_propagation_did_is_said_until_the_segment_is_another(ready):
    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()
    assert "voxels changed" in sentence(ready)
    ready.panel.update()
    assert "voxels changed" in sentence(ready)

    ready.click("undoButton")
    assert sentence(ready) == "Undone; what was drawn stays."
    ready.redraw(9, a_slice())
    assert sentence(ready) == "Press Propagate."


def test_a_run_that_was_cancelled_or_failed_is_said_and_not_what_was_before(ready, monkeypatch):
    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.click("cancelButton")
    ready.wait()
    assert sentence(ready) == "Propagate: cancelled; the segment is as it was."

    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(ready.shared.logic.session, "preview", fail)
    ready.click("propagateButton")
    ready.wait()
    assert sentence(ready) == "Propagate: stopped by an error."
    ready.redraw(8, a_slice())
    assert sentence(ready) == "Press Propagate."


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
    assert sentence(ready) == "Press Propagate."


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


@pytest.mark.usefixtures("coarse_phantom")
def test_the_sample_case_is_added_and_chosen_with_one_click(user, module):
    user.click("sampleButton")
    user.wait()

    (ct,) = user.panel.inputs.volume_nodes
    assert ct.GetName() == "Phantom CT"
    assert sentence(user) == "Press Predict."
    assert module.status == "'Phantom CT' and 'Phantom truth' were added."
    assert not user.ui.sampleButton.visible


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


NARROW = 360
"""Pixels: what a panel of 400 leaves beside a scroll bar."""


def narrowest(widget):
    settle()
    widget._qt.layout().activate()
    return widget._qt.minimumSizeHint().width()


def test_the_panel_fits_400_pixels_whatever_its_texts_say(module, pet_model, add_ct, tmp_path):
    import slicer

    folder = tmp_path / "a_folder_with_a_rather_long_name_such_as_nnUNetTrainer__nnUNetResEncUNetLPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    user = PanelUser(module, [pet_model])
    import qt

    qt.QSettings().setValue("ContextPropagation/ModelFolders", [str(pet_model), str(folder)])
    user.panel.inputs._fill_models()
    long = "20260821 CT THORAX ABDOMEN with contrast, reconstructed with an iterative kernel "
    ct, pet = add_ct(long), add_ct(f"{long} PET")
    user.choose_model(pet_model)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.ui.secondVolumeSelector.setCurrentNode(pet)
    for section in ("measureSection", "installSection"):
        getattr(user.ui, section).collapsed = False
    widget = slicer.modules.contextpropagation.widgetRepresentation()
    assert narrowest(widget) <= NARROW

    user.click("predictButton")
    assert narrowest(widget) <= NARROW  # while something runs
    user.wait()
    user.redraw(7, np.roll(user.mask()[7], 2, 0))
    user.click("propagateButton")
    user.wait()
    user.ui.referenceSelector.setCurrentNode(user.selection.segmentation_node)
    user.click("measureButton")
    user.wait()
    assert narrowest(widget) <= NARROW

    user.choose_model(folder)
    assert "choose one that holds" in user.ui.modelDescription.text.replace("\u200b", "")
    user.ui.packagesLabel.text = f"Step 1 of 2, PyTorch: Downloading {folder.name}.whl"
    assert narrowest(widget) <= NARROW


def test_every_text_of_the_panel_can_be_read_at_400_pixels(ready):
    import slicer
    from PySide6 import QtWidgets

    real = slicer.modules.contextpropagation.widgetRepresentation()._qt
    for section in ("measureSection", "installSection"):
        getattr(ready.ui, section).collapsed = False
    settle()
    real.resize(NARROW, real.layout().totalHeightForWidth(NARROW))
    settle()

    buttons = [w for w in real.findChildren(QtWidgets.QPushButton) if w.isVisible()]
    cut = [w.text() for w in buttons if w.width() < w.minimumSizeHint().width()]
    labels = [w for w in real.findChildren(QtWidgets.QLabel) if w.isVisible() and w.text()]
    cut += [w.text() for w in labels if not w.wordWrap() and w.width() < w.sizeHint().width()]
    cut += [w.text() for w in labels if w.wordWrap() and w.height() < w.heightForWidth(w.width())]
    assert real.width() == NARROW
    assert cut == []


def test_a_picture_of_the_panel_is_written_for_people(ready, tmp_path):
    import slicer

    ready.redraw(7, a_slice())
    screenshot(slicer.modules.contextpropagation.widgetRepresentation(), tmp_path / "panel.png")

    assert (tmp_path / "panel.png").stat().st_size > 10_000


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


def drawn_wide(user, volume):
    """Predict an empty segment, draw its largest slice a voxel wider, propagate; the first contours."""
    from scipy.ndimage import binary_dilation

    user.predict(volume)
    first = user.mask()
    index = int(first.sum((1, 2)).argmax())
    user.redraw(index, binary_dilation(first[index]))
    user.click("propagateButton")
    user.wait()
    return first


def test_earlier_cases_count_only_where_the_box_is_ticked(ready):
    from context_propagation.gui.work.profile_choice import profile_file

    assert not ready.ui.profileBox.checked
    ready.redraw(3, a_slice())
    ready.click("propagateButton")
    ready.wait()
    assert not profile_file().exists()
    assert not ready.ui.forgetProfileButton.visible


def test_the_next_case_begins_where_the_last_one_was_drawn_and_one_click_takes_it_back(user, ct, add_ct, module):
    from context_propagation.gui.work.profile_choice import profile_file

    user.ui.profileBox.setChecked(True)
    own = drawn_wide(user, ct)
    assert profile_file().exists()
    assert "Cases with this model: 1." in user.ui.profileLabel.text
    assert not user.ui.ownContoursButton.visible

    module.scene.Clear()
    settle()
    user.predict(add_ct())  # the same image: the first contours are moved, and only they
    moved = user.mask()
    assert moved.sum() > own.sum()
    assert "were moved +" in user.ui.stateLabel.text
    assert user.ui.ownContoursButton.visible

    user.click("ownContoursButton")
    assert np.array_equal(user.mask(), own)
    assert not user.ui.ownContoursButton.visible
    assert user.ui.stateLabel.text == "The model's own contours are back."

    user.click("forgetProfileButton")
    assert not profile_file().exists()
    user.ui.profileBox.setChecked(False)
    assert user.ui.profileLabel.text == ""


def test_moved_contours_are_not_taken_back_over_a_drawing(user, ct, add_ct, module):
    from context_propagation.core.errors import UserInputError

    user.ui.profileBox.setChecked(True)
    drawn_wide(user, ct)
    module.scene.Clear()
    settle()
    user.predict(add_ct())
    user.redraw(3, a_slice())
    drawn = user.mask()
    assert not user.ui.ownContoursButton.visible
    with pytest.raises(UserInputError, match="Something was drawn since the prediction"):
        user.shared.logic.use_own_contours()
    assert np.array_equal(user.mask(), drawn)
    user.click("forgetProfileButton")
    user.ui.profileBox.setChecked(False)


def copied(user):
    import qt

    qt.QApplication.clipboard().setText("")
    user.click("problemReportButton")
    return qt.QApplication.clipboard().text()


def test_a_problem_report_says_what_a_helper_asks_before_a_model_is_loaded(user):
    report = copied(user)
    assert "python 3." in report
    assert "memory: " in report
    assert "model: none is loaded" in report
    assert "image: none is cached" in report


def test_a_problem_report_has_the_last_messages_and_no_names_or_paths(user, ct, bundle, monkeypatch):
    ct.SetName("Roe_Jane_1950")
    user.predict(ct)
    node = user.selection.segmentation_node
    node.SetName("Plan of Roe")
    node.GetSegmentation().GetSegment(user.selection.segment_id).SetName("GTV Roe left")
    user.redraw(7, a_slice())
    user.click("propagateButton")
    user.wait()
    user.redraw(7, a_slice()[::-1].T ^ a_slice())
    user.click("undoButton")  # refused, and the sentence names the segmentation

    report = copied(user)

    assert "model: nnU-Net, " in report
    assert "whole volume (trained for this model)" in report
    assert "image: 16 x 16 x " in report
    assert "edits: 1 propagated" in report
    assert "voxels changed" in report
    assert "'…' was edited since the last propagation" in report
    for name in ("Roe", "Jane", "GTV", bundle.name, "/", "\\"):
        assert name not in report.replace("nnU-Net", ""), name


@pytest.fixture
def crashed(ready, module):
    """One slice was propagated, one confirmed and one drawn when Slicer died; its journal, the segment as it was."""
    from dead_slicer import leave_behind

    ready.redraw(7, a_slice())
    ready.click("propagateButton")
    ready.wait()
    ready.shared.logic.confirm_slices([10], "axial")
    ready.redraw(4, a_slice())
    left = leave_behind(ready.shared.logic)
    mask = ready.mask()
    module.scene.Clear()
    settle()
    return SimpleNamespace(file=left, mask=mask)


def test_what_was_drawn_before_a_crash_comes_back_with_one_yes(crashed, user, add_ct, module):
    user.panel.update()
    assert "Segments from before Slicer stopped: 1, the last of 20" in user.ui.journalLabel.text
    module.answers = [True]

    user.predict(add_ct())

    (question,) = module.texts("question")
    assert "Slicer stopped before the work of 20" in question
    assert "(drawn slices: 2, confirmed: 1). Bring it back?" in question
    assert np.array_equal(user.mask(), crashed.mask)
    assert user.rows() == [("axial", "4", "redrawn"), ("axial", "7", "propagated"), ("axial", "10", "confirmed")]
    assert user.ui.stateLabel.text.startswith("Brought back: the segment is as it was at 20")
    assert not crashed.file.exists()
    assert user.ui.journalLabel.text == ""
    assert not user.ui.forgetJournalButton.visible


def test_no_leaves_what_was_kept_where_it_is_and_is_not_asked_again(crashed, user, add_ct, module):
    module.answers = [False]
    user.predict(add_ct())
    assert not np.array_equal(user.mask(), crashed.mask)
    module.answers = []

    user.click("predictButton")
    user.wait()

    assert len(module.texts("question")) == 1
    assert crashed.file.exists()
    module.answers = [False]
    user.ui.segmentSelector.setCurrentNode(None)  # another, new segment: asked again
    user.click("predictButton")
    user.wait()
    assert len(module.texts("question")) == 2
    user.click("forgetJournalButton")
    assert not crashed.file.exists()
    assert not user.ui.forgetJournalButton.visible


def test_a_segment_that_was_drawn_otherwise_is_left_alone_which_is_said(crashed, user, add_ct, module):
    from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation

    ct = add_ct()
    stranger = np.zeros(SHAPE, bool)
    stranger[2:9, 3:6, 3:6] = True
    segmentation = add_segmentation(module.scene, ct, "Clinic")
    add_segment_from_mask(segmentation, stranger, ct, "GTV")
    user.ui.segmentSelector.setCurrentNode(segmentation)
    module.answers = [True]

    user.predict(ct)

    assert "is left alone: to bring the work back, choose a new, empty segment" in module.texts("question")[0]
    assert np.array_equal(user.mask(), stranger)
    assert crashed.file.exists()


def test_with_another_model_the_segment_comes_back_and_its_slices_are_kept(crashed, user, base, add_ct, module):
    user.choose_model(base)
    module.answers = [True]

    user.predict(add_ct())

    assert "and this model goes on from it" in module.texts("question")[0]
    assert np.array_equal(user.mask(), crashed.mask)
    assert user.rows() == [("axial", "4", "kept"), ("axial", "7", "kept"), ("axial", "10", "kept")]


def test_what_is_drawn_in_the_segment_editor_is_kept_by_itself_and_gone_at_a_good_end(ready, module, monkeypatch):
    from context_propagation.gui.work.journal_choice import journal_folder
    from context_propagation.gui.work.shared import release

    ready.panel.exit()  # the Segment Editor is shown
    ready.shared.keeper._timer.interval = 1
    ready.redraw(7, a_slice())
    process_events(until=lambda: list(journal_folder().glob("*.json")), at_most=10)
    assert len(list(journal_folder().glob("*.json"))) == 1

    release()

    assert not journal_folder().exists()


def test_unticked_nothing_is_kept(ready):
    from context_propagation.gui.work.journal_choice import journal_folder

    ready.redraw(7, a_slice())
    ready.shared.logic.keep_drawn()
    assert len(list(journal_folder().glob("*.json"))) == 1

    ready.ui.journalBox.setChecked(False)
    ready.redraw(4, a_slice())
    ready.shared.logic.keep_drawn()

    assert not journal_folder().exists()
    ready.ui.journalBox.setChecked(True)
    ready.shared.logic.keep_drawn()
    assert len(list(journal_folder().glob("*.json"))) == 1
