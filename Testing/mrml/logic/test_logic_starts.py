"""What a start checks, selects, closes and frees."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.ready_image import forget_image
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from loaded_models import quick_model
from nnunet_folders import write_nnunet_folder

SHAPE = (16, 16, 16)


def test_another_selection_closes_the_session_and_leaves_nothing_of_it_in_the_scene_but_its_record(ready, case, target):
    names = case.node_names
    other = case.add(target, name="other")

    ready.select([case.volume], case.segmentation, "other")

    assert ready.selection.segment_id == other
    assert ready.propagation is None
    assert case.node_names == names
    with pytest.raises(UserInputError, match="predict first"):
        ready.propagate()


def test_the_same_selection_keeps_the_session(ready, case):
    propagation = ready.propagation
    ready.select([case.volume], case.segmentation, "GTV")

    assert ready.propagation is propagation


def test_several_segments_need_a_name_and_the_error_lists_them(logic, case, target):
    case.add(target, name="GTV")
    case.add(target, name="cord")

    with pytest.raises(UserInputError, match="2 segments; name one of: 'GTV', 'cord'"):
        logic.select([case.volume], case.segmentation)
    with pytest.raises(UserInputError, match="0 segments named 'gtv'"):
        logic.select([case.volume], case.segmentation, "gtv")


def test_what_was_deleted_is_named(ready, case):
    case.scene.RemoveNode(case.segmentation)

    with pytest.raises(UserInputError, match="'Segmentation' was deleted"):
        ready.predict()


def test_each_step_says_what_must_come_before_it(logic, case, base):
    with pytest.raises(UserInputError, match="No volume and segment are selected"):
        logic.measure()
    logic.select([case.volume])
    with pytest.raises(UserInputError, match="No model is loaded"):
        logic.predict()
    logic.load_model(base, device="cpu")
    with pytest.raises(UserInputError, match="predict first"):
        logic.propagate()
    with pytest.raises(UserInputError, match="select one volume per channel"):
        logic.select([])
    with pytest.raises(UserInputError, match="'CT' is selected twice; select another volume per channel"):
        logic.select([case.volume, case.volume])


def test_a_failed_prediction_leaves_no_node_behind(logic, case, base):
    logic.load_model(base, device="cpu")
    selection = logic.select([case.volume])
    names = case.node_names
    operation = logic.predict_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    painted = np.zeros(SHAPE, bool)
    painted[3, 3, 3] = True
    case.segmentation = selection.segmentation_node
    case.paint(selection.segment_id, painted)

    with pytest.raises(UserInputError, match="changed during the prediction"):
        operation.finish(computed)
    assert case.node_names == names
    assert logic.session is None
    assert np.array_equal(logic.segment_mask(), painted)


def test_closing_the_scene_is_survived(ready, case):
    case.scene.Clear(0)

    with pytest.raises(UserInputError, match="was deleted"):
        ready.propagate()
    ready.close()


def test_a_refused_prediction_keeps_the_session_and_leaves_no_node(ready, case, target):
    outside = case.add_on_grid(np.eye(4), (2, 2, 2), lambda kji: np.ones(8, bool), name="outside", start=(40, 40, 40))
    ready.close_session()
    before = case.node_names
    ready.select([case.volume], case.segmentation, outside)

    for _ in range(2):
        with pytest.raises(UserInputError, match="covers no voxel"):
            ready.predict_operation()
    assert case.node_names == before
    assert ready.session is None


def test_nothing_else_is_selected_or_started_while_an_image_is_cached(ready, case, target):
    other = case.add(target, name="other")
    operation = ready.predict_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)

    with pytest.raises(UserInputError, match="A computation is running"):
        ready.select([case.volume], case.segmentation, other)
    with pytest.raises(UserInputError, match="A computation is running"):
        ready.predict_operation()
    operation.finish(computed)
    assert ready.propagation is not None


def test_a_session_that_was_closed_while_its_image_was_cached_does_not_come_alive(ready):
    operation = ready.predict_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    ready.close_session()

    with pytest.raises(UserInputError, match="closed while its image was cached"):
        operation.finish(computed)

    assert ready.session is None


def test_what_another_model_prepared_is_not_used(ready, case, bundle, tmp_path):
    other = write_nnunet_folder(tmp_path / "other", spacing=(1.5, 2.0, 1.6), features=(4, 8, 8))
    check = ready.check()
    ready.load_model(other, device="cpu")
    ready.select([case.volume], case.segmentation, case.add(np.zeros(SHAPE, bool), "empty"))
    ready.predict(check=check)
    mixed = ready.segment_mask()
    ready.select([case.volume], case.segmentation, case.add(np.zeros(SHAPE, bool), "alone"))
    ready.predict()

    assert np.array_equal(mixed, ready.segment_mask())


def test_running_out_of_memory_while_preparing_is_one_sentence(ready, bundle, monkeypatch):
    def prepare(volume):
        raise MemoryError

    forget_image(ready.loaded.model)
    ready.loaded = quick_model(bundle)  # which was not given the image yet
    monkeypatch.setattr(ready.loaded.model, "prepare", prepare)

    with pytest.raises(UserInputError, match="Preparing the image needs more memory than there is"):
        ready.check()


def test_what_the_session_in_use_holds_counts_as_free_for_the_next(ready, monkeypatch):
    monkeypatch.setattr("context_propagation.core.session.memory_forecast.available_bytes", lambda device: 2**30)
    held = ready.session.cache.cached_bytes()

    assert ready.check().memory.usable_bytes == 2**30 + int(0.8 * held)


def test_the_need_of_the_next_start_is_told_before_it(make_case, bundle, draw_ellipsoid):
    case = make_case(shape=(16, 60, 60))
    segment_id = case.add(draw_ellipsoid(case.shape, (8, 10, 10), (3, 3, 3)))
    logic = ContextPropagationLogic(case.scene)
    logic.load_model(bundle, device="cpu")
    logic.select([case.volume], case.segmentation, segment_id)
    small = logic.check()
    logic.predict(check=small)
    case.paint(segment_id, np.ones(case.shape, bool))

    check = logic.check()

    assert logic.memory == check.memory
    assert check.memory.kept_bytes > small.memory.kept_bytes
    logic.close()


def test_a_check_waits_for_a_preview_to_be_applied_or_discarded(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    pending = ready.propagate_operation().run()

    with pytest.raises(UserInputError, match="finish, cancel or discard"):
        ready.check()
    ready.discard(pending)
    ready.check()


def test_the_check_foresees_the_memory_that_the_session_then_plans(ready, case):
    check = ready.check()
    ready.predict(check=check)

    plan = ready.session.plan
    assert (check.memory.kept_bytes, check.memory.peak_bytes) == (plan.cached_bytes, plan.peak_bytes)
    assert check.memory.target_known
    assert check.warnings == ()


def test_before_a_prediction_the_check_says_that_it_cannot_know_the_target(logic, case, base):
    logic.load_model(base, device="cpu")
    logic.select([case.volume])

    check = logic.check()
    assert not check.memory.target_known
    logic.predict(check=check)

    assert logic.memory.target_known
    assert logic.memory.kept_bytes == logic.session.plan.cached_bytes


def test_what_does_not_fit_is_refused_by_the_check_and_the_session_stays(ready, case, redrawn, monkeypatch):
    monkeypatch.setattr("context_propagation.core.session.memory_forecast.available_bytes", lambda device: -(2**40))

    with pytest.raises(UserInputError, match="Caching the target needs"):
        ready.check()

    ready.edit_slice(7, redrawn, case.plane())
    assert ready.propagate().report.written > 0


def test_the_image_is_not_preprocessed_again_unless_its_voxels_or_its_place_changed(ready, case, monkeypatch):
    model, prepared = ready.loaded.model, []
    prepare = type(model).prepare
    monkeypatch.setattr(model, "prepare", lambda volume: prepared.append(volume) or prepare(model, volume))
    check = ready.check()
    ready.predict(check=check)
    assert prepared == []  # it was, by the start before
    case.volume.SetOrigin(100, 0, 0)
    case.segmentation.GetSegmentation().RemoveAllSegments()
    ready.select([case.volume], case.segmentation, case.add(case.target))
    ready.predict(check=check)
    assert len(prepared) == 1
    check = ready.check()
    case.volume.GetImageData().Modified()
    ready.predict(check=check)
    assert len(prepared) == 1
    check = ready.check()
    case.volume.GetImageData().SetScalarComponentFromDouble(1, 1, 1, 0, 50.0)
    case.volume.GetImageData().Modified()
    ready.predict(check=check)
    assert len(prepared) == 2


def test_a_volume_that_loses_its_voxels_stops_no_other_start(ready, case, make_case, target):
    other = make_case(shape=SHAPE, scene=case.scene)
    case.volume.SetAndObserveImageData(None)  # as a reload that failed leaves it

    ready.select([other.volume], other.segmentation, other.add(target))
    ready.predict()

    assert ready.propagation is not None


def test_closing_after_the_scene_takes_no_id_from_a_node_that_came_since(ready, case):
    case.scene.Clear(0)
    newer = case.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")

    ready.close()

    assert case.scene.GetNodeByID(newer.GetID()) is newer


def test_a_preview_is_not_lost_to_another_selection_or_model(ready, case, bundle, target, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    pending = ready.propagate_operation().run()
    case.add(target, name="other")

    for act in (
        lambda: ready.select([case.volume], case.segmentation, "other"),
        lambda: ready.load_model(bundle),
        lambda: ready.use_writer(None) or ready.predict(),
    ):
        with pytest.raises(UserInputError, match="finish, cancel or discard"):
            act()
    assert ready.apply(pending).report.written > 0


def test_making_operations_closes_no_session_and_one_made_before_a_propagation_is_refused(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    session, operation = ready.session, ready.predict_operation()
    ready.check_operation()

    assert ready.session is session
    ready.propagate()
    with pytest.raises(UserInputError, match="changed meanwhile; press Predict or Start again"):
        operation.run()
    assert ready.session is session
    ready.undo()
