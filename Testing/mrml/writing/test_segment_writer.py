import numpy as np
import pytest
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.segments import segment_labelmap
from context_propagation.mrml.writing import editor_logic_writer
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import WriteReport, write_changed_voxels, write_flips
from segment_editors import SegmentEditor


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


@pytest.mark.parametrize("fails", [False, True])
def test_a_write_leaves_no_node_behind_also_where_it_fails(case, moved, fails, monkeypatch):
    segment_id = case.add(case.target)
    nodes = case.scene.GetNumberOfNodes()
    if fails:
        monkeypatch.setattr(editor_logic_writer, "is_masked_by_single_segment", lambda node: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(case, segment_id, moved)
    else:
        write(case, segment_id, moved)

    assert case.scene.GetNumberOfNodes() == nodes


@pytest.fixture
def saving(case):
    """The effect's writer, with the Segment Editor's history."""
    own = SegmentEditor(case.scene, case.segmentation, case.volume, case.add(case.target))
    return own, own.writer(), own.node.GetSelectedSegmentID()


def test_nothing_changed_saves_no_undo_state(case, saving):
    own, writer, segment_id = saving

    assert write(case, segment_id, case.target, np.ones(case.shape, bool), writer=writer) == WriteReport()
    assert not own.logic.CanUndo()


def test_differences_that_were_not_changed_save_no_undo_state(case, moved, saving):
    own, writer, segment_id = saving
    changed = np.zeros(case.shape, bool)
    changed[0, 0, 0] = changed[-1, -1, -1] = True

    assert write(case, segment_id, moved, changed, writer=writer) == WriteReport()
    assert not own.logic.CanUndo()


def test_one_write_of_the_effect_is_one_step_of_the_editors_history(case, moved, saving):
    own, writer, segment_id = saving
    twice = np.roll(moved, 1, axis=1)
    write(case, segment_id, moved, writer=writer)
    write(case, segment_id, twice, writer=writer)

    for undone in (moved, case.target):
        own.logic.Undo()
        assert np.array_equal(case.read(segment_id), undone)
    for redone in (moved, twice):
        own.logic.Redo()
        assert np.array_equal(case.read(segment_id), redone)


# -- taking back what was written


def flip(case, segment_id, flips):
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    return write_flips(writer, case.segmentation, segment_id, flips)


def test_what_was_written_can_be_taken_back_and_written_again_in_a_shared_layer_too(case, moved):
    segment_id = case.add(case.target)
    organ = np.roll(case.target, 2, axis=2) & ~case.target
    other = case.add(organ, "Organ")
    case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    flips = write(case, segment_id, moved).flips

    flip(case, segment_id, flips.backwards)
    assert np.array_equal(case.read(segment_id), case.target)
    flip(case, segment_id, flips)
    assert np.array_equal(case.read(segment_id), moved)
    assert np.array_equal(case.read(other), organ)


def test_a_voxel_that_someone_changed_since_is_not_taken_back(case, moved):
    segment_id = case.add(case.target)
    flips = write(case, segment_id, moved).flips
    added = tuple(np.argwhere(moved & ~case.target)[0])
    erased = moved.copy()
    erased[added] = False
    case.paint(segment_id, erased)

    taken = flip(case, segment_id, flips.backwards)

    assert np.array_equal(case.read(segment_id), case.target)
    assert np.count_nonzero(taken.all) == np.count_nonzero(flips.all) - 1


def test_masks_that_refused_a_voxel_keep_it_out_of_what_is_taken_back_and_do_not_stop_that(case, moved, editor):
    segment_id = case.add(case.target)
    area = np.zeros(case.shape, bool)
    area[:6] = True
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID(case.add(area, "Area"))
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume, lambda: editor)
    report = write(case, segment_id, moved, writer=writer)
    assert np.count_nonzero(report.flips.all) == report.written > 0
    case.segmentation.GetSegmentation().RemoveSegment(editor.GetMaskSegmentID())

    flip(case, segment_id, report.flips.backwards)

    assert np.array_equal(case.read(segment_id), case.target)


def test_what_filled_an_empty_segment_can_be_taken_back_and_written_again(case):
    segment_id = case.segmentation.GetSegmentation().AddEmptySegment("", "Empty")
    flips = write(case, segment_id, case.target).flips

    flip(case, segment_id, flips.backwards)
    assert not case.read(segment_id).any()
    flip(case, segment_id, flips)
    assert np.array_equal(case.read(segment_id), case.target)


def test_masks_of_another_shape_are_refused(case):
    segment_id = case.add(case.target)

    with pytest.raises(UserInputError, match=r"shape \(9, 13, 16\) does not fit the volume"):
        write(case, segment_id, case.target[1:], np.ones(case.shape, bool))
