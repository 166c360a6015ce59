"""What "Propagate Edit" may write: masks, overwrite modes, other and hidden segments, other grids and transforms."""

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from as_a_user import settle
from effect_bench import DRAWN, IJK_TO_LPS, SHAPE, SLICE, ball, on_slices

ORGAN = ball((8, 8, 8), (8, 8, 8)) & ~ball((8, 8, 8), (5, 6, 6))
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def drawn(bench):
    """Two segments, one of them started on and redrawn on a slice."""
    bench.open_segment(ORGAN, "Organ")
    bench.editor.node.SetOverwriteMode(bench.editor.node.OverwriteNone)
    bench.open_segment(ball())
    bench.start()
    bench.paint(DRAWN)
    return bench


def expected(bench):
    """What the open preview comes to, where everything may be written."""
    added, removed = bench.preview_masks()
    return (bench.voxels() | added) & ~removed


# -- masks


@pytest.mark.parametrize(
    "half", [np.indices(SHAPE)[2] < 8, pytest.param(np.indices(SHAPE)[0] > 6, marks=pytest.mark.long)]
)
def test_only_the_editable_area_is_written_and_the_rest_is_told(drawn, half):
    node = drawn.editor.node
    drawn.open_segment(half, "Area")
    drawn.select("gtv")
    node.SetMaskMode(drawn.segmentation.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID("area")
    before = drawn.voxels()
    drawn.propagate()
    wanted = expected(drawn)
    refused = int(((wanted ^ before) & ~half).sum())
    assert refused > 0
    assert f"Masking would refuse {refused} of these voxels." in drawn.status

    drawn.apply()

    refused = (wanted ^ before) & ~half
    assert refused.any()
    assert np.array_equal(drawn.voxels(), np.where(half, wanted, before))
    assert np.array_equal(drawn.voxels("area"), half)
    assert f"masking refused {refused.sum()} voxels" in drawn.status
    drawn.undo()
    assert np.array_equal(drawn.voxels(), before)


def test_only_voxels_within_the_intensity_range_are_written(drawn):
    drawn.editor.node.SetSourceVolumeIntensityMask(True)
    drawn.editor.node.SetSourceVolumeIntensityMaskRange(-0.5, 0.5)
    ct = vtk_to_numpy(drawn.ct.GetImageData().GetPointData().GetScalars()).reshape(SHAPE)
    inside, before = (ct >= -0.5) & (ct <= 0.5), drawn.voxels()
    drawn.propagate()
    wanted = expected(drawn)

    drawn.apply()

    assert np.array_equal(drawn.voxels(), np.where(inside, wanted, before))
    assert f"masking refused {((wanted ^ before) & ~inside).sum()} voxels" in drawn.status


def test_voxels_that_masking_refused_are_no_edits_of_the_next_propagation(drawn):
    drawn.editor.node.SetSourceVolumeIntensityMask(True)
    drawn.editor.node.SetSourceVolumeIntensityMaskRange(-0.5, 0.5)
    drawn.propagate()
    drawn.apply()
    assert drawn.status.endswith("it is found by itself.")

    drawn.editor.node.SetSourceVolumeIntensityMask(False)
    drawn.paint(on_slices(ball((8, 8, 8), (8, 6, 6)), [5]))

    assert drawn.status == "Redrawn: axial slice 5."


# -- other segments


def test_other_segments_lose_nothing_where_overlaps_are_allowed(drawn):
    drawn.propagate()
    wanted = expected(drawn)
    assert (wanted & ORGAN).any()
    assert "would lose" not in drawn.status

    drawn.apply()

    assert np.array_equal(drawn.voxels("organ"), ORGAN)
    assert np.array_equal(drawn.voxels(), wanted)


def test_the_preview_counts_what_other_segments_would_lose_and_apply_takes_that(drawn):
    drawn.editor.node.SetOverwriteMode(drawn.editor.node.OverwriteAllSegments)
    drawn.propagate()
    wanted, (added, _) = expected(drawn), drawn.preview_masks()

    assert f"'Organ' would lose {(added & ORGAN).sum()} voxels." in drawn.status
    drawn.apply()

    assert np.array_equal(drawn.voxels(), wanted)
    assert np.array_equal(drawn.voxels("organ"), ORGAN & ~added)
    drawn.undo()
    assert np.array_equal(drawn.voxels("organ"), ORGAN)


def test_an_organ_that_is_shown_or_drawn_meanwhile_is_counted_anew(drawn):
    node, display = drawn.editor.node, drawn.segmentation.GetDisplayNode()
    display.SetSegmentVisibility("organ", False)
    node.SetOverwriteMode(node.OverwriteVisibleSegments)
    drawn.propagate()
    (added, _) = drawn.preview_masks()
    assert "would lose" not in drawn.status

    display.SetSegmentVisibility("organ", True)
    settle()
    assert f"'Organ' would lose {(added & ORGAN).sum()} voxels." in drawn.status

    drawn.select("organ")
    drawn.paint(added)
    drawn.select("gtv")
    assert f"'Organ' would lose {added.sum()} voxels." in drawn.status
    drawn.apply()
    assert not (drawn.voxels("organ") & added).any()


def test_a_ct_with_two_slice_distances_is_told_with_what_to_press(drawn):
    from acquired_volumes import put_under_grid

    moves = np.zeros((drawn.ct.GetImageData().GetDimensions()[2], 2, 2, 3))
    moves[9:, ..., 2] = 1.5
    put_under_grid(drawn.application.scene, drawn.ct, moves)
    drawn.panel.update()

    assert "slices that lie unevenly in their places; press Make even slices in the module" in drawn.status


def test_a_bent_ct_is_told_and_freezes_nothing(drawn):
    drawn.propagate()
    bent = drawn.application.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    bent.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())

    drawn.ct.SetAndObserveTransformNodeID(bent.GetID())
    drawn.panel.update()

    assert "is not linear" in drawn.status
    drawn.ct.SetAndObserveTransformNodeID(None)
    drawn.panel.update()
    assert "would change" in drawn.status.lower()


def test_another_overwrite_mode_is_counted_anew(drawn):
    node, display = drawn.editor.node, drawn.segmentation.GetDisplayNode()
    drawn.propagate()
    (added, _) = drawn.preview_masks()
    text = f"'Organ' would lose {(added & ORGAN).sum()} voxels."
    assert text not in drawn.status

    node.SetOverwriteMode(node.OverwriteVisibleSegments)
    settle()
    assert text in drawn.status

    display.SetSegmentVisibility("organ", False)
    node.SetOverwriteMode(node.OverwriteNone)
    settle()
    node.SetOverwriteMode(node.OverwriteVisibleSegments)
    settle()
    assert text not in drawn.status
    drawn.apply()
    assert np.array_equal(drawn.voxels("organ"), ORGAN)


def test_a_hidden_segment_is_propagated_and_stays_hidden(drawn):
    display = drawn.segmentation.GetDisplayNode()
    display.SetSegmentVisibility("gtv", False)
    drawn.propagate()
    wanted = expected(drawn)

    drawn.apply()

    assert np.array_equal(drawn.voxels(), wanted)
    assert not display.GetSegmentVisibility("gtv")


# -- grids


def turned(degrees, axis):
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    return np.array([[transform.GetMatrix().GetElement(r, c) for c in range(4)] for r in range(4)])


def placed(matrix, centre_lps, shape):
    """A grid with its centre at a point."""
    matrix = matrix.copy()
    matrix[:3, 3] = 0
    matrix[:3, 3] = centre_lps - (matrix @ np.array([*((np.array(shape[::-1]) - 1) / 2), 1.0]))[:3]
    return matrix


CENTRE = (IJK_TO_LPS @ np.array([7.5, 7.5, 7.5, 1.0]))[:3]
FINE = IJK_TO_LPS @ np.diag([1 / 3, 1 / 3, 1.0, 1.0])
SWAPPED = IJK_TO_LPS @ np.array([[0.0, 1, 0, 0], [-1, 0, 0, 15], [0, 0, 1, 0], [0, 0, 0, 1]])
OBLIQUE = placed(turned(25, (0.2, 1, 0.4)) @ np.diag([0.5, 0.5, 0.5, 1.0]), CENTRE, (90, 60, 60))
MOVED = turned(40, (1, 0.3, 0.2)) @ np.array([[1.0, 0, 0, 30], [0, 1, 0, -20], [0, 0, 1, 5], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("seg_to_lps", "seg_shape", "volume_moves", "segmentation_moves"),
    [
        (FINE, (16, 48, 48), False, False),
        (SWAPPED, SHAPE, False, False),
        (OBLIQUE, (90, 60, 60), False, False),
        (FINE, (16, 48, 48), True, True),
        (LPS_TO_RAS @ MOVED @ LPS_TO_RAS @ FINE, (16, 48, 48), True, False),
    ],
    ids=["finer", "turned by 90 degrees", "oblique", "both moved", "volume moved"],
)
@pytest.mark.parametrize("axis", [0, 2], ids=["axial", "sagittal"])
@pytest.mark.quick(axis=2, volume_moves=True, segmentation_moves=True)
def test_a_segmentation_on_another_grid(bench, seg_to_lps, seg_shape, volume_moves, segmentation_moves, axis):
    from context_propagation.mrml.nodes.world_matrices import to_vtk

    geometry = bench.add_volume("Geometry", ijk_to_lps=seg_to_lps, shape=seg_shape)
    bench.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(geometry)
    transform = bench.application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(MOVED))
    for moves, node in ((volume_moves, bench.ct), (segmentation_moves, bench.segmentation)):
        if moves:
            node.SetAndObserveTransformNodeID(transform.GetID())
    to_world = [MOVED if moves else np.eye(4) for moves in (volume_moves, segmentation_moves)]
    ct_from_seg = np.linalg.inv(to_world[0] @ LPS_TO_RAS @ IJK_TO_LPS) @ to_world[1] @ LPS_TO_RAS @ seg_to_lps
    indices = np.indices(seg_shape).reshape(3, -1)
    nearest = np.round(ct_from_seg[:3] @ np.vstack([indices[::-1], np.ones(indices.shape[1])]), 6)[::-1]
    nearest = np.floor(nearest + 0.5).astype(int)
    inside = np.all((nearest >= 0) & (nearest < np.reshape(SHAPE, (3, 1))), axis=0)

    def on_grid(mask):
        """A mask of the CT, each voxel of the segmentation's grid taking the nearest."""
        values = np.zeros(indices.shape[1], bool)
        values[inside] = mask[tuple(nearest[:, inside])]
        return values.reshape(seg_shape)

    drawing = on_slices(ball((8, 8, 8), (6, 6, 6)), [9], axis)
    bench.open_segment(on_grid(ball()))
    bench.start()
    bench.paint(on_grid(drawing))
    plane = {0: "axial", 2: "sagittal"}[axis]
    if not volume_moves:
        assert bench.status == f"Redrawn: {plane} slice 9."
    before = bench.voxels(shape=seg_shape)
    assert np.array_equal(before, on_grid(ball() | drawing))

    bench.propagate()
    added, removed = bench.preview_masks()
    bench.apply()

    after = bench.voxels(shape=seg_shape)
    assert (added | removed).any()
    assert np.array_equal(after, (before | on_grid(added)) & ~on_grid(removed))
    slab = np.zeros(SHAPE, bool)
    np.moveaxis(slab, axis, 0)[9] = True
    assert np.array_equal(after[on_grid(slab)], before[on_grid(slab)])
    bench.undo()
    assert np.array_equal(bench.voxels(shape=seg_shape), before)


def test_an_intensity_range_on_another_grid_is_obeyed(bench):
    geometry = bench.add_volume("Geometry", ijk_to_lps=FINE, shape=(16, 48, 48))
    bench.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(geometry)
    nearest = [np.arange(16), (np.arange(48) + 1) // 3, (np.arange(48) + 1) // 3]

    def on_grid(mask):
        return np.pad(mask, [(0, 0), (0, 1), (0, 1)])[np.ix_(*nearest)]

    bench.open_segment(on_grid(ball()))
    bench.start()
    bench.paint(on_grid(DRAWN))
    before = bench.voxels(shape=(16, 48, 48))
    bench.editor.node.SetSourceVolumeIntensityMask(True)
    bench.editor.node.SetSourceVolumeIntensityMaskRange(-0.5, 0.5)
    ct = vtk_to_numpy(bench.ct.GetImageData().GetPointData().GetScalars()).reshape(SHAPE)
    inside = on_grid((ct >= -0.5) & (ct <= 0.5))
    bench.propagate()
    added, removed = bench.preview_masks()
    bench.apply()

    wanted = (before | on_grid(added)) & ~on_grid(removed)
    assert np.array_equal(bench.voxels(shape=(16, 48, 48)), np.where(inside, wanted, before))
    assert bench.editor.node.GetSourceVolumeIntensityMask()
    assert SLICE not in np.flatnonzero((added | removed).any(axis=(1, 2)))
