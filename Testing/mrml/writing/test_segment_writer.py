import numpy as np
import pytest
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.segments import segment_labelmap
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import WriteReport, write_changed_voxels


def write(case, segment_id, wanted, changed=None, writer=None, axis=0):
    writer = writer or EditorLogicWriter(case.scene, case.segmentation, case.volume)
    changed = wanted ^ case.read(segment_id) if changed is None else changed
    return write_changed_voxels(writer, case.segmentation, segment_id, case.volume, wanted, changed, axis)


@pytest.fixture
def editor(case):
    node = case.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(case.segmentation)
    node.SetAndObserveSourceVolumeNode(case.volume)
    return node


@pytest.fixture
def moved(case):
    """The target, moved: some voxels go and some come."""
    return np.roll(case.target, (1, 3), axis=(0, 2))


def test_written_voxels_read_back_exactly(case, moved):
    segment_id = case.add(case.target)

    report = write(case, segment_id, moved)

    assert np.array_equal(case.read(segment_id), moved)
    assert report == WriteReport(written=int((case.target ^ moved).sum()))


def test_only_changed_voxels_are_written(case, moved):
    segment_id = case.add(case.target)
    changed = np.zeros(case.shape, bool)
    changed[5] = True

    write(case, segment_id, moved, changed)

    assert np.array_equal(case.read(segment_id), np.where(changed, moved, case.target))


def test_the_3d_surfaces_of_all_segments_stay(case, moved):
    segment_id, other = case.add(case.target), case.add(np.roll(case.target, 4, axis=1), "other")
    segmentation = case.segmentation.GetSegmentation()
    surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    segmentation.CreateRepresentation(surface)
    before = segmentation.GetSegment(segment_id).GetRepresentation(surface).GetBounds()

    write(case, segment_id, moved)

    points = [segmentation.GetSegment(s).GetRepresentation(surface).GetNumberOfPoints() for s in (segment_id, other)]
    assert min(points) > 0
    assert segmentation.GetSegment(segment_id).GetRepresentation(surface).GetBounds() != before
    assert case.segmentation.GetDisplayNode().GetDisplayRepresentationName3D() == surface


def test_who_watches_the_segmentation_is_told(case, moved):
    segment_id, told = case.add(case.target), []
    event = slicer.vtkSegmentation.SourceRepresentationModified
    segmentation = case.segmentation.GetSegmentation()
    tag = segmentation.AddObserver(event, lambda caller, name: told.append(name))

    write(case, segment_id, moved)

    segmentation.RemoveObserver(tag)
    assert told


def test_an_empty_segment_is_filled(case):
    segment_id = case.segmentation.GetSegmentation().AddEmptySegment("", "Empty")

    write(case, segment_id, case.target)

    assert np.array_equal(case.read(segment_id), case.target)


def test_an_empty_segment_in_a_segmentation_without_geometry_is_filled(case):
    bare = case.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Bare")
    case.segmentation = bare
    segment_id = bare.GetSegmentation().AddEmptySegment("", "Empty")

    write(case, segment_id, case.target)

    assert np.array_equal(case.read(segment_id), case.target)


@pytest.mark.parametrize("other_region", [lambda kji: np.abs(kji[0] - 5) < 3, lambda kji: np.abs(kji[0] - 0) < 0.8])
def test_an_empty_segment_beside_one_on_another_grid_leaves_it_alone(case, rotate, other_region):
    volume_from_grid = rotate(25, (1, 1, 0)) @ np.diag([0.5, 0.5, 0.5, 1])
    volume_from_grid[:3, 3] = (-6, -8, -8)
    other = case.add_on_grid(volume_from_grid, (60, 60, 60), other_region, name="Other")
    before = segment_labelmap(case.segmentation, other).voxels.sum()
    segment_id = case.segmentation.GetSegmentation().AddEmptySegment("", "Empty")

    write(case, segment_id, case.target)

    assert segment_labelmap(case.segmentation, other).voxels.sum() == before
    mask = case.read(segment_id)
    assert 2 * (mask & case.target).sum() / (mask.sum() + case.target.sum()) > 0.9


def test_the_labelmap_grows_where_changes_lie_outside_its_extent(case, moved):
    small = case.target[3:6]
    segment_id = case.add_on_grid(np.eye(4), small.shape, case.nearest(case.target), start=(3, 0, 0))

    write(case, segment_id, moved)

    assert np.array_equal(case.read(segment_id), moved)


@pytest.mark.parametrize("overlap", [False, True])
def test_other_segments_are_not_touched(case, moved, overlap):
    segment_id = case.add(case.target)
    other_mask = moved & ~case.target if not overlap else np.roll(case.target, 2, axis=2)
    other = case.add(other_mask, "Other")
    case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)

    write(case, segment_id, moved)

    assert np.array_equal(case.read(segment_id), moved)
    assert np.array_equal(case.read(other), other_mask)


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1)])
def test_flipped_and_permuted_segment_grids_are_written_exactly(case, moved, signs):
    volume_from_grid = np.zeros((4, 4))
    volume_from_grid[3, 3] = 1
    sizes_ijk = case.shape[::-1]
    for row, column in enumerate((2, 0, 1)):
        volume_from_grid[row, column] = signs[row]
        volume_from_grid[row, 3] = 0 if signs[row] > 0 else sizes_ijk[row] - 1
    shape = tuple(sizes_ijk[(2, 0, 1).index(column)] for column in (2, 1, 0))
    segment_id = case.add_on_grid(volume_from_grid, shape, case.nearest(case.target))

    write(case, segment_id, moved)

    assert np.array_equal(case.read(segment_id), moved)


def test_a_finer_grid_is_written_exactly_by_nearest_voxel(case, moved):
    fine = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] = -1 / 3
    shape = tuple(3 * n for n in case.shape)
    segment_id = case.add_on_grid(fine, shape, case.nearest(case.target))

    report = write(case, segment_id, moved)

    assert np.array_equal(case.read(segment_id), moved)
    assert report.written == 27 * (case.target ^ moved).sum()


def test_an_oblique_grid_is_written_by_nearest_voxel_and_only_where_changed(case, moved, rotate):
    volume_from_grid = rotate(25, (1, 1, 0)) @ np.diag([0.5, 0.5, 0.5, 1])
    volume_from_grid[:3, 3] = (-6, -8, -8)
    inside = case.nearest(case.target)
    segment_id = case.add_on_grid(volume_from_grid, (60, 60, 60), inside)
    changed = np.zeros(case.shape, bool)
    changed[4:7] = True
    before = case.read(segment_id)

    write(case, segment_id, moved, changed)

    after = case.read(segment_id)
    assert (after ^ moved)[5].sum() <= 0.02 * moved[5].size
    assert np.array_equal(after[:3], before[:3])
    assert np.array_equal(after[8:], before[8:])


def test_parent_transforms_on_both_nodes_are_followed(case, moved, rotate):
    case.volume.SetAndObserveTransformNodeID(case.transform(rotate(40, (1, 0, 2))).GetID())
    case.segmentation.SetAndObserveTransformNodeID(case.transform(rotate(-70, (0, 1, 1))).GetID())
    segment_id = case.add(case.target)

    write(case, segment_id, moved)

    assert np.array_equal(case.read(segment_id), moved)


def test_the_editable_area_refuses_voxels_and_they_are_reported(case, moved, editor):
    segment_id = case.add(case.target)
    area = np.zeros(case.shape, bool)
    area[:6] = True
    mask_id = case.add(area, "Area")
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID(mask_id)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)

    report = write(case, segment_id, moved, writer=writer)

    assert np.array_equal(case.read(segment_id), np.where(area, moved, case.target))
    assert np.array_equal(case.read(mask_id), area)
    difference = (case.target ^ moved) & ~area
    assert report.refused == difference.sum()
    assert report.refused_per_slice == {k: int(difference[k].sum()) for k in range(6, 10) if difference[k].any()}
    assert "masking refused" in report.message


def test_editing_outside_all_segments_refuses_their_voxels(case, moved, editor):
    segment_id = case.add(case.target)
    organ = np.roll(case.target, 5, axis=2) & ~case.target
    organ_id = case.add(organ, "Organ")
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)

    report = write(case, segment_id, moved, writer=writer)

    assert report.refused == (moved & organ).sum() > 0
    assert np.array_equal(case.read(segment_id), moved & ~organ)
    assert np.array_equal(case.read(organ_id), organ)


def test_the_intensity_range_refuses_voxels(case, moved, editor):
    segment_id = case.add(case.target)
    editor.SetSourceVolumeIntensityMask(True)
    editor.SetSourceVolumeIntensityMaskRange(0.0, 100.0)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)

    report = write(case, segment_id, moved, writer=writer)

    editable = case.source.channels[0] >= 0
    assert report.refused == ((case.target ^ moved) & ~editable).sum() > 0
    assert np.array_equal(case.read(segment_id), np.where(editable, moved, case.target))


def test_the_intensity_range_is_obeyed_on_a_segment_grid_of_its_own(case, moved, editor):
    fine = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] = -1 / 3
    segment_id = case.add_on_grid(fine, tuple(3 * n for n in case.shape), case.nearest(case.target))
    editor.SetSourceVolumeIntensityMask(True)
    editor.SetSourceVolumeIntensityMaskRange(0.0, 100.0)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)

    write(case, segment_id, moved, writer=writer)

    assert np.array_equal(case.read(segment_id), np.where(case.source.channels[0] >= 0, moved, case.target))


def test_the_editor_node_of_the_user_is_not_touched(case, moved, editor):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)
    before = editor.GetMTime()

    write(case, segment_id, moved, writer=writer)

    assert editor.GetMTime() == before


def test_closing_the_writer_leaves_no_node_behind(case):
    nodes = case.scene.GetNumberOfNodes()

    EditorLogicWriter(case.scene, case.segmentation, case.volume).close()

    assert case.scene.GetNumberOfNodes() == nodes


def test_nothing_changed_saves_no_undo_state(case):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)

    assert write(case, segment_id, case.target, np.ones(case.shape, bool), writer=writer) == WriteReport()
    assert not writer.can_undo


def test_differences_that_were_not_changed_save_no_undo_state(case, moved):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    changed = np.zeros(case.shape, bool)
    changed[0, 0, 0] = changed[-1, -1, -1] = True

    assert write(case, segment_id, moved, changed, writer=writer) == WriteReport()
    assert not writer.can_undo


def test_one_write_is_one_undo_step_and_redo_repeats_it(case, moved):
    segment_id = case.add(case.target)
    other = case.add(np.roll(case.target, 2, axis=2), "Other")
    case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    twice = np.roll(moved, 1, axis=1)
    write(case, segment_id, moved, writer=writer)
    write(case, segment_id, twice, writer=writer)

    for undone in (moved, case.target):
        writer.undo()
        assert np.array_equal(case.read(segment_id), undone)
    for redone in (moved, twice):
        writer.redo()
        assert np.array_equal(case.read(segment_id), redone)
    assert np.array_equal(case.read(other), np.roll(case.target, 2, axis=2))


def paint_as_someone_else(case, segment_id, voxel=(0, 0, 0)):
    mask = np.zeros(case.shape, bool)
    mask[voxel] = True
    write(case, segment_id, case.read(segment_id) | mask, mask)


def test_undo_is_refused_where_someone_else_painted_since(case, moved):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    write(case, segment_id, moved, writer=writer)
    paint_as_someone_else(case, segment_id)
    painted = case.read(segment_id)

    with pytest.raises(UserInputError, match="edited since the last propagation, and undo would wipe that"):
        writer.undo()
    assert np.array_equal(case.read(segment_id), painted)


def test_undo_is_refused_where_another_segment_was_painted_or_renamed(case, moved):
    segment_id, other = case.add(case.target), case.add(np.roll(case.target, 5, axis=2))
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    write(case, segment_id, moved, writer=writer)
    case.segmentation.GetSegmentation().GetSegment(other).SetName("Renamed")

    with pytest.raises(UserInputError, match="undo that edit first"):
        writer.undo()


def test_redo_is_refused_where_someone_else_painted_since(case, moved):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    write(case, segment_id, moved, writer=writer)
    writer.undo()
    paint_as_someone_else(case, segment_id)

    with pytest.raises(UserInputError, match="redo would wipe that"):
        writer.redo()


def test_undo_does_not_reach_behind_what_someone_else_painted_between_two_writes(case, moved):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    write(case, segment_id, moved, writer=writer)
    paint_as_someone_else(case, segment_id)
    painted = case.read(segment_id)
    write(case, segment_id, np.roll(painted, 1, axis=1), writer=writer)

    writer.undo()

    assert np.array_equal(case.read(segment_id), painted)
    with pytest.raises(UserInputError, match="Nothing to undo"):
        writer.undo()


def test_making_a_surface_for_the_3d_view_does_not_block_undo(case, moved):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    write(case, segment_id, moved, writer=writer)
    case.segmentation.CreateClosedSurfaceRepresentation()

    writer.undo()

    assert np.array_equal(case.read(segment_id), case.target)


def test_nothing_to_undo_is_said(case):
    with pytest.raises(UserInputError, match="Nothing to undo"):
        EditorLogicWriter(case.scene, case.segmentation, case.volume).undo()


def test_masks_of_another_shape_are_refused(case):
    segment_id = case.add(case.target)

    with pytest.raises(UserInputError, match=r"shape \(9, 13, 16\) does not fit the volume"):
        write(case, segment_id, case.target[1:], np.ones(case.shape, bool))
