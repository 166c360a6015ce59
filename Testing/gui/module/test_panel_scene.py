"""Scenes that are loaded and closed, and nodes that are deleted, under an open panel."""

import gc
import weakref

import pytest
import vtk

from as_a_user import settle
from panel_user import a_slice


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
