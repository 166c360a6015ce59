"""Edits of a saved scene that are made again, and those that are not."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.own_grid import OwnGrid
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.labelmap_images import labelmap_from_image
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segmentation_storage import load_segmentation
from context_propagation.mrml.nodes.world_matrices import to_vtk
from context_propagation.mrml.session.session_node import (
    find_session_node,
    remove_orphaned_sessions,
)
from loaded_models import quick_model

SHAPE = (16, 16, 16)


def test_a_scene_saved_to_disk_restores_the_session_and_its_edits_replay(ready, case, bundle, redrawn, tmp_path):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    known, engine = ready.segment_mask(), ready.session.segmentation.copy()
    second = known[10].copy()
    second[5:9, 5:9] ^= True
    ready.edit_slice(10, second, case.plane())  # drawn, not propagated
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
    logic.edit_slice(7, redrawn, case.plane())
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


def test_edits_made_with_another_model_are_not_replayed(ready, case, base, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
    ready.propagate()
    selection, before = ready.selection, ready.segment_mask()
    ready.load_model(base, device="cpu", general_far=False)  # the same weights without the fusion network
    ready.select(selection.volume_nodes, selection.segmentation_node, selection.segment_id)

    with pytest.raises(UserInputError, match="fusion networks .*, and nothing decides them now; load the bundle"):
        ready.restore()
    assert np.array_equal(ready.segment_mask(), before)


def test_edits_made_on_another_image_of_the_same_grid_are_neither_replayed_nor_kept(ready, case, redrawn):
    from vtk.util.numpy_support import vtk_to_numpy

    ready.edit_slice(7, redrawn, case.plane())
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


@pytest.mark.parametrize("damage", ["not JSON", "{}", '{"format": "context-propagation session 9"}', "[1]"])
def test_a_damaged_session_in_the_scene_is_refused_by_name(ready, case, damage):
    node = find_session_node(case.scene, case.segmentation, ready.selection.segment_id)
    node.SetText(damage)

    with pytest.raises(UserInputError, match=f"'{node.GetName()}'"):
        ready.saved_session()


def test_edits_made_where_the_volume_lay_otherwise_are_neither_kept_nor_replayed(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
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


def test_a_replay_uses_the_image_of_the_check_and_refuses_one_that_changed_meanwhile(ready, case, redrawn, monkeypatch):
    ready.edit_slice(7, redrawn, case.plane())
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


def test_a_damaged_record_of_earlier_edits_is_told_by_the_check(ready, case):
    find_session_node(case.scene, case.segmentation, ready.selection.segment_id).SetText("{}")
    assert ready.check().warnings == ()  # the session in use knows them
    ready.close_session()

    (warning,) = ready.check().warnings

    assert "Slices drawn before cannot be kept" in warning


def test_a_segment_that_is_removed_and_brought_back_by_undo_still_has_its_record(ready, case, redrawn):
    ready.edit_slice(7, redrawn, case.plane())
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
    assert not [name for name in case.node_names if name.startswith("Context propagation")]
