"""The logic that module, effect and console share, on a real scene with a real nnU-Net folder in a bundle."""

import numpy as np
import pytest
import slicer

from bundles import write_bundle
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.image.own_grid import OwnGrid
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.ready_image import forget_image
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.labelmap_images import labelmap_from_image
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segmentation_storage import load_segmentation
from context_propagation.mrml.nodes.world_matrices import to_vtk
from context_propagation.mrml.session.earlier_edits import Earlier
from context_propagation.mrml.session.session_node import (
    find_session_node,
    read_session,
    remove_orphaned_sessions,
)
from loaded_models import quick_model
from nnunet_folders import write_nnunet_folder

SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    return write_nnunet_folder(tmp_path_factory.mktemp("base"), seed=1, spacing=(2.5, 1.1, 0.8), features=(4, 8, 8))


@pytest.fixture(scope="module")
def bundle(base, tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle", base, channels=8, neighbours=2)


@pytest.fixture
def case(make_case):
    return make_case(shape=SHAPE)


@pytest.fixture
def target(draw_ellipsoid):
    return draw_ellipsoid(SHAPE, (8, 8, 8), (4, 5, 5))


@pytest.fixture
def redrawn(draw_ellipsoid):
    return draw_ellipsoid(SHAPE, (7, 9, 6), (1, 4, 3))[7]


@pytest.fixture
def logic(case):
    logic = ContextPropagationLogic(case.scene)
    yield logic
    logic.close()


@pytest.fixture
def ready(logic, case, bundle, target):
    """The image is cached, around a segment that was there before."""
    logic.loaded = quick_model(bundle)
    logic.select([case.volume], case.segmentation, case.add(target))
    logic.predict()
    return logic


def plane_of(case, axis=0):
    return case.source.plane_of_axis[axis]


def nodes(scene):
    return sorted(scene.GetNthNode(n).GetName() for n in range(scene.GetNumberOfNodes()))


def test_an_empty_segment_is_made_named_after_the_label_and_filled_with_the_prediction(logic, case, base):
    logic.load_model(base, device="cpu")
    selection = logic.select([case.volume])

    report = logic.predict()

    assert selection.segmentation_node.GetSegmentation().GetSegment(selection.segment_id).GetName() == "GTV"
    assert report.written == logic.segment_mask().sum() > 0
    assert np.array_equal(logic.segment_mask(), logic.session.segmentation)


def test_a_slice_drawn_from_a_script_is_propagated_and_kept(ready, case, target, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    assert np.array_equal(np.delete(ready.segment_mask(), 7, 0), np.delete(target, 7, 0))

    done = ready.propagate()

    result = ready.segment_mask()
    assert [edit.index for edit in done.edits] == [7]
    assert np.array_equal(result[7], redrawn)
    assert done.result.scope == "whole volume (trained for this model)"
    assert done.report.written == (result ^ target)[np.arange(16) != 7].sum() > 0


def test_slices_of_other_planes_are_drawn_in_the_volumes_own_order(ready, case, target):
    mask = target[:, 5].copy()
    mask[3, 2:5] = True

    ready.edit_slice(5, mask, plane_of(case, 1))

    assert np.array_equal(ready.segment_mask()[:, 5], mask)
    assert [(edit.axis, edit.index) for edit in ready.edits(plane_of(case, 1))] == [(1, 5)]


@pytest.mark.parametrize(("index", "shape"), [(16, (16, 16)), (-1, (16, 16)), (3, (16, 15))])
def test_a_slice_that_does_not_fit_is_refused_and_nothing_is_written(ready, case, target, index, shape):
    expected = f"Slice {index} .* does not fit 'CT', which has 16 {plane_of(case)} slices"
    with pytest.raises(UserInputError, match=expected):
        ready.edit_slice(index, np.ones(shape, bool), plane_of(case))
    assert np.array_equal(ready.segment_mask(), target)


def test_undo_and_redo_keep_the_history_and_the_saved_session_in_step(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    result = ready.segment_mask()
    node = find_session_node(case.scene, case.segmentation, ready.selection.segment_id)

    ready.undo()
    assert ready.history == []
    assert read_session(node, SHAPE).propagations == ()
    assert np.array_equal(ready.segment_mask()[7], redrawn)

    ready.redo()
    assert len(ready.history) == 1
    assert np.array_equal(ready.segment_mask(), result)
    assert np.array_equal(read_session(node, SHAPE).known.mask, result)


def test_discarding_leaves_no_trace_in_the_history(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))

    ready.discard(ready.propagate_operation().run())

    assert ready.history == []
    assert np.array_equal(ready.segment_mask()[7], redrawn)
    assert len(ready.propagate().edits) == 1


def test_a_new_propagation_after_an_undo_takes_the_place_of_the_undone_one(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.undo()
    again = redrawn.copy()
    again[4:6, 4:6] = True
    ready.edit_slice(7, again, plane_of(case))
    ready.propagate()

    assert [np.array_equal(done.edits[0].mask, again) for done in ready.history] == [True]


def test_a_scene_saved_to_disk_restores_the_session_and_its_edits_replay(ready, case, bundle, redrawn, tmp_path):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    known, engine = ready.segment_mask(), ready.session.segmentation.copy()
    second = known[10].copy()
    second[5:9, 5:9] ^= True
    ready.edit_slice(10, second, plane_of(case))  # drawn, not propagated
    ready.save(tmp_path / "case.seg.nrrd")
    ready.close()
    case.scene.SetURL(str(tmp_path / "case.mrml"))
    case.scene.Commit()

    other = new_scene()
    other.SetURL(str(tmp_path / "case.mrml"))
    assert other.Import()
    volume = other.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetAndObserveImageData(case.volume.GetImageData())  # Slicer's own storage would have loaded these two
    segmentation = other.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    loaded = load_segmentation(other, tmp_path / "case.seg.nrrd")
    segmentation.GetSegmentation().DeepCopy(loaded.GetSegmentation())

    again = ContextPropagationLogic(other)
    again.load_model(bundle, device="cpu")
    again.select([volume], segmentation)
    saved = again.restore()

    assert [edit.index for done in saved.propagations for edit in done.edits] == [7]
    assert np.array_equal(saved.known.mask, known)
    assert np.array_equal(again.session.segmentation, engine)
    assert [edit.index for edit in again.edits()] == [10]
    assert len(again.propagate().edits) == 1
    assert [len(done.edits) for done in again.history] == [1, 1]
    node = find_session_node(other, segmentation, again.selection.segment_id)
    assert node.GetNumberOfNodeReferences("ContextPropagation.Volume") == 1
    assert node.GetNthNodeReference("ContextPropagation.Volume", 0) is volume
    again.close()


def a_grid_that_rounding_cuts_otherwise(shape):
    """A turned grid, from its indices to the image's, and as five decimals leave it: with other voxels at its edge."""
    rng, angle = np.random.default_rng(0), np.radians(30)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for _ in range(200):
        matrix[:3, 3] = (*rng.uniform(0, 9, 2).round(1), 0.5)
        rounded = matrix + np.vstack([rng.uniform(-5e-6, 5e-6, (3, 4)), np.zeros(4)])
        if len({OwnGrid.on_lattice(one, shape, (1.0, 1.0, 1.0)).shape for one in (matrix, rounded)}) == 2:
            return matrix, rounded
    raise AssertionError("none found")


def test_edits_on_a_turned_grid_are_replayed_although_saving_rounded_it(logic, case, bundle, target, redrawn):
    matrix, rounded = a_grid_that_rounding_cuts_otherwise(SHAPE)
    segment_id = case.add_on_grid(matrix, (16, 30, 30), case.nearest(target), start=(0, -8, -8))
    logic.loaded = quick_model(bundle)
    logic.select([case.volume], case.segmentation, segment_id)
    logic.predict()
    logic.edit_slice(7, redrawn, plane_of(case))
    logic.propagate()
    known = logic.propagation.known.mask
    logic.close_session()

    labelmap = case.segmentation.GetSegmentation().GetSegment(segment_id).GetRepresentation("Binary labelmap")
    place = labelmap_from_image(labelmap).ijk_to_ras
    labelmap.SetImageToWorldMatrix(to_vtk(place @ np.linalg.inv(matrix) @ rounded))

    saved = logic.restore()

    assert [edit.index for done in saved.propagations for edit in done.edits] == [7]
    assert np.array_equal(logic.propagation.known.mask, known)
    assert logic.redrawn() == []
    assert len(logic.history) == 1


@pytest.mark.parametrize(("index", "nearest"), [(6, 5), (8, 9)])
def test_a_slice_between_those_of_a_coarser_segment_is_refused_and_the_nearest_named(
    logic, case, bundle, target, redrawn, index, nearest
):
    thick = np.diag([1.0, 1.0, 4.0, 1.0])
    thick[2, 3] = 1.0  # slices of the segment on 1, 5, 9 and 13 of the volume's
    segment_id = case.add_on_grid(thick, (4, 16, 16), case.nearest(target))
    logic.loaded = quick_model(bundle)
    logic.select([case.volume], case.segmentation, segment_id)
    logic.predict()
    before = logic.segment_mask()

    expected = (
        f"Segment 'GTV' has no voxel on {plane_of(case)} slice {index} of 'CT': .*; draw slice {nearest}, or give"
    )
    with pytest.raises(UserInputError, match=expected):
        logic.edit_slice(index, redrawn, plane_of(case))
    assert np.array_equal(logic.segment_mask(), before)
    assert logic.edit_slice(nearest, redrawn, plane_of(case)).written > 0


def test_edits_made_with_another_model_are_not_replayed(ready, case, base, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    selection, before = ready.selection, ready.segment_mask()
    ready.load_model(base, device="cpu", general_far=False)  # the same weights without the fusion network
    ready.select(selection.volume_nodes, selection.segmentation_node, selection.segment_id)

    with pytest.raises(UserInputError, match="fusion networks .*, and nothing decides them now; load the bundle"):
        ready.restore()
    assert np.array_equal(ready.segment_mask(), before)


def test_edits_made_on_another_image_of_the_same_grid_are_neither_replayed_nor_kept(ready, case, redrawn):
    from vtk.util.numpy_support import vtk_to_numpy

    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.close_session()
    vtk_to_numpy(case.volume.GetImageData().GetPointData().GetScalars())[:] += 1
    case.volume.GetImageData().Modified()
    before = ready.segment_mask()

    check = ready.check()
    assert "made on another image" in check.warnings[-1]
    assert (check.earlier.drawn, check.earlier.replayable) == ((), None)
    with pytest.raises(UserInputError, match="made on another image, spacing or orientation; choose the one"):
        ready.restore()
    ready.predict()
    assert ready.kept == ()
    assert np.array_equal(ready.segment_mask(), before)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", None])
def test_slices_drawn_on_this_image_are_kept_for_a_model_of_another_orientation(ready, case, redrawn, orientation):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.close_session()
    ready.loaded.model.orientation = orientation

    assert [edit.index for edit in ready.check().earlier.drawn] == [7]
    ready.predict()
    assert [edit.index for edit in ready.kept] == [7]


def test_slices_drawn_on_a_ct_are_kept_where_a_pet_joins_it_and_a_replay_needs_both():
    ct, pet = np.random.default_rng(0).normal(size=(2, 1, 4, 5, 6)).astype(np.float32)
    one = image_sha256(SourceVolume(ct, np.eye(4)))
    both = image_sha256(SourceVolume(np.concatenate([ct, pet]), np.eye(4)))

    assert both[:1] == one
    assert both[1] != one[0]
    earlier = Earlier(trouble="kept", image_sha256=one[0])
    assert earlier.on(both[0]) is earlier
    assert "another image" in earlier.on(both[1]).trouble


def test_slices_drawn_on_this_image_are_kept_by_a_new_start(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.close_session()

    assert [edit.index for edit in ready.check().earlier.drawn] == [7]
    ready.predict()
    assert [edit.index for edit in ready.kept] == [7]


@pytest.mark.parametrize("damage", ["not JSON", "{}", '{"format": "context-propagation session 9"}', "[1]"])
def test_a_damaged_session_in_the_scene_is_refused_by_name(ready, case, damage):
    node = find_session_node(case.scene, case.segmentation, ready.selection.segment_id)
    node.SetText(damage)

    with pytest.raises(UserInputError, match=f"'{node.GetName()}'"):
        ready.saved_session()


def test_another_selection_closes_the_session_and_leaves_nothing_of_it_in_the_scene_but_its_record(ready, case, target):
    names = nodes(case.scene)
    other = case.add(target, name="other")

    ready.select([case.volume], case.segmentation, "other")

    assert ready.selection.segment_id == other
    assert ready.propagation is None
    assert nodes(case.scene) == names
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
    names = nodes(case.scene)
    operation = logic.predict_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    painted = np.zeros(SHAPE, bool)
    painted[3, 3, 3] = True
    case.segmentation = selection.segmentation_node
    case.paint(selection.segment_id, painted)

    with pytest.raises(UserInputError, match="changed during the prediction"):
        operation.finish(computed)
    assert nodes(case.scene) == names
    assert logic.session is None
    assert np.array_equal(logic.segment_mask(), painted)


def test_the_suggested_slice_is_the_one_with_most_doubt_away_from_those_drawn(ready, case, redrawn):
    first = ready.suggested_slice()
    assert first == int(np.argmax(ready.doubt.per_slice_mm2))

    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()

    assert ready.doubt.axis == 0
    assert (ready.doubt.per_slice_mm2[5:10] == 0).all()
    assert ready.suggested_slice() not in range(5, 10)


def test_the_volume_and_the_comparison_with_a_reference_are_measured_on_the_volumes_grid(ready, case, target):
    grown = target.copy()
    grown[8] |= np.roll(target[8], 1, axis=0)
    case.add(grown, name="expert")

    measured = ready.measure((case.segmentation, "expert"))

    voxel_ml = 0.8 * 1.1 * 2.5 / 1000
    assert measured.volume_ml == pytest.approx(target.sum() * voxel_ml)
    assert measured.reference_ml == pytest.approx(grown.sum() * voxel_ml)
    assert measured.comparison.dsc == pytest.approx(2 * target.sum() / (target.sum() + grown.sum()))
    assert [name for name, _ in measured.rows] == [
        "Volume",
        "Volume of 'expert'",
        "DSC",
        "Hausdorff distance, 95 %",
        "Surface DSC at 2 mm",
        "Added path length, axial",
    ]
    assert [name for name, _ in ready.measure().rows] == ["Volume"]


def test_the_saved_file_holds_all_segments(ready, case, target, tmp_path):
    case.add(np.roll(target, 2, axis=0), name="cord")

    ready.save(tmp_path / "all.seg.nrrd")

    loaded = load_segmentation(new_scene(), tmp_path / "all.seg.nrrd").GetSegmentation()
    assert [loaded.GetSegment(s).GetName() for s in loaded.GetSegmentIDs()] == ["GTV", "cord"]


def test_closing_the_scene_is_survived(ready, case):
    case.scene.Clear(0)

    with pytest.raises(UserInputError, match="was deleted"):
        ready.propagate()
    ready.close()


@pytest.mark.parametrize("opened_first", [True, False])
def test_the_masks_of_the_module_segment_editor_are_obeyed_whenever_it_was_opened(
    logic, case, bundle, target, redrawn, opened_first
):
    allowed = np.zeros(SHAPE, bool)
    allowed[7] = True  # the drawn slice alone
    mask_id = case.add(allowed, name="editable")

    def open_editor():
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag("SegmentEditor")
        node = case.scene.AddNode(node)
        node.SetAndObserveSegmentationNode(case.segmentation)
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        node.SetMaskSegmentID(mask_id)
        return node

    editor = open_editor() if opened_first else None
    logic.load_model(bundle, device="cpu")
    logic.select([case.volume], case.segmentation, case.add(target))
    logic.predict()
    editor = editor or open_editor()
    logic.edit_slice(7, redrawn, plane_of(case))
    drawn = logic.segment_mask()

    done = logic.propagate()

    assert done.report.refused == done.result.changed.sum() > 0
    assert done.report.written == 0
    assert np.array_equal(logic.segment_mask(), drawn)
    assert np.array_equal(case.read(mask_id), allowed)
    editor.SetAndObserveSegmentationNode(None)  # it edits something else now
    logic.undo()
    assert logic.propagate().report.refused == 0


def test_a_drawing_after_a_propagation_makes_undo_refuse_and_nothing_is_lost(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.edit_slice(10, redrawn, plane_of(case))
    drawn = ready.segment_mask()

    with pytest.raises(UserInputError, match="undo that edit first"):
        ready.undo()

    assert np.array_equal(ready.segment_mask(), drawn)
    assert [edit.index for edit in ready.edits()] == [10]


def test_a_refused_prediction_keeps_the_session_and_leaves_no_node(ready, case, target):
    outside = case.add_on_grid(np.eye(4), (2, 2, 2), lambda kji: np.ones(8, bool), name="outside", start=(40, 40, 40))
    ready.close_session()
    before = nodes(case.scene)
    ready.select([case.volume], case.segmentation, outside)

    for _ in range(2):
        with pytest.raises(UserInputError, match="covers no voxel"):
            ready.predict_operation()
    assert nodes(case.scene) == before
    assert ready.session is None


def test_a_new_start_keeps_the_record_of_earlier_edits(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()

    ready.predict()

    assert ready.saved_session().propagations == ()
    earlier = [name for name in nodes(case.scene) if name.endswith("(earlier)")]
    assert len(earlier) == 1


def test_slices_drawn_before_a_new_start_are_left_alone_by_what_is_propagated_then(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.edit_slice(10, np.roll(ready.segment_mask()[10], 2, 0), plane_of(case))
    before = ready.segment_mask()

    ready.predict()
    assert [(kept.axis, kept.index) for kept in ready.kept] == [(0, 7), (0, 10)]
    ready.edit_slice(8, np.roll(before[8], 3, 1), plane_of(case))
    done = ready.propagate()

    after = ready.segment_mask()
    assert np.array_equal(after[7], before[7])
    assert np.array_equal(after[10], before[10])
    assert done.result.changed[9].any()


def test_slices_drawn_before_may_be_given_up_at_a_new_start(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    before = ready.segment_mask()

    ready.predict(keep_drawn=False)
    ready.edit_slice(8, np.roll(before[8], 3, 1), plane_of(case))
    done = ready.propagate()

    assert ready.kept == ()
    assert done.result.changed[7].any()


def start_and_kept(logic):
    logic.predict()
    return [(kept.axis, kept.index) for kept in logic.kept]


def test_a_segment_corrected_on_every_slice_keeps_them_all(ready, case, target, redrawn):
    for index in np.flatnonzero(target.any(axis=(1, 2))):
        ready.edit_slice(int(index), np.roll(target[index], 1, 0), plane_of(case))
    ready.plane = plane_of(case)

    assert start_and_kept(ready) == [(0, int(index)) for index in np.flatnonzero(target.any(axis=(1, 2)))]


@pytest.mark.parametrize("propagated_before", [True, False])
def test_what_was_redrawn_before_the_session_was_closed_is_kept(ready, case, bundle, redrawn, propagated_before):
    if propagated_before:
        ready.edit_slice(7, redrawn, plane_of(case))
        ready.propagate()
    stroke = ready.segment_mask()[10].copy()
    stroke[2:5, 2:5] ^= True
    ready.edit_slice(10, stroke, plane_of(case))

    ready.load_model(bundle, device="cpu")

    assert [kept.index for kept in ready.check().earlier.drawn] == ([7, 10] if propagated_before else [10])


def test_a_start_that_fails_at_its_end_leaves_the_record_of_the_earlier_one(ready, case, redrawn, monkeypatch):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()

    def fail(*args):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("context_propagation.mrml.session.live_session.write_session", fail)
        with pytest.raises(MemoryError):
            ready.predict()

    assert len(ready.saved_session().propagations) == 1
    assert [kept.index for kept in ready.check().earlier.drawn] == [7]


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


def test_a_segmentation_turned_a_little_is_told_to_lie_otherwise(ready, case, redrawn, rotate):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.close_session()
    case.segmentation.SetAndObserveTransformNodeID(case.transform(rotate(0.4, (0, 0, 1))).GetID())

    assert "were moved relative to each other" in ready.check().warnings[-1]


def test_in_a_segment_that_was_emptied_nothing_is_kept(ready, case, target, redrawn):
    ready.edit_slice(7, np.zeros_like(redrawn), plane_of(case))
    ready.propagate()
    case.paint(ready.selection.segment_id, np.zeros_like(target))

    assert ready.check().earlier.drawn == ()


def test_a_propagation_that_was_undone_in_the_editor_keeps_its_drawing_alone(ready, case, target, redrawn):
    ready.plane = plane_of(case)
    ready.edit_slice(7, redrawn, plane_of(case))
    drawn = ready.segment_mask()
    ready.propagate()
    case.paint(ready.selection.segment_id, drawn)  # as the editor's Undo does, which tells no one

    assert start_and_kept(ready) == [(0, 7)]


@pytest.mark.parametrize("undone_after_the_end", [False, True])
def test_a_session_that_is_closed_knows_of_an_undo_before_and_keeps_the_drawing_after_one(
    ready, case, redrawn, undone_after_the_end
):
    ready.plane = plane_of(case)
    ready.edit_slice(7, redrawn, plane_of(case))
    drawn = ready.segment_mask()
    ready.propagate()
    if undone_after_the_end:
        ready.close_session()
    case.paint(ready.selection.segment_id, drawn)
    if not undone_after_the_end:
        ready.close_session()
        assert ready.saved_session().propagations == ()
        return

    assert start_and_kept(ready) == [(0, 7)]


def test_a_slice_stays_kept_where_one_of_another_plane_was_drawn_across_it(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    across = ready.segment_mask()[:, 8].copy()
    across[5:9, 3:6] ^= True
    ready.edit_slice(8, across, plane_of(case, 1))

    assert start_and_kept(ready) == [(0, 7), (1, 8)]
    assert np.array_equal(ready.segment_mask()[:, 8], across)


def test_strokes_in_two_planes_are_told_to_be_lost_and_the_drawn_slice_is_kept(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    mask = ready.segment_mask()
    mask[11, 2:5, 2:5] ^= True
    mask[2:5, 8, 10:13] ^= True
    case.paint(ready.selection.segment_id, mask)

    check = ready.check()

    assert "What was redrawn since the last propagation is not kept" in check.warnings[-1]
    assert [(kept.axis, kept.index) for kept in check.earlier.drawn] == [(0, 7)]


def test_edits_made_where_the_volume_lay_otherwise_are_neither_kept_nor_replayed(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.close_session()
    origin = case.volume.GetOrigin()
    case.volume.SetOrigin(*(o + 5 for o in origin))

    check = ready.check()

    assert (check.earlier.drawn, check.earlier.replayable) == ((), None)
    assert "were moved relative to each other" in check.warnings[-1]
    with pytest.raises(UserInputError, match="were moved relative to each other .* put them back"):
        ready.restore()
    case.volume.SetOrigin(*origin)
    assert ready.check().earlier.replayable is not None


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


def test_a_kept_slice_is_not_suggested(ready, case):
    index = ready.suggested_slice()
    mask = ready.segment_mask()[index].copy()
    mask[2:5, 2:5] ^= True
    ready.edit_slice(index, mask, plane_of(case, ready.doubt.axis))
    ready.propagate()

    ready.predict()

    assert [kept.index for kept in ready.kept] == [index]
    assert abs(ready.suggested_slice() - index) > ready.session.settings.neighbours


def test_a_check_waits_for_a_preview_to_be_applied_or_discarded(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    pending = ready.propagate_operation().run()

    with pytest.raises(UserInputError, match="finish, cancel or discard"):
        ready.check()
    ready.discard(pending)
    ready.check()


def test_a_replay_uses_the_image_of_the_check_and_refuses_one_that_changed_meanwhile(ready, case, redrawn, monkeypatch):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.close_session()
    check = ready.check()
    prepared, prepare = [], type(ready.loaded.model).prepare
    monkeypatch.setattr(
        ready.loaded.model, "prepare", lambda volume: prepared.append(volume) or prepare(ready.loaded.model, volume)
    )

    ready.restore(check=check)
    assert prepared == []
    ready.close_session()
    operation = ready.restore_operation()
    operation.begin()
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    case.volume.GetImageData().Modified()
    with pytest.raises(UserInputError, match="changed while edits were replayed"):
        operation.finish(computed)
    assert ready.session is None


@pytest.mark.parametrize("stage", ["encode", "look for undecided slices"])
def test_a_cancel_forgets_nothing_that_was_undone(ready, case, redrawn, stage):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.undo()
    stages = ["encode"]  # what is cached needs none

    with pytest.raises(Cancelled):
        ready.propagate_operation().run(lambda name, fraction: stages.append(name), lambda: stages[-1] == stage)

    assert ready.propagation.can_redo


def test_kept_slices_are_kept_over_further_starts_and_in_a_restored_scene(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.predict()
    ready.edit_slice(10, np.roll(ready.segment_mask()[10], 2, 0), plane_of(case))
    ready.propagate()
    ready.close_session()

    ready.restore()
    assert [kept.index for kept in ready.kept] == [7]
    before = ready.segment_mask()
    ready.edit_slice(8, np.roll(before[8], 3, 1), plane_of(case))
    assert not ready.propagate().result.changed[[7, 10]].any()

    ready.predict()
    assert [kept.index for kept in ready.kept] == [7, 8, 10]


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

    ready.edit_slice(7, redrawn, plane_of(case))
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


def test_a_damaged_record_of_earlier_edits_is_told_by_the_check(ready, case):
    find_session_node(case.scene, case.segmentation, ready.selection.segment_id).SetText("{}")
    assert ready.check().warnings == ()  # the session in use knows them
    ready.close_session()

    (warning,) = ready.check().warnings

    assert "Slices drawn before cannot be kept" in warning


def test_a_segment_that_is_removed_and_brought_back_by_undo_still_has_its_record(ready, case, redrawn):
    ready.edit_slice(7, redrawn, plane_of(case))
    ready.propagate()
    ready.close_session()
    segmentation, segment_id = case.segmentation.GetSegmentation(), ready.selection.segment_id
    segment = segmentation.GetSegment(segment_id)
    segmentation.RemoveSegment(segment_id)
    remove_orphaned_sessions(case.scene)
    segmentation.AddSegment(segment, segment_id)  # as Undo does

    assert [kept.index for kept in ready.check().earlier.drawn] == [7]

    case.scene.RemoveNode(case.segmentation)
    remove_orphaned_sessions(case.scene)
    assert not [name for name in nodes(case.scene) if name.startswith("Context propagation")]


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
    ready.edit_slice(7, redrawn, plane_of(case))
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
    ready.edit_slice(7, redrawn, plane_of(case))
    session, operation = ready.session, ready.predict_operation()
    ready.check_operation()

    assert ready.session is session
    ready.propagate()
    with pytest.raises(UserInputError, match="changed meanwhile; press Predict or Start again"):
        operation.run()
    assert ready.session is session
    ready.undo()
